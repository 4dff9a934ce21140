//! What `--demo` publishes: doors that people go through.

use crate::caller::Caller;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::bus::Bus;
use crate::event::{EventParts, NewEvent};

const DOORS: u32 = 8;
const CARDS: [&str; 5] = [
    "0004839201",
    "0007712946",
    "0001150383",
    "0009026617",
    "0003348120",
];

/// Publishes a door event about every second, until the bus closes.
pub(super) async fn run(bus: Bus) {
    loop {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(600..1400))).await;
        if let Err(fault) = bus
            .publish(&Caller::gateway(), vec![door_event(Timestamp::now())])
            .await
        {
            tracing::warn!(%fault, "the demo could not publish");
            if bus.is_closing() {
                return;
            }
        }
    }
}

fn door_event(now: Timestamp) -> NewEvent {
    let door = fastrand::u32(1..=DOORS);
    let opens = fastrand::u32(..6) > 0;
    let record = json!({
        "doorno": door,
        "rfsim": fastrand::choice(CARDS),
        "optime": now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        "ynopen": u8::from(opens),
    });
    let parts = EventParts {
        topic: &format!("door.{door}"),
        kind: Some(if opens { "opened" } else { "refused" }),
        content_type: Some("application/json"),
        data: Bytes::from(record.to_string()),
        ..EventParts::default()
    };
    NewEvent::check(parts, usize::MAX).expect("a demo event keeps the rules")
}
