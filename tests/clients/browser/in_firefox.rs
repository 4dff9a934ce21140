//! The library in Firefox, where other things become of a page than in Chromium: its streams fail
//! before it is left, and its back-forward cache has rules of its own.

use serde_json::json;

use super::firefox::Firefox;
use super::library::{
    IS_LEADER, Site, a_service_worker_reads_as_well, a_worker_reads_as_well, its_storage_is_full,
    until_logged, until_seen, until_state,
};
use super::page::Page as _;

#[tokio::test]
async fn a_page_goes_on_after_being_hidden_offline_and_left_and_without_storage() {
    let site = Site::start();
    site.gateway.publish_numbers("door.1", 3).await;
    let firefox = Firefox::open("about:blank").await;

    hidden_and_shown(&site, &firefox).await;
    offline_and_online(&site, &firefox).await;
    left_and_gone_back_to(&site, &firefox).await;
    its_storage_is_full(&site, &firefox).await;
    a_worker_reads_as_well(&site, &firefox).await;
    a_service_worker_reads_as_well(&site, &firefox).await;
}

/// 3 events before, 1 while it is hidden.
async fn hidden_and_shown(site: &Site, firefox: &Firefox) {
    firefox.go(&site.page(&json!({ "pauseHidden": 100 }))).await;
    until_seen(firefox, 3).await;
    let page = firefox.tab().await;
    firefox.new_tab("about:blank").await;
    site.until_streams(firefox, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    firefox.close_tab().await;
    firefox.switch_to(&page).await;
    until_seen(firefox, 4).await;
    until_logged(firefox, ": hidden").await;
}

async fn offline_and_online(site: &Site, firefox: &Firefox) {
    firefox.set_offline(true).await;
    until_state(firefox, "waiting").await;
    site.until_streams(firefox, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    firefox.set_offline(false).await;
    until_seen(firefox, 5).await;
    until_logged(firefox, ": offline").await;
}

async fn left_and_gone_back_to(site: &Site, firefox: &Firefox) {
    let other = format!("{}/clients/", site.gateway.url());
    firefox.go(&other).await;
    site.until_streams(firefox, 0).await;
    site.gateway.publish_numbers("door.1", 1).await;

    firefox.back().await;
    until_seen(firefox, 6).await;
    site.until_streams(firefox, 1).await;
}

const TABS: usize = 8;

#[tokio::test]
async fn eight_tabs_share_one_connection_and_another_leads_when_the_leader_is_closed() {
    let site = Site::start();
    site.gateway.publish_numbers("door.1", 3).await;
    let firefox = Firefox::open(&site.plain_page()).await;
    let mut tabs = vec![firefox.tab().await];
    for _ in 1..TABS {
        tabs.push(firefox.new_tab(&site.plain_page()).await);
    }
    until_all_have(&site, &firefox, &tabs, 3).await;

    let leader = leader_of(&firefox, &tabs).await;
    firefox.switch_to(&leader).await;
    firefox.close_tab().await;
    tabs.retain(|tab| *tab != leader);
    firefox.switch_to(&tabs[0]).await;
    site.gateway.publish_numbers("door.1", 1).await;
    until_all_have(&site, &firefox, &tabs, 4).await;

    // One that joins behind the others is given what it lacks, by the same connection in the end.
    let behind = site.page(&json!({ "topic": "door.*", "after": "1" }));
    firefox.new_tab(&behind).await;
    until_state(&firefox, "live").await;
    firefox.until_returned(vec![2, 3, 4], "return vids").await;
    site.until_streams(&firefox, 1).await;
}

/// Every tab gets to the end, and one connection serves all of them.
async fn until_all_have(site: &Site, firefox: &Firefox, tabs: &[String], count: u64) {
    for tab in tabs {
        firefox.switch_to(tab).await;
        until_seen(firefox, count).await;
    }
    site.until_streams(firefox, 1).await;
}

async fn leader_of(firefox: &Firefox, tabs: &[String]) -> String {
    for tab in tabs {
        firefox.switch_to(tab).await;
        if firefox.ask::<bool>(IS_LEADER).await {
            return tab.clone();
        }
    }
    panic!("no tab leads");
}
