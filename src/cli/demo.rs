//! The events of `vidette serve --demo`: doors that people pass.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::caller::Caller;
use crate::event::{EventParts, NewEvent};

const DOORS: u32 = 8;
const CARDS: [&str; 5] = [
    "0004839201",
    "0007712946",
    "0001150383",
    "0009026617",
    "0003348120",
];

/// The times between two events, in milliseconds.
const INTERVAL_MS: std::ops::Range<u64> = 600..1400;

/// Publishes a door event about every second, until the bus closes.
pub(super) async fn run(bus: Bus) {
    while !bus.is_closing() {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(INTERVAL_MS))).await;
        let event = door_event(Timestamp::now());
        // An error passes, as of a full disk, or the bus closes.
        if let Err(error) = bus.publish(&Caller::gateway(), vec![event]).await {
            tracing::warn!(%error, "failed to publish a demo event");
        }
    }
}

fn door_event(now: Timestamp) -> NewEvent {
    let door = fastrand::u32(1..=DOORS);
    // A card in six is refused.
    let is_open = fastrand::u32(..6) > 0;
    // As a publisher would send it.
    let parts = EventParts {
        topic: &format!("door.{door}"),
        kind: Some(if is_open { "opened" } else { "refused" }),
        content_type: Some("application/json"),
        data: Bytes::from(door_record(door, is_open, now).to_string()),
        ..EventParts::default()
    };
    NewEvent::check(parts, usize::MAX).expect("a demo event is valid")
}

/// The fields that the controllers of the example write.
fn door_record(door: u32, is_open: bool, now: Timestamp) -> Value {
    json!({
        "doorno": door,
        "rfsim": fastrand::choice(CARDS),
        "optime": now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        "ynopen": u8::from(is_open),
    })
}
