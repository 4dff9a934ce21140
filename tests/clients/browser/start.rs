//! The start page.

use serde_json::json;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::{Gateway, Setup};
use crate::network::Network;

#[tokio::test]
async fn both_columns_of_the_start_page_show_the_same_vids() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("door.1", 15).await;
    let browser = Browser::open(&gateway.url()).await;
    browser.until_vids("#poll-rows", &vids(15)).await;
    browser.until_vids("#sse-rows", &vids(15)).await;

    gateway.kill();
    browser.until_state("#poll-state", "waiting").await;
    browser.until_state("#sse-state", "waiting").await;
    gateway.start_again();
    gateway.publish_numbers("door.2", 15).await;
    browser.until_vids("#poll-rows", &vids(30)).await;
    browser.until_vids("#sse-rows", &vids(30)).await;
    let cursor = gateway.get("/v1/bus").await["cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    browser
        .until((cursor.clone(), cursor), || async {
            (
                browser.text("#poll-cursor").await,
                browser.text("#sse-cursor").await,
            )
        })
        .await;
}

#[tokio::test]
async fn the_publish_box_publishes_json_and_text() {
    let gateway = Gateway::start();
    let browser = Browser::open(&gateway.url()).await;
    browser.until_state("#sse-state", "live").await;
    browser.click("#publish button").await;
    browser
        .until("Durable as vid 1".to_owned(), || {
            browser.text("#publish-answer")
        })
        .await;
    browser.type_into("#publish-topic", "gate.north").await;
    browser.type_into("#publish-type", "").await;
    browser.type_into("#publish-data", "not {JSON}").await;
    browser.click("#publish button").await;
    browser
        .until("Durable as vid 2".to_owned(), || {
            browser.text("#publish-answer")
        })
        .await;
    for rows in ["#poll-rows", "#sse-rows"] {
        browser.until_vids(rows, &[1, 2]).await;
    }
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(
        (&events[0]["topic"], &events[0]["type"]),
        (&"door.3".into(), &"opened".into())
    );
    assert_eq!(events[0]["data"]["rfsim"], "0012345678");
    assert_eq!(
        (&events[1]["topic"], &events[1]["data"]),
        (&"gate.north".into(), &"not {JSON}".into())
    );

    browser.type_into("#publish-topic", "no..topic").await;
    browser.click("#publish button").await;
    browser
        .until(true, || async {
            browser
                .text("#publish-answer")
                .await
                .starts_with("Bad request")
        })
        .await;

    // What was wrong with the last event is not said of the next one.
    browser.type_into("#publish-topic", "a.topic").await;
    assert_eq!(browser.text("#publish-answer").await, "");
}

/// A browser has six connections to a host over HTTP/1.1. The long-poll readers of all tabs hold
/// four at most, and one more serves the other column of all of them.
#[tokio::test]
async fn a_fifth_tab_is_not_blank_and_says_why_its_long_poll_is_slow() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open(&gateway.url()).await;
    browser.until_vids("#sse-rows", &vids(3)).await;
    for _ in 0..4 {
        browser.new_tab(&gateway.url()).await;
        browser.until_vids("#poll-rows", &vids(3)).await;
        browser.until_vids("#sse-rows", &vids(3)).await;
    }
    let is_said = || async {
        browser
            .text("#poll-detail")
            .await
            .contains("asks every 2 s")
    };
    browser.until(true, is_said).await;
    browser.until_state("#sse-state", "live").await;
    gateway.publish_numbers("door.1", 1).await;
    browser.until_vids("#poll-rows", &vids(4)).await;
    browser.until_vids("#sse-rows", &vids(4)).await;
}

/// Over plain http from another machine a page has no Web Locks, so its tabs share nothing.
#[tokio::test]
async fn without_web_locks_a_fourth_tab_is_not_blank_and_says_why_it_waits() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open("about:blank").await;
    for tab in 1..=4 {
        if tab > 1 {
            browser.new_tab("about:blank").await;
        }
        let hide = "Object.defineProperty(navigator, 'locks', { value: undefined })";
        let command = "Page.addScriptToEvaluateOnNewDocument";
        browser.devtools(command, json!({ "source": hide })).await;
        browser.go(&gateway.url()).await;
        browser.until_vids("#poll-rows", &vids(3)).await;
    }
    for (detail, said) in [
        ("#poll-detail", "asks every 2 s"),
        ("#sse-detail", "waits for its turn"),
    ] {
        let is_said = || async { browser.text(detail).await.contains(said) };
        browser.until(true, is_said).await;
    }
    gateway.publish_numbers("door.1", 1).await;
    browser.until_vids("#poll-rows", &vids(4)).await;
}

#[tokio::test]
async fn a_paused_column_shows_what_it_missed_when_it_is_resumed() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open(&gateway.url()).await;
    for column in ["poll", "sse"] {
        let (rows, state, toggle) = (
            format!("#{column}-rows"),
            format!("#{column}-state"),
            format!("#{column}-toggle"),
        );
        let seen = browser.vids(&rows).await.len() as u64;
        let before = gateway.get("/v1/bus").await["last"]
            .as_u64()
            .expect("a vid");
        browser.until_vids(&rows, &vids(before)).await;
        browser.until_state(&state, "live").await;
        assert!(seen <= before);

        browser.click(&toggle).await;
        browser.until_state(&state, "paused").await;
        gateway.publish_numbers("door.1", 4).await;
        let other = if column == "poll" {
            "#sse-rows"
        } else {
            "#poll-rows"
        };
        browser.until_vids(other, &vids(before + 4)).await;
        assert_eq!(
            browser.vids(&rows).await,
            vids(before),
            "{column} is paused"
        );

        browser.click(&toggle).await;
        browser.until_vids(&rows, &vids(before + 4)).await;
        let missed = format!("return document.querySelectorAll('{rows} .missed[data-vid]').length");
        assert_eq!(browser.ask::<u64>(&missed).await, 4);
        browser
            .until(true, || async {
                browser.text(&rows).await.contains("The 4 events above")
            })
            .await;
    }
}

#[tokio::test]
async fn a_network_that_went_silent_is_noticed_by_the_missing_heartbeats() {
    let setup = Setup {
        config: "[bus]\nheartbeat = \"1s\"".into(),
        ..Setup::default()
    };
    let gateway = Gateway::start_with(setup);
    let network = Network::before(gateway.address()).await;
    gateway.publish_numbers("door.1", 2).await;
    let browser = Browser::open(&network.url()).await;
    browser.until_vids("#sse-rows", &vids(2)).await;
    browser.until_state("#sse-state", "live").await;
    // A stream writes with every heartbeat: what it sends now is what is lost on the way.
    network.silence();
    gateway.publish_numbers("door.1", 2).await;
    browser.until_state("#sse-state", "waiting").await;
    network.mend();
    browser.until_vids("#sse-rows", &vids(4)).await;
    browser.until_state("#sse-state", "live").await;
}
