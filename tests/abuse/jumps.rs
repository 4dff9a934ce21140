//! A wall clock that is wrong for a moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ground::Ground;

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3_600_000;
/// How long the clock is wrong: retention looks at the log meanwhile.
const WRONG_FOR: Duration = Duration::from_secs(3);
/// By how much a time may differ from the right one.
const TIME_SLACK_MS: i64 = 60_000;

/// Ten years ahead for three seconds: nothing is trimmed, nothing is forgotten, no time is wrong.
pub async fn ten_years_ahead(ground: &mut Ground) {
    let event = json!({ "topic": "dated", "id": "once", "data": 1 });
    let first = ground.gateway.publish(&event).await["vid"].clone();
    ground.gateway.publish_numbers("dated", 100).await;
    ground.begin();
    sleep(Duration::from_millis(300)).await;
    jump(ground, TEN_YEARS_MS);
    let during = json!({ "topic": "dated", "id": "during", "data": 1 });
    ground.gateway.publish(&during).await;
    sleep(WRONG_FOR).await;

    let again = ground.gateway.publish(&event).await;
    ground.check(again["vid"] == first, "the id of an event was forgotten");
    jump(ground, -TEN_YEARS_MS);
    let bus = ground.gateway.get("/v1/bus").await;
    let oldest = bus["first"].clone();
    ground.check(oldest == 1, format!("all before {oldest} is trimmed"));
    ground.got(format!("oldest event {oldest}"));

    let after = json!({ "topic": "dated", "id": "after", "data": 1 });
    let vid = ground.gateway.publish(&after).await["vid"].as_u64();
    let path = format!("/v1/poll?wait=0&after={}", vid.expect("a vid") - 1);
    let newest = ground.gateway.get(&path).await["events"][0].clone();
    let ahead_ms = time_ms(&newest) - now_ms();
    ground.got(format!("time {} days ahead", ahead_ms / 86_400_000));
    ground.check(
        ahead_ms.abs() < TIME_SLACK_MS,
        format!("later events are of {}", newest["time"]),
    );
}

fn jump(ground: &mut Ground, by_ms: i64) {
    ground.clock.as_mut().expect("a clock").jump(by_ms);
}

fn time_ms(event: &Value) -> i64 {
    let time = event["time"].as_str().expect("a time");
    let time: jiff::Timestamp = time.parse().expect("RFC 3339");
    time.as_millisecond()
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let since_1970 = since_1970.expect("after 1970").as_millis();
    i64::try_from(since_1970).expect("a time")
}
