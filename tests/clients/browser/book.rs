//! The book: its search in both languages, and the page that the tutorial has a person write.

use serde_json::json;
use tempfile::TempDir;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::{Gateway, Setup};

/// The page of the tutorial's second chapter.
const CHAPTER: &str = include_str!("../../../docs/tutorial/own-page.md");

const FOUND: &str =
    "return [...document.querySelectorAll('#found a')].map(a => a.textContent).join('|')";

#[tokio::test]
async fn the_search_leads_to_the_heading_that_has_the_words() {
    let gateway = Gateway::in_memory();
    let browser = Browser::open("about:blank").await;
    for (page, words, found, anchor) in [
        (
            "/docs/contract/errors.md",
            "valid cursor above last",
            "Is a cursor valid?: Above last",
            "/docs/contract/cursors.md#above-last",
        ),
        (
            "/docs/zh/tutorial/service.md",
            "杀死网关",
            "3. 读者从哪里继续: 杀死网关",
            "/docs/zh/tutorial/resuming.md#杀死网关",
        ),
    ] {
        browser.go(&format!("{}{page}", gateway.url())).await;
        browser.type_into("#search-for", words).await;
        let first = async || {
            let found = browser.ask::<String>(FOUND).await;
            found.split('|').next().unwrap_or_default().to_owned()
        };
        browser.until(found.to_owned(), first).await;
        // In one step, as each key that was typed has the list made anew.
        let open = "document.querySelector('#found a').click()";
        browser.ask::<Option<()>>(open).await;
        let place = "return decodeURI(location.pathname + location.hash)";
        browser
            .until(anchor.to_owned(), || browser.ask::<String>(place))
            .await;
    }
    assert_eq!(browser.console_errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_page_of_the_tutorial_shows_each_event_once_over_a_reload() {
    let site = TempDir::new().expect("a folder");
    let written = CHAPTER.split("doors.html <<'END'\n").nth(1);
    let page = written.and_then(|text| text.split("\nEND\n").next());
    std::fs::write(site.path().join("doors.html"), page.expect("a page")).expect("a file");
    let folder = site.path().display();
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: format!("[pages]\ndir = \"{folder}\""),
        ..Setup::default()
    });
    let event = json!({ "topic": "door.3", "type": "opened", "data": { "doorno": 3 } });
    let publish = async || gateway.publish(&event).await;
    publish().await;
    let browser = Browser::open(&format!("{}/doors.html", gateway.url())).await;
    let shown = "return [...document.querySelectorAll('li')].map(li => parseInt(li.textContent))";
    browser.until(vids(1), || browser.ask(shown)).await;
    browser.go(&format!("{}/doors.html", gateway.url())).await;
    publish().await;
    browser
        .until(vec![2], || browser.ask::<Vec<u64>>(shown))
        .await;
}
