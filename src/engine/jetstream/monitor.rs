//! What the monitors of NATS servers say: whether each write is synced, which no client can see.
//!
//! Invariant: an answer is bounded in bytes and in time, and is never needed for the gateway to
//! run.

use std::fmt;

use futures_util::future::join_all;
use reqwest::Client;
use serde::Deserialize;

use crate::limits;

/// Does a server sync each write to its disk?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SyncSetting {
    /// Each one: `sync_interval: always`.
    Always,
    /// Every so many nanoseconds.
    Every(u64),
    /// Its monitor has not said so, for this reason.
    Unknown(String),
}

/// A monitor and what it said.
#[derive(Debug, Clone)]
pub(super) struct MonitoredServer {
    pub(super) url: String,
    /// Its name in the cluster; empty where it has not answered.
    pub(super) name: String,
    pub(super) sync: SyncSetting,
}

impl fmt::Display for SyncSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncSetting::Always => f.write_str("syncs each write"),
            SyncSetting::Every(ns) => {
                let every = std::time::Duration::from_nanos(*ns);
                write!(f, "syncs every {every:?} (sync_interval), not each write")
            }
            SyncSetting::Unknown(why) => write!(f, "not known: {why}"),
        }
    }
}

/// Asks all of them at once.
pub(super) async fn sync_settings(monitors: &[String]) -> Vec<MonitoredServer> {
    let client = Client::builder()
        .timeout(limits::NATS_MONITOR_WAIT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    let asking = monitors.iter().map(async |url| {
        let answer = match &client {
            Ok(client) => ask(client, url).await,
            Err(error) => Err(error.to_string()),
        };
        let (name, sync) = answer.unwrap_or_else(|why| (String::new(), SyncSetting::Unknown(why)));
        let url = url.clone();
        MonitoredServer { url, name, sync }
    });
    join_all(asking).await
}

async fn ask(client: &Client, url: &str) -> Result<(String, SyncSetting), String> {
    let answer = client.get(format!("{url}/varz")).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let mut answer = answer.map_err(|error| error.without_url().to_string())?;
    let mut body = Vec::new();
    while let Some(part) = answer
        .chunk()
        .await
        .map_err(|e| e.without_url().to_string())?
    {
        body.extend_from_slice(&part);
        if body.len() > limits::NATS_MONITOR_BYTES {
            return Err("the answer is too long".to_owned());
        }
    }
    setting_of(&body)
}

/// The name of a server, and its setting.
fn setting_of(body: &[u8]) -> Result<(String, SyncSetting), String> {
    let found: Varz = serde_json::from_slice(body).map_err(|_| NOT_VARZ.to_owned())?;
    let config = found.jetstream.and_then(|jetstream| jetstream.config);
    let config = config.ok_or_else(|| NO_JETSTREAM.to_owned())?;
    let setting = if config.sync_always {
        SyncSetting::Always
    } else {
        SyncSetting::Every(config.sync_interval)
    };
    Ok((found.server_name, setting))
}

const NOT_VARZ: &str = "its answer is not that of a NATS server";
const NO_JETSTREAM: &str = "JetStream is off there";

#[derive(Deserialize)]
struct Varz {
    #[serde(default)]
    server_name: String,
    jetstream: Option<JetStreamVarz>,
}

#[derive(Deserialize)]
struct JetStreamVarz {
    config: Option<JetStreamConfig>,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_found_in_what_a_server_says_of_itself() {
        let of = |text: &str| setting_of(text.as_bytes());
        let always = r#"{"server_name":"n1","jetstream":{"config":{"sync_always":true}}}"#;
        assert_eq!(of(always), Ok(("n1".to_owned(), SyncSetting::Always)));
        let every = r#"{"jetstream":{"config":{"sync_interval":120000000000}}}"#;
        let setting = SyncSetting::Every(120_000_000_000);
        assert_eq!(of(every), Ok((String::new(), setting)));
        assert_eq!(of("{}"), Err(NO_JETSTREAM.to_owned()));
        assert_eq!(of("<html>"), Err(NOT_VARZ.to_owned()));
    }
}
