//! A page of one's own that reads by `/clients/vidette.js`, and a gateway that serves both.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::page::Page;
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

    pub(super) async fn until_streams(&self, page: &impl Page, expected: u64) {
        page.until(expected, || self.streams()).await;
    }
}

/// Whether the reader of this tab holds the connection for all of them: it connects, and the others
/// are given the state of one that does.
pub(super) const IS_LEADER: &str =
    "return states.findLast(state => state !== 'live') === 'catching-up'";

/// Leaves no byte of the storage, and no cursor in it.
const FILL_STORAGE: &str = "
    localStorage.removeItem('vidette:doors')
    let part = 'x'.repeat(1 << 20)
    for (let n = 0; part; n++) {
        try { localStorage.setItem(n, part) } catch { part = part.slice(part.length / 2 + 1) }
    }";

/// Waits until the page of this tab has the events 1 to `count`, each once and in order.
pub(super) async fn until_seen(page: &impl Page, count: u64) {
    page.until_returned(vids(count), "return vids").await;
    assert_eq!(page.ask::<u64>("return gaps").await, 0);
}

/// Waits until the reader of this tab is in this state.
pub(super) async fn until_state(page: &impl Page, expected: &str) {
    page.until_returned(expected.to_owned(), "return reader.state")
        .await;
}

/// Waits until the library has said this in its log.
pub(super) async fn until_logged(page: &impl Page, text: &str) {
    let script = format!("return logged.some(line => line.includes({text:?}))");
    page.until_returned(true, &script).await;
}

/// Waits until the page has kept its cursor.
async fn until_kept(page: &impl Page) {
    let is_kept = "return localStorage.getItem('vidette:doors') !== null";
    page.until_returned(true, is_kept).await;
}

/// Begins a worker of the page, which reads; the vids of its events are in `ofWorker`.
async fn begin_worker(page: &impl Page) {
    let begin = "
        window.ofWorker = []
        window.worker = new Worker('/worker.js', { type: 'module' })
        worker.onmessage = ({ data }) => ofWorker.push(data)";
    page.ask::<()>(begin).await;
}

/// Begins a service worker, which reads; the vids of its events are in `ofServiceWorker`.
async fn begin_service_worker(page: &impl Page) {
    let begin = "
        window.ofServiceWorker = []
        navigator.serviceWorker.onmessage = ({ data }) => ofServiceWorker.push(data)
        navigator.serviceWorker.startMessages()
        const options = { type: 'module' }
        navigator.serviceWorker.register('/service-worker.js', options)
        navigator.serviceWorker.ready.then(({ active }) => active.postMessage('begin'))";
    page.ask::<()>(begin).await;
}

/// With 6 events before, and 2 more while it is full.
pub(super) async fn its_storage_is_full(site: &Site, page: &impl Page) {
    page.go(&site.page(&json!({ "persist": "doors" }))).await;
    until_seen(page, 6).await;
    until_kept(page).await;

    page.ask::<()>(FILL_STORAGE).await;
    site.gateway.publish_numbers("door.1", 2).await;
    until_seen(page, 8).await;
    until_logged(page, "the cursor is not kept").await;
    page.ask::<()>("localStorage.clear()").await;
}

/// With 8 events before; it shares the connection of its page.
pub(super) async fn a_worker_reads_as_well(site: &Site, page: &impl Page) {
    page.go(&site.plain_page()).await;
    until_seen(page, 8).await;
    begin_worker(page).await;
    page.until_returned(vids(8), "return ofWorker").await;
    site.gateway.publish_numbers("door.1", 1).await;
    page.until_returned(vids(9), "return ofWorker").await;
    site.until_streams(page, 1).await;
}

/// With 9 events before.
pub(super) async fn a_service_worker_reads_as_well(site: &Site, page: &impl Page) {
    begin_service_worker(page).await;
    page.until_returned(vids(9), "return ofServiceWorker").await;
    site.gateway.publish_numbers("door.1", 1).await;
    page.until_returned(vids(10), "return ofServiceWorker")
        .await;
}
