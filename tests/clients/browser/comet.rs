//! The long-poll page, in ES3.

use serde_json::{Value, json};

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::Gateway;
use crate::network::Network;

const PAGE: &str = "/clients/longpoll/?start=earliest";

#[tokio::test]
async fn the_long_poll_page_shows_every_event_in_order_across_a_crash_and_a_broken_network() {
    let mut gateway = Gateway::start();
    let network = Network::before(gateway.address()).await;
    gateway.publish_numbers("door.1", 40).await;
    let browser = Browser::open(&format!("{}{PAGE}", network.url())).await;
    browser.until_vids("#rows", &vids(40)).await;
    browser.until_state("#state", "live").await;

    gateway.kill();
    browser.until_state("#state", "waiting").await;
    gateway.start_again();
    gateway.publish_numbers("door.1", 30).await;
    browser.until_vids("#rows", &vids(70)).await;

    network.cut().await;
    browser.until_state("#state", "waiting").await;
    gateway.publish_numbers("door.1", 30).await;
    network.mend();
    browser.until_vids("#rows", &vids(100)).await;
    browser.until_state("#state", "live").await;
    assert_eq!(browser.text("#gaps").await, "0");
}

#[tokio::test]
async fn the_long_poll_page_tells_a_gap_and_goes_on() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 3).await;
    let page = format!(
        "{}/clients/longpoll/?start=cursor&at=2-otherlog",
        gateway.url()
    );
    let browser = Browser::open(&page).await;
    browser.until_vids("#rows", &vids(3)).await;
    assert_eq!(browser.text("#gaps").await, "1");
    let reason: String = browser
        .ask("return document.querySelector('#rows [data-gap]').dataset.gap")
        .await;
    assert_eq!(reason, "reset");

    // It stays in sight, wherever the rows have scrolled to.
    assert!(browser.text(".notice").await.contains("Gap: reset"));
    browser.click(".notice button").await;
    let notices = "return document.querySelectorAll('.notice').length";
    assert_eq!(browser.ask::<u64>(notices).await, 0);
}

#[tokio::test]
async fn types_are_told_apart_and_the_time_to_the_next_try_is_counted_down() {
    let gateway = Gateway::in_memory();
    let of_type = |kind: &str| json!({ "topic": "door.1", "type": kind, "data": 1 });
    gateway
        .publish(&json!([
            of_type("opened"),
            of_type("refused"),
            of_type("closed")
        ]))
        .await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    browser.until_vids("#rows", &vids(3)).await;
    let classes = "return [].map.call(document.querySelectorAll('.row .type'), t => t.className)";
    let classes: Vec<String> = browser.ask(classes).await;
    assert_eq!(classes, ["type type-0", "type type-bad", "type type-1"]);

    browser.click("#toggle").await;
    browser.until_state("#state", "paused").await;
    browser
        .ask::<()>("feed.state('waiting', 'Gone.', 3000)")
        .await;
    for left in ["Gone. Next try in 3 s.", "Gone. Next try in 2 s."] {
        browser
            .until(left.to_owned(), || browser.text("#detail"))
            .await;
    }
}

#[tokio::test]
async fn the_parser_for_browsers_without_json_reads_what_the_gateway_answers() {
    let gateway = Gateway::in_memory();
    // As the publisher wrote it, so that escapes come through.
    let data = r#"{"text":"门 \"\\\/\b\u95e8\ud83d\udeaa","list":[1,-2.5e-3,true,false,null,{},[]],"":""}"#;
    let request = reqwest::Client::new()
        .post(format!("{}/v1/topics/door.1", gateway.url()))
        .body(data);
    assert!(
        request
            .send()
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    gateway
        .publish(&json!({ "topic": "door.1", "data": "plain" }))
        .await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    let both: (Value, Value) = browser
        .ask(
            "const request = new XMLHttpRequest();
             request.open('GET', '/v1/poll?after=earliest&wait=0', false);
             request.send(null);
             return [new JsonText(request.responseText).whole(), JSON.parse(request.responseText)];",
        )
        .await;
    assert_eq!(both.0, both.1);
    assert_eq!(
        both.0["events"][0]["data"]["text"],
        "门 \"\\/\u{8}门\u{1f6aa}"
    );
}
