//! A gateway whose clock is wrong by years, for a moment or at its start.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::common::gateway::{Gateway, Setup};

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const TEN_YEARS_MS: i64 = 3650 * DAY_MS;

fn gateway(clock: &Clock) -> Gateway {
    Gateway::start_with(Setup {
        env: clock.env(),
        ..Setup::default()
    })
}

/// Publishes an event with this id; the answer has `duplicate` where it was known.
async fn publish(gateway: &Gateway, id: &str) -> Value {
    gateway
        .publish(&json!({ "topic": "door.1", "id": id, "data": 1 }))
        .await
}

async fn first(gateway: &Gateway) -> u64 {
    gateway.get("/v1/bus").await["first"]
        .as_u64()
        .expect("a vid")
}

async fn until_first_is(gateway: &Gateway, vid: u64) {
    gateway
        .until(&format!("first is {vid}"), || async {
            first(gateway).await == vid
        })
        .await;
}

/// The years in which events say that they were published.
async fn years(gateway: &Gateway) -> Vec<String> {
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    let events = events.as_array().expect("events").iter();
    let mut years: Vec<_> = events
        .map(|event| event["time"].as_str().expect("a time")[..4].to_owned())
        .collect();
    years.dedup();
    years
}

fn this_year() -> String {
    let seconds = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    date.split(' ').nth(3).expect("a year").to_owned()
}

/// Retention looks four times a second.
async fn let_retention_look() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn ten_years_ahead_for_three_seconds_do_nothing() {
    let mut clock = Clock::new();
    let gateway = gateway(&clock);
    publish(&gateway, "x").await;
    clock.jump(TEN_YEARS_MS);
    for second in 0..3 {
        publish(&gateway, &format!("ahead {second}")).await;
        let_retention_look().await;
    }
    assert_eq!(
        publish(&gateway, "x").await["duplicate"],
        true,
        "nothing is forgotten"
    );
    clock.jump(-TEN_YEARS_MS);
    publish(&gateway, "back").await;
    let_retention_look().await;
    assert_eq!(first(&gateway).await, 1, "nothing is trimmed");
    assert_eq!(years(&gateway).await, [this_year()]);
    assert!(
        gateway.log().contains("the wall clock jumped"),
        "{}",
        gateway.log()
    );

    clock.pass(2 * HOUR_MS);
    assert_eq!(
        publish(&gateway, "x").await.get("duplicate"),
        None,
        "the window is over"
    );
    clock.pass(30 * DAY_MS);
    until_first_is(&gateway, 7).await;
}

#[tokio::test]
async fn a_start_ten_years_ahead_or_behind_does_nothing() {
    for by_ms in [TEN_YEARS_MS, -TEN_YEARS_MS] {
        let mut clock = Clock::new();
        let mut gateway = gateway(&clock);
        publish(&gateway, "x").await;
        assert!(gateway.terminate().await.success());
        clock.jump(by_ms);
        gateway.start_again();
        assert_eq!(
            publish(&gateway, "x").await["duplicate"],
            true,
            "nothing is forgotten"
        );
        publish(&gateway, "wrong").await;
        let_retention_look().await;
        assert_eq!(first(&gateway).await, 1, "nothing is trimmed");
        clock.jump(-by_ms);
        publish(&gateway, "right").await;
        assert_eq!(years(&gateway).await, [this_year()]);

        clock.pass(2 * HOUR_MS);
        assert_eq!(
            publish(&gateway, "x").await.get("duplicate"),
            None,
            "the window is over"
        );
        clock.pass(30 * DAY_MS);
        until_first_is(&gateway, 5).await;
    }
}
