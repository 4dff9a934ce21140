//! Limits that are replaced while the gateway serves.

use nix::sys::signal::Signal;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE, Setup};

/// A gateway whose configuration a test replaces, and a client.
struct Replaceable {
    gateway: Gateway,
    http: Client,
}

const IN_FORCE: &str = "the configuration is in force";

impl Replaceable {
    fn start(limits: &str) -> Self {
        let setup = Setup {
            engine: "memory",
            config: limits.to_owned(),
            ..Setup::default()
        };
        Replaceable {
            gateway: Gateway::start_with(setup),
            http: Client::new(),
        }
    }

    async fn replace(&mut self, limits: &str) {
        let told = |gateway: &Gateway| gateway.log().matches(IN_FORCE).count();
        let before = told(&self.gateway);
        self.gateway.rewrite_config(limits);
        self.gateway.signal(Signal::SIGHUP);
        let is_told = async || told(&self.gateway) > before;
        self.gateway.until(IN_FORCE, is_told).await;
        assert!(!self.gateway.log().contains("restart"));
    }

    async fn read(&self) -> Response {
        let request = self.http.get(format!("{}/v1/sse", self.gateway.url()));
        request.send().await.expect("an answer")
    }

    /// A poll that does not wait.
    async fn poll(&self) -> StatusCode {
        let request = self
            .http
            .get(format!("{}/v1/poll?wait=0", self.gateway.url()));
        request.send().await.expect("an answer").status()
    }

    async fn publish(&self, events: u32) -> StatusCode {
        let event = json!({ "topic": "door.1", "data": 1 });
        let batch = vec![event; events as usize];
        let request = self.http.post(format!("{}/v1/events", self.gateway.url()));
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
    let mut gateway = Replaceable::start("[limits.address]\nsubscriptions = 9");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(gateway.read().await);
    }

    gateway.replace("[limits.address]\nsubscriptions = 2").await;
    assert_eq!(gateway.poll().await, 429);
    assert_eq!(gateway.publish(1).await, 200);
    for stream in &mut open {
        let mut heard = String::new();
        while !heard.contains("door.1") {
            let piece = stream.chunk().await.expect("bytes").expect("no end");
            heard.push_str(&String::from_utf8_lossy(&piece));
        }
    }
    gateway.replace("[limits.address]\nsubscriptions = 4").await;
    assert_eq!(gateway.poll().await, 200);
    gateway.replace("").await;
    assert_eq!(gateway.poll().await, 200);
}

#[tokio::test]
async fn a_new_rate_holds_for_requests_from_now_on() {
    let slowly = "[limits.address]\npublished_events_per_second = 1\npublished_events_burst = 100";
    let mut gateway = Replaceable::start(slowly);
    assert_eq!(gateway.publish(100).await, 200);
    assert_eq!(gateway.publish(100).await, 429);

    let fast = "[limits.address]\npublished_events_per_second = 1000000\n\
                published_events_burst = 1000000";
    gateway.replace(fast).await;
    // What was published before is made up for at the new rate.
    let has_passed = async { while gateway.publish(100).await != 200 {} };
    timeout(PATIENCE, has_passed).await.expect("in time");
    gateway.replace(slowly).await;
    assert_eq!(gateway.publish(101).await, 413);
    gateway.replace("").await;
    assert_eq!(gateway.publish(1000).await, 200);
}
