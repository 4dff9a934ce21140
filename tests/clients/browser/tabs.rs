//! Tabs of one page over HTTP/1.1, where a browser has six connections for all of them.

use fantoccini::wd::WindowHandle;
use serde_json::json;

use super::chromium::Browser;
use super::library::{IS_LEADER, Site, until_seen, until_state};
use super::page::Page as _;

const TABS: usize = 8;

/// What is common to the steps: the tabs that are open, and how many events there are.
struct Tabs {
    site: Site,
    browser: Browser,
    open: Vec<WindowHandle>,
    published: u64,
}

impl Tabs {
    async fn open_all() -> Self {
        let site = Site::start();
        site.gateway.publish_numbers("door.1", 3).await;
        let browser = Browser::open(&site.plain_page()).await;
        let mut open = vec![browser.tab().await];
        for _ in 1..TABS {
            browser.new_tab(&site.plain_page()).await;
            open.push(browser.tab().await);
        }
        Tabs {
            site,
            browser,
            open,
            published: 3,
        }
    }

    async fn publish(&mut self) {
        self.site.gateway.publish_numbers("door.1", 1).await;
        self.published += 1;
    }

    /// Every tab gets to the end, and one connection serves all of them.
    async fn until_all_have_all(&self) {
        for tab in &self.open {
            self.browser.switch_to(tab).await;
            until_seen(&self.browser, self.published).await;
        }
        self.site.until_streams(&self.browser, 1).await;
    }

    /// Goes to the tab that leads; only that one has ever caught up by a stream of its own since.
    async fn go_to_leader(&self) -> WindowHandle {
        for tab in &self.open {
            self.browser.switch_to(tab).await;
            if self.browser.ask::<bool>(IS_LEADER).await {
                return tab.clone();
            }
        }
        panic!("no tab leads");
    }

    async fn take_leader_away(&mut self) {
        let leader = self.go_to_leader().await;
        self.open.retain(|tab| *tab != leader);
    }
}

/// When the last event came, by the browser's clock.
const NOTE_ARRIVALS: &str =
    "reader.addEventListener('event', () => { window.arrivedAt = Date.now() })";

#[tokio::test]
async fn eight_tabs_share_one_connection_whatever_becomes_of_the_tab_that_leads() {
    let mut tabs = Tabs::open_all().await;
    tabs.until_all_have_all().await;

    leader_is_killed(&mut tabs).await;
    leader_is_frozen(&mut tabs).await;
    leader_says_nothing(&mut tabs).await;
    one_joins_behind(&mut tabs).await;
}

async fn leader_is_killed(tabs: &mut Tabs) {
    for tab in &tabs.open {
        tabs.browser.switch_to(tab).await;
        tabs.browser.ask::<()>(NOTE_ARRIVALS).await;
    }
    tabs.take_leader_away().await;
    let killed_at: i64 = tabs.browser.ask("return Date.now()").await;
    // Its process is gone, with nothing said; chromedriver answers with an error.
    tabs.browser.devtools("Page.crash", json!({})).await;

    tabs.publish().await;
    tabs.until_all_have_all().await;
    let mut latest = 0;
    for tab in &tabs.open {
        tabs.browser.switch_to(tab).await;
        latest = latest.max(tabs.browser.ask("return arrivedAt").await);
    }
    println!(
        "the other tabs had the next event {} ms after the kill",
        latest - killed_at
    );
}

async fn leader_is_frozen(tabs: &mut Tabs) {
    let leader = tabs.go_to_leader().await;
    let freeze = |state: &str| json!({ "state": state });
    tabs.browser
        .devtools("Page.setWebLifecycleState", freeze("frozen"))
        .await;
    tabs.open.retain(|tab| *tab != leader);
    tabs.publish().await;
    tabs.until_all_have_all().await;

    tabs.browser.switch_to(&leader).await;
    tabs.browser
        .devtools("Page.setWebLifecycleState", freeze("active"))
        .await;
    tabs.open.push(leader);
    tabs.publish().await;
    tabs.until_all_have_all().await;
}

/// As a tab whose code hangs: it keeps the lock, and its connection.
async fn leader_says_nothing(tabs: &mut Tabs) {
    tabs.take_leader_away().await;
    let silence = "BroadcastChannel.prototype.postMessage = () => {}";
    tabs.browser.ask::<()>(silence).await;
    tabs.publish().await;
    tabs.until_all_have_all().await;

    let took = "return logged.some(line => line.includes('takes the lead'))";
    let mut takers = 0;
    for tab in &tabs.open {
        tabs.browser.switch_to(tab).await;
        takers += u64::from(tabs.browser.ask::<bool>(took).await);
    }
    assert!(takers > 0, "the lock was taken");
}

async fn one_joins_behind(tabs: &mut Tabs) {
    let first = tabs.site.page(&json!({ "topic": "door.*", "after": "1" }));
    tabs.browser.new_tab(&first).await;
    until_state(&tabs.browser, "live").await;
    let seen: Vec<u64> = tabs.browser.ask("return vids").await;
    assert_eq!(seen, (2..=tabs.published).collect::<Vec<_>>());
    tabs.site.until_streams(&tabs.browser, 1).await;

    // Whoever reads something else has a connection of their own.
    let other = tabs.site.page(&json!({ "topic": "door.1" }));
    tabs.browser.new_tab(&other).await;
    until_seen(&tabs.browser, tabs.published).await;
    tabs.site.until_streams(&tabs.browser, 2).await;
}
