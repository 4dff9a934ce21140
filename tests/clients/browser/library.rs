//! A page of one's own that reads by `/clients/vidette.js`, and a gateway that serves both.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::chromium::Browser;
use super::vids;
use crate::common::gateway::{Gateway, Setup};

/// `?options=` takes options of `subscribe`.
const PAGE: &str = r#"<!DOCTYPE html><title>A reader</title><script type="module">
import { subscribe } from "/clients/vidette.js"
const options = JSON.parse(new URLSearchParams(location.search).get("options"))
Object.assign(window, { vids: [], states: [], gaps: 0, logged: [] })
window.reader = subscribe(location.origin, {
  topic: "door.*", after: "earliest", log: (level, text) => logged.push(text), ...options,
})
reader.addEventListener("event", ({ detail }) => vids.push(detail.vid))
reader.addEventListener("state", ({ detail }) => states.push(detail.state))
reader.addEventListener("gap", () => gaps++)
</script>"#;

const WORKER: &str = r#"import { subscribe } from "/clients/vidette.js"
const reader = subscribe(location.origin, { topic: "door.*", after: "earliest" })
reader.addEventListener("event", ({ detail }) => postMessage(detail.vid))
"#;

/// It may load nothing once it runs, and polls are otherwise loaded where they are used.
const SERVICE_WORKER: &str = r#"import { subscribe } from "/clients/js/all.js"
onmessage = ({ source }) => {
  const options = { topic: "door.*", after: "earliest", transport: "poll", tabs: "own" }
  const reader = subscribe(location.origin, options)
  reader.addEventListener("event", ({ detail }) => source.postMessage(detail.vid))
}
"#;

const FILES: [(&str, &str); 3] = [
    ("reader.html", PAGE),
    ("worker.js", WORKER),
    ("service-worker.js", SERVICE_WORKER),
];

pub(super) struct Site {
    pub(super) gateway: Gateway,
    _pages: TempDir,
}

impl Site {
    /// With a heartbeat of a second.
    pub(super) fn start() -> Self {
        let pages = TempDir::new().expect("a folder");
        for (name, text) in FILES {
            std::fs::write(pages.path().join(name), text).expect("a file");
        }
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config: "[bus]\nheartbeat = \"1s\"\n".to_owned(),
            flags: vec!["--pages-dir".to_owned(), pages.path().display().to_string()],
            ..Setup::default()
        });
        Site {
            gateway,
            _pages: pages,
        }
    }

    /// The page with these options.
    pub(super) fn page(&self, options: &Value) -> String {
        let query = [("options", options.to_string())];
        let url = format!("{}/reader.html", self.gateway.url());
        let url = reqwest::Url::parse_with_params(&url, query);
        url.expect("an address").to_string()
    }

    /// The page as most people would write it.
    pub(super) fn plain_page(&self) -> String {
        self.page(&json!({}))
    }

    /// How many streams of the gateway are open.
    pub(super) async fn streams(&self) -> u64 {
        let url = format!("{}/metrics", self.gateway.url());
        let answer = reqwest::get(url).await.expect("an answer");
        let metrics = answer.text().await.expect("a text");
        let name = "vidette_subscribers{transport=\"sse\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name));
        count.and_then(|count| count.parse().ok()).expect("a count")
    }

    pub(super) async fn until_streams(&self, browser: &Browser, expected: u64) {
        browser.until(expected, || self.streams()).await;
    }
}

/// Waits until the page of this tab has the events 1 to `count`, each once and in order.
pub(super) async fn until_seen(browser: &Browser, count: u64) {
    let seen = || browser.ask::<Vec<u64>>("return vids");
    browser.until(vids(count), seen).await;
    assert_eq!(browser.ask::<u64>("return gaps").await, 0);
}

/// Waits until the reader of this tab is in this state.
pub(super) async fn until_state(browser: &Browser, expected: &str) {
    let state = || browser.ask::<String>("return reader.state");
    browser.until(expected.to_owned(), state).await;
}

/// Does the library say this in its log?
pub(super) async fn until_logged(browser: &Browser, text: &str) {
    let script = format!("return logged.some(line => line.includes({text:?}))");
    browser.until(true, || browser.ask::<bool>(&script)).await;
}
