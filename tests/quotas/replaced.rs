//! Limits that are replaced while the gateway serves.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use vidette::config::{Config, Overrides};
use vidette::engine::MemoryEngine;
use vidette::server::{Gateway, LiveConfig};

use crate::common::gateway::PATIENCE;

/// A gateway whose configuration a test replaces.
struct Replaceable {
    url: String,
    live: LiveConfig,
    http: Client,
    _running: AbortOnDropHandle<()>,
}

fn config(limits: &str) -> Config {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        ..Overrides::default()
    };
    Config::parse(limits, overrides).expect("a configuration")
}

impl Replaceable {
    async fn start(limits: &str) -> Self {
        let engine = Arc::new(MemoryEngine::new(Duration::from_secs(60)));
        let gateway = Gateway::start_on(engine, &config(limits)).await;
        let gateway = gateway.expect("a gateway");
        let (live, url) = (gateway.live_config(), gateway.addresses()[0]);
        let running = tokio::spawn(gateway.run(std::future::pending()));
        Replaceable {
            url: format!("http://{url}"),
            live,
            http: Client::new(),
            _running: AbortOnDropHandle::new(running),
        }
    }

    fn replace(&self, limits: &str) {
        let needing_restart = self.live.replace(&config(limits));
        assert!(needing_restart.is_empty(), "{needing_restart:?}");
    }

    async fn read(&self) -> Response {
        let request = self.http.get(format!("{}/v1/sse", self.url));
        request.send().await.expect("an answer")
    }

    /// A poll that does not wait.
    async fn poll(&self) -> StatusCode {
        let request = self.http.get(format!("{}/v1/poll?wait=0", self.url));
        request.send().await.expect("an answer").status()
    }

    async fn publish(&self, events: u32) -> StatusCode {
        let event = json!({ "topic": "door.1", "data": 1 });
        let batch = vec![event; events as usize];
        let request = self.http.post(format!("{}/v1/events", self.url));
        request
            .json(&batch)
            .send()
            .await
            .expect("an answer")
            .status()
    }
}

#[tokio::test]
async fn new_limits_hold_for_new_subscriptions_and_those_that_are_open_stay_and_count() {
    let gateway = Replaceable::start("[limits.address]\nsubscriptions = 9").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(gateway.read().await);
    }

    gateway.replace("[limits.address]\nsubscriptions = 2");
    assert_eq!(gateway.poll().await, 429);
    assert_eq!(gateway.publish(1).await, 200);
    for stream in &mut open {
        let mut heard = String::new();
        while !heard.contains("door.1") {
            let piece = stream.chunk().await.expect("bytes").expect("no end");
            heard.push_str(&String::from_utf8_lossy(&piece));
        }
    }
    gateway.replace("[limits.address]\nsubscriptions = 4");
    assert_eq!(gateway.poll().await, 200);
    gateway.replace("");
    assert_eq!(gateway.poll().await, 200);
}

#[tokio::test]
async fn a_new_rate_holds_for_requests_from_now_on() {
    let slowly = "[limits.address]\npublished_events_per_second = 1\npublished_events_burst = 100";
    let gateway = Replaceable::start(slowly).await;
    assert_eq!(gateway.publish(100).await, 200);
    assert_eq!(gateway.publish(100).await, 429);

    let fast = "[limits.address]\npublished_events_per_second = 1000000\n\
                published_events_burst = 1000000";
    gateway.replace(fast);
    // What was published before is made up for at the new rate.
    let has_passed = async { while gateway.publish(100).await != 200 {} };
    timeout(PATIENCE, has_passed).await.expect("in time");
    gateway.replace(slowly);
    assert_eq!(gateway.publish(101).await, 413);
    gateway.replace("");
    assert_eq!(gateway.publish(1000).await, 200);
}
