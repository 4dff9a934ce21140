//! An EventSource of a page that does nothing about it: it lives on through what passes.

use serde_json::json;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::{Gateway, Setup};

/// A page without a reader of its own.
const PAGE: &str = "/clients/grpcurl/";

const OPEN: &str = "
    window.vids = []; window.reasons = [];
    window.source = new EventSource('/v1/sse?after=earliest');
    source.onmessage = (event) => vids.push(JSON.parse(event.data).vid);
    source.addEventListener('vidette.closing', (event) => reasons.push(JSON.parse(event.data).reason));";

/// The reasons, each once however often it was reported.
async fn reasons(browser: &Browser) -> Vec<String> {
    browser.ask("return Array.from(new Set(reasons))").await
}

async fn until_seen(browser: &Browser, count: u64) {
    browser
        .until(vids(count), || browser.ask("return window.vids"))
        .await;
}

async fn is_alive(browser: &Browser) -> bool {
    browser
        .ask("return source.readyState !== EventSource.CLOSED")
        .await
}

#[tokio::test]
async fn an_event_source_lives_through_a_busy_phase_and_a_restart() {
    let mut gateway = Gateway::start_with(Setup {
        config: "[limits]\nmax_subscribers = 1".to_owned(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open(&format!("{}{PAGE}", gateway.url())).await;
    let mut occupant = reqwest::get(format!("{}/v1/sse", gateway.url()))
        .await
        .expect("a stream");
    occupant.chunk().await.expect("a greeting");
    browser.ask::<()>(OPEN).await;
    let busy = vec!["busy".to_owned()];
    browser.until(busy.clone(), || reasons(&browser)).await;
    assert!(is_alive(&browser).await);
    drop(occupant);
    until_seen(&browser, 3).await;

    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    let both = vec!["busy".to_owned(), "shutdown".to_owned()];
    browser.until(both, || reasons(&browser)).await;
    assert!(is_alive(&browser).await);
    gateway.start_again();
    gateway
        .publish(&json!([{ "topic": "door.1", "data": 4 }, { "topic": "door.1", "data": 5 }]))
        .await;
    until_seen(&browser, 5).await;
}

#[tokio::test]
async fn the_eventsource_page_says_that_the_gateway_is_busy_and_comes_back() {
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: "[limits]\nmax_subscribers = 1".to_owned(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 3).await;
    let mut occupant = reqwest::get(format!("{}/v1/sse", gateway.url()))
        .await
        .expect("a stream");
    occupant.chunk().await.expect("a greeting");
    let page = "/clients/eventsource/?start=earliest";
    let browser = Browser::open(&format!("{}{page}", gateway.url())).await;
    let is_told = || async { browser.text("#detail").await.contains("no capacity") };
    browser.until(true, is_told).await;
    drop(occupant);
    browser.until_vids("#rows", &vids(3)).await;
    browser.until_state("#state", "live").await;
}
