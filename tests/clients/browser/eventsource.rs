//! The EventSource page.

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::Gateway;
use crate::network::Network;

const PAGE: &str = "/clients/eventsource/?start=earliest&types=opened,refused";

#[tokio::test]
async fn the_eventsource_page_shows_every_event_in_order_across_a_crash() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("door.1", 40).await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    browser.until_vids("#rows", &vids(40)).await;
    browser.until_state("#state", "live").await;

    gateway.kill();
    browser.until_state("#state", "waiting").await;
    gateway.start_again();
    gateway.publish_numbers("door.1", 60).await;
    browser.until_vids("#rows", &vids(100)).await;
    browser.until_state("#state", "live").await;
    assert_eq!(browser.text("#gaps").await, "0");
    assert_eq!(browser.text("#count").await, "100");

    gateway.publish_numbers("door.1", 1).await;
    browser.until_vids("#rows", &vids(101)).await;
}

#[tokio::test]
async fn the_eventsource_page_misses_nothing_while_the_network_is_down() {
    let gateway = Gateway::start();
    let network = Network::before(gateway.address()).await;
    gateway.publish_numbers("door.1", 10).await;
    let browser = Browser::open(&format!("{}{PAGE}", network.url())).await;
    browser.until_vids("#rows", &vids(10)).await;

    for round in 1..=2 {
        network.cut().await;
        browser.until_state("#state", "waiting").await;
        gateway.publish_numbers("door.1", 20).await;
        network.mend();
        browser.until_vids("#rows", &vids(10 + 20 * round)).await;
        browser.until_state("#state", "live").await;
    }
    assert_eq!(browser.text("#gaps").await, "0");
}

#[tokio::test]
async fn the_eventsource_page_comes_back_after_an_orderly_restart() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("door.1", 5).await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    browser.until_vids("#rows", &vids(5)).await;
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    gateway.start_again();
    gateway.publish_numbers("door.1", 5).await;
    browser.until_vids("#rows", &vids(10)).await;
    assert_eq!(browser.text("#gaps").await, "0");
}

#[tokio::test]
async fn the_eventsource_page_shows_the_types_that_it_listens_for() {
    let gateway = Gateway::in_memory();
    let event = |kind: &str| serde_json::json!({ "topic": "door.1", "type": kind, "data": 1 });
    gateway
        .publish(&serde_json::json!([
            event("opened"),
            event("strange"),
            event("refused")
        ]))
        .await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    browser.until_vids("#rows", &[1, 3]).await;
    browser
        .go(&format!("{}{PAGE},strange", gateway.url()))
        .await;
    browser.until_vids("#rows", &[1, 2, 3]).await;
}

#[tokio::test]
async fn the_eventsource_page_stops_and_tells_why_it_was_refused() {
    let gateway = Gateway::in_memory();
    let browser = Browser::open(&format!(
        "{}/clients/eventsource/?topic=a..b",
        gateway.url()
    ))
    .await;
    browser.until_state("#state", "stopped").await;
    let reason = browser.text("#detail").await;
    assert!(reason.contains("Bad request"), "{reason}");
}
