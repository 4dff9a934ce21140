//! The door-access page of 2008 that the gateway brings along. After a failure it waits 5 s.

use serde_json::json;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::Gateway;
use crate::network::Network;

const PAGE: &str = "/clients/longpoll/prototype.html";

/// Publishes door records, one after the other.
async fn publish_records(gateway: &Gateway, doors: std::ops::RangeInclusive<u64>) {
    for door in doors {
        let record = json!({ "vid": 900, "doorno": door, "rfsim": "0012345678", "optime": "10:00:00", "ynopen": 1 });
        gateway
            .publish(&json!({ "topic": "door.1", "data": record }))
            .await;
    }
}

#[tokio::test]
async fn the_prototype_page_shows_every_record_in_order_across_a_crash() {
    let mut gateway = Gateway::start();
    publish_records(&gateway, 1..=10).await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    browser.until_vids("#log", &vids(10)).await;
    let first: String = browser
        .ask("return document.querySelector('#log [data-vid]').textContent")
        .await;
    assert_eq!(first, "1,1,0012345678,10:00:00,1");

    gateway.kill();
    browser
        .until(true, || async {
            browser.text("#state").await.contains("again in")
        })
        .await;
    gateway.start_again();
    publish_records(&gateway, 11..=20).await;
    browser.until_vids("#log", &vids(20)).await;
    assert_eq!(browser.text("#maxvid").await, "20");
}

#[tokio::test]
async fn the_prototype_page_misses_nothing_while_the_network_is_down() {
    let gateway = Gateway::start();
    let network = Network::before(gateway.address()).await;
    publish_records(&gateway, 1..=5).await;
    let browser = Browser::open(&format!("{}{PAGE}", network.url())).await;
    browser.until_vids("#log", &vids(5)).await;

    network.cut().await;
    browser
        .until(true, || async {
            browser.text("#state").await.contains("again in")
        })
        .await;
    publish_records(&gateway, 6..=15).await;
    network.mend();
    browser.until_vids("#log", &vids(15)).await;
}
