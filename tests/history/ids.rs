//! The dedupe window is measured by a clock that does not jump: an id is neither forgotten because
//! the time of day is years ahead, nor remembered because it was.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::common::gateway::{Gateway, Setup};

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3_600_000;
/// Ids are remembered for so long.
const WINDOW: Duration = Duration::from_secs(4);
/// Beyond the window, until an id may be forgotten at last.
const SLACK: Duration = Duration::from_secs(2);

fn start(clock: &Clock) -> Gateway {
    let window_s = WINDOW.as_secs();
    Gateway::start_with(Setup {
        config: format!("[retention]\ndedupe_window = \"{window_s}s\"\n"),
        env: clock.env(),
        ..Setup::default()
    })
}

async fn publish(gateway: &Gateway, id: &str) -> Value {
    let event = json!({ "topic": "ids", "id": id, "data": id });
    gateway.publish(&event).await
}

#[tokio::test]
async fn an_id_is_not_forgotten_because_the_clock_jumps() {
    for by_ms in [TEN_YEARS_MS, -TEN_YEARS_MS] {
        let mut clock = Clock::new();
        let gateway = start(&clock);
        let first = publish(&gateway, "a").await;
        clock.jump(by_ms);
        publish(&gateway, "b").await;
        let again = publish(&gateway, "a").await;
        assert_eq!(again["vid"], first["vid"], "the clock is wrong");
        clock.jump(-by_ms);
        let again = publish(&gateway, "a").await;
        assert_eq!(again["vid"], first["vid"], "the clock is right again");
    }
}

#[tokio::test]
async fn an_id_is_not_remembered_for_years_because_the_clock_has_jumped() {
    for by_ms in [TEN_YEARS_MS, -TEN_YEARS_MS] {
        let mut clock = Clock::new();
        let gateway = start(&clock);
        clock.jump(by_ms);
        let first = publish(&gateway, "a").await;
        let published = Instant::now();
        clock.jump(-by_ms);
        publish(&gateway, "b").await;
        sleep_until(published + WINDOW + SLACK).await;
        let again = publish(&gateway, "a").await;
        assert_ne!(again["vid"], first["vid"], "by {by_ms} ms");
    }
}
