//! One Chromium with its chromedriver, both ended when it is dropped.

use std::collections::HashSet;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

use super::page::{Page, take_turn};
use super::process::BrowserProcess;
use crate::tools::find;

pub(super) struct Browser {
    client: Client,
    driver: Driver,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    pub(super) async fn open(url: &str) -> Self {
        let turn = take_turn().await;
        let driver = Driver::start();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(
            capabilities(driver.process.profile.path())
                .as_object()
                .expect("an object")
                .clone(),
        );
        let client = builder
            .connect(&driver.url)
            .await
            .unwrap_or_else(|e| panic!("no Chromium: {e}"));
        let browser = Browser {
            client,
            driver,
            _turn: turn,
        };
        browser.go(url).await;
        browser
    }

    pub(super) async fn new_tab(&self, url: &str) {
        let tab = self.client.new_window(true).await.expect("a tab");
        self.client
            .switch_to_window(tab.handle)
            .await
            .expect("the tab");
        self.go(url).await;
    }

    /// The tab that this one drives now.
    pub(super) async fn tab(&self) -> WindowHandle {
        self.client.window().await.expect("a tab")
    }

    pub(super) async fn switch_to(&self, tab: &WindowHandle) {
        let switched = self.client.switch_to_window(tab.clone()).await;
        switched.expect("the tab");
    }

    pub(super) async fn close_tab(&self) {
        self.client.close_window().await.expect("a closed tab");
    }

    pub(super) async fn back(&self) {
        self.client.back().await.expect("the page before");
    }

    /// A command of the `DevTools` protocol, for what `WebDriver` has no words for.
    pub(super) async fn devtools(&self, command: &str, params: Value) {
        let asked = json!({ "cmd": command, "params": params });
        self.post("goog/cdp/execute", &asked).await;
    }

    /// Does something in each tab, in the order they were opened.
    pub(super) async fn in_each_tab<T, F: Future<Output = T>>(
        &self,
        look: impl Fn() -> F,
    ) -> Vec<T> {
        let mut seen = Vec::new();
        for tab in self.client.windows().await.expect("tabs") {
            self.client.switch_to_window(tab).await.expect("the tab");
            seen.push(look().await);
        }
        seen
    }

    pub(super) async fn text(&self, css: &str) -> String {
        self.ask(&format!(
            "return document.querySelector({css:?}).textContent"
        ))
        .await
    }

    /// The vids that an element shows, one a row, from the top.
    pub(super) async fn vids(&self, css: &str) -> Vec<u64> {
        self.ask(&format!(
            // Array.from is prototype.js's own on some pages.
            "return [].map.call(document.querySelectorAll({:?}), row => Number(row.dataset.vid))",
            format!("{css} [data-vid]")
        ))
        .await
    }

    pub(super) async fn click(&self, css: &str) {
        let element = self
            .client
            .find(Locator::Css(css))
            .await
            .unwrap_or_else(|e| panic!("{css}: {e}"));
        element
            .click()
            .await
            .unwrap_or_else(|e| panic!("{css}: {e}"));
    }

    /// Types over what a field holds.
    pub(super) async fn type_into(&self, css: &str, text: &str) {
        let field = self
            .client
            .find(Locator::Css(css))
            .await
            .unwrap_or_else(|e| panic!("{css}: {e}"));
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("a filled field");
    }

    /// Waits until an element shows exactly these vids in this order.
    pub(super) async fn until_vids(&self, css: &str, expected: &[u64]) {
        self.until(expected.to_vec(), || self.vids(css)).await;
    }

    /// Waits until a page of `clients/` says of itself that it is `live`, `waiting`, ….
    pub(super) async fn until_state(&self, css: &str, expected: &str) {
        let script = format!("return document.querySelector({css:?}).dataset.state || ''");
        self.until_returned(expected.to_owned(), &script).await;
    }

    /// What was written to the console with the level SEVERE since the last look.
    pub(super) async fn console_errors(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        entries
            .iter()
            .filter(|e| e["level"] == "SEVERE")
            .map(|e| e["message"].to_string())
            .collect()
    }

    /// The addresses that the pages have requested since the last look.
    pub(super) async fn requests(&self) -> HashSet<String> {
        let entries = self.log("performance").await;
        let messages = entries.iter().map(|entry| {
            let message = entry["message"].as_str().expect("a message");
            serde_json::from_str::<Value>(message).expect("JSON")["message"].clone()
        });
        messages
            .filter(|m| m["method"] == "Network.requestWillBeSent")
            .map(|m| {
                m["params"]["request"]["url"]
                    .as_str()
                    .expect("an address")
                    .to_owned()
            })
            .collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("se/log", &json!({ "type": kind })).await;
        serde_json::from_value(entries).expect("a list")
    }

    /// A command that only chromedriver has.
    async fn post(&self, command: &str, body: &Value) -> Value {
        let session = self
            .client
            .session_id()
            .await
            .expect("an answer")
            .expect("a session");
        let url = format!("{}/session/{session}/{command}", self.driver.url);
        let answer = reqwest::Client::new()
            .post(url)
            .json(body)
            .send()
            .await
            .expect("an answer");
        let mut answer: Value = answer.json().await.expect("JSON");
        answer["value"].take()
    }
}

impl Page for Browser {
    async fn go(&self, url: &str) {
        let gone = self.client.goto(url).await;
        gone.unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    async fn ask<T: DeserializeOwned>(&self, script: &str) -> T {
        let answer = self
            .client
            .execute(script, Vec::new())
            .await
            .unwrap_or_else(|e| panic!("{script}: {e}"));
        serde_json::from_value(answer.clone()).unwrap_or_else(|e| panic!("{script}: {e}: {answer}"))
    }
}

fn capabilities(profile: &std::path::Path) -> Value {
    json!({
        // A gateway of these tests vouches for itself.
        "acceptInsecureCerts": true,
        "goog:chromeOptions": {
            "binary": find("chromium", "bin"),
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1280,900",
                format!("--user-data-dir={}", profile.display()),
                // Loopback goes without it, so whatever else the browser would like to reach it
                // cannot.
                "--proxy-server=127.0.0.1:9",
            ],
        },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    })
}

/// chromedriver, which has Chromium join its processes.
struct Driver {
    process: BrowserProcess,
    url: String,
}

impl Driver {
    fn start() -> Self {
        let profile = TempDir::new().expect("a folder");
        let mut command = Command::new(find("chromedriver", "bin"));
        command.arg("--port=0").stdout(Stdio::piped());
        let mut process = BrowserProcess::start(&mut command, profile);
        let output = BufReader::new(process.take_output());
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            line.split_once("successfully on port ")
                .map(|(_, port)| port.to_owned())
        });
        let port =
            port.unwrap_or_else(|| panic!("chromedriver has no port: {}", process.complaints()));
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
        Driver { process, url }
    }
}
