//! One Firefox with a profile of its own, driven by its own remote protocol (Marionette), as Debian
//! has no geckodriver; ended when it is dropped.
//!
//! A message is `LENGTH:JSON`; a command is `[0, id, name, parameters]`, and its answer
//! `[1, id, error, result]`
//! (<https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html>).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, SemaphorePermit};

use super::page::{Page, take_turn};
use super::process::BrowserProcess;
use crate::common::gateway::PATIENCE;
use crate::tools::find;

/// Nothing that is fetched, updated or asked without being told to, and a free port.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.disable-localhost-when-offline", true);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage", "about:blank");
user_pref("browser.startup.page", 0);
user_pref("browser.tabs.unloadOnLowMemory", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
"#;

pub(super) struct Firefox {
    connection: Mutex<Connection>,
    _process: BrowserProcess,
    _turn: SemaphorePermit<'static>,
}

struct Connection {
    stream: TcpStream,
    last_id: u64,
}

impl Firefox {
    pub(super) async fn open(url: &str) -> Self {
        let turn = take_turn().await;
        let process = start();
        let port = port(process.profile.path()).await;
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let mut connection = Connection {
            stream: stream.expect("Firefox listens"),
            last_id: 0,
        };
        // It introduces itself first.
        connection.receive().await;

        let firefox = Firefox {
            connection: Mutex::new(connection),
            _process: process,
            _turn: turn,
        };
        firefox.command("WebDriver:NewSession", json!({})).await;
        firefox.go(url).await;
        firefox
    }

    pub(super) async fn back(&self) {
        self.command("WebDriver:Back", json!({})).await;
    }

    /// A tab in front of the others, which is driven from now on.
    pub(super) async fn new_tab(&self, url: &str) -> String {
        let asked = json!({ "type": "tab", "focus": true });
        let answer = self.command("WebDriver:NewWindow", asked).await;
        let tab = answer["handle"].as_str().expect("a tab").to_owned();
        self.switch_to(&tab).await;
        self.go(url).await;
        tab
    }

    /// The tab that is driven now.
    pub(super) async fn tab(&self) -> String {
        let answer = self.command("WebDriver:GetWindowHandle", json!({})).await;
        answer["value"].as_str().expect("a tab").to_owned()
    }

    /// Drives another tab, which comes to the front.
    pub(super) async fn switch_to(&self, tab: &str) {
        let asked = json!({ "handle": tab, "focus": true });
        self.command("WebDriver:SwitchToWindow", asked).await;
    }

    pub(super) async fn close_tab(&self) {
        self.command("WebDriver:CloseWindow", json!({})).await;
    }

    /// The browser's own "Work Offline".
    pub(super) async fn set_offline(&self, is_offline: bool) {
        let context = |name: &str| json!({ "value": name });
        self.command("Marionette:SetContext", context("chrome"))
            .await;
        let script = format!("Services.io.offline = {is_offline}");
        self.ask::<()>(&script).await;
        self.command("Marionette:SetContext", context("content"))
            .await;
    }

    async fn command(&self, name: &str, parameters: Value) -> Value {
        let mut connection = self.connection.lock().await;
        let answering = connection.command(name, &parameters);
        let answer = tokio::time::timeout(PATIENCE, answering).await;
        match answer.unwrap_or_else(|_| panic!("no answer to {name} {parameters}")) {
            Ok(answer) => answer,
            Err(error) => panic!("{name} {parameters}: {error}"),
        }
    }
}

impl Page for Firefox {
    async fn go(&self, url: &str) {
        self.command("WebDriver:Navigate", json!({ "url": url }))
            .await;
    }

    async fn ask<T: DeserializeOwned>(&self, script: &str) -> T {
        let asked = json!({ "script": script, "args": [] });
        let mut answer = self.command("WebDriver:ExecuteScript", asked).await;
        let value = answer["value"].take();
        serde_json::from_value(value).unwrap_or_else(|e| panic!("{script}: {e}"))
    }
}

impl Connection {
    async fn command(&mut self, name: &str, parameters: &Value) -> Result<Value, Value> {
        self.last_id += 1;
        let message = json!([0, self.last_id, name, parameters]).to_string();
        let framed = format!("{}:{message}", message.len());
        let sent = self.stream.write_all(framed.as_bytes()).await;
        sent.expect("Firefox takes a command");

        let mut answer = self.receive().await;
        assert_eq!(answer[1], self.last_id, "the answer to {name}");
        match answer[2].take() {
            Value::Null => Ok(answer[3].take()),
            error => Err(error),
        }
    }

    async fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            match self.stream.read_u8().await.expect("a message's length") {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }

        let mut message = vec![0; length];
        let read = self.stream.read_exact(&mut message).await;
        read.expect("a message");
        serde_json::from_slice(&message).expect("JSON")
    }
}

/// Starts Firefox with a profile of its own.
fn start() -> BrowserProcess {
    let profile = TempDir::new().expect("a folder");
    std::fs::write(profile.path().join("user.js"), PREFERENCES).expect("preferences");
    let mut command = Command::new(find("firefox-esr", "bin"));
    command
        .args(["--headless", "--marionette", "--no-remote"])
        // Scripts in the browser itself, for `set_offline`.
        .arg("--remote-allow-system-access")
        .arg("--profile")
        .arg(profile.path())
        .env("HOME", profile.path())
        .stdout(Stdio::null());
    BrowserProcess::start(&mut command, profile)
}

/// Waits until it has written the port that it listens on into its profile.
async fn port(profile: &Path) -> u16 {
    let path = profile.join("MarionetteActivePort");
    let waiting = async {
        loop {
            match read_port(&path) {
                Some(port) => return port,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let port = tokio::time::timeout(PATIENCE, waiting).await;
    port.expect("Firefox listens in time")
}

fn read_port(path: &Path) -> Option<u16> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
