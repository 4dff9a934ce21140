//! What happens to a page, and to its storage: its reader goes on behind what it has seen.

use serde_json::json;

use super::chromium::Browser;
use super::library::{
    Site, a_service_worker_reads_as_well, a_worker_reads_as_well, its_storage_is_full,
    until_logged, until_seen, until_state,
};
use super::page::Page as _;

#[tokio::test]
async fn a_page_goes_on_after_being_hidden_offline_and_left_and_without_storage() {
    let site = Site::start();
    site.gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open("about:blank").await;

    hidden_and_shown(&site, &browser).await;
    offline_and_online(&site, &browser).await;
    left_and_gone_back_to(&site, &browser).await;
    its_storage_is_full(&site, &browser).await;
    a_worker_reads_as_well(&site, &browser).await;
    a_service_worker_reads_as_well(&site, &browser).await;
}

/// 3 events before, 1 while it is hidden.
async fn hidden_and_shown(site: &Site, browser: &Browser) {
    browser.go(&site.page(&json!({ "pauseHidden": 100 }))).await;
    until_seen(browser, 3).await;
    let page = browser.tab().await;
    browser.new_tab("about:blank").await;
    site.until_streams(browser, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    browser.close_tab().await;
    browser.switch_to(&page).await;
    browser.devtools("Page.bringToFront", json!({})).await;
    until_seen(browser, 4).await;
    let cut = browser.ask::<bool>("return logged.some(line => line.endsWith(': hidden'))");
    assert!(cut.await);
}

async fn offline_and_online(site: &Site, browser: &Browser) {
    let network = |is_offline: bool| {
        json!({
            "offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        })
    };
    browser.devtools("Network.enable", json!({})).await;
    let command = "Network.emulateNetworkConditions";
    browser.devtools(command, network(true)).await;
    until_state(browser, "waiting").await;
    site.until_streams(browser, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    browser.devtools(command, network(false)).await;
    until_seen(browser, 5).await;
    until_logged(browser, ": offline").await;
}

async fn left_and_gone_back_to(site: &Site, browser: &Browser) {
    browser.ask::<()>("window.isTheSame = true").await;
    browser
        .go(&format!("{}/clients/", site.gateway.url()))
        .await;
    site.until_streams(browser, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    browser.back().await;
    let is_same = "return window.isTheSame === true";
    assert!(browser.ask::<bool>(is_same).await, "not from the cache");
    until_seen(browser, 6).await;
    until_logged(browser, ": frozen").await;
}
