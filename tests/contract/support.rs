//! What the modules of this program share: requests that are no subscription, and bytes without a
//! client's help.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::engines::{MEMORY, SQLITE};
use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::read::{Reader, Refused, SubscribeParams, Transport};
pub use crate::common::steps::{events_of, vids_of};

/// The engines that every promise holds for.
pub const ENGINES: [&str; 2] = [MEMORY.name, SQLITE.name];

/// A gateway of this engine and configuration.
pub fn gateway(engine: &'static str, config: &str) -> Gateway {
    Gateway::start_with(Setup {
        engine,
        config: config.to_owned(),
        ..Setup::default()
    })
}

/// A new gateway of each engine.
pub fn gateways(config: &str) -> [(&'static str, Gateway); 2] {
    ENGINES.map(|engine| (engine, gateway(engine, config)))
}

/// An answer of any status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The lines of an NDJSON answer.
    pub fn lines(&self) -> Vec<Value> {
        self.text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a readable header"))
    }

    /// Checks that this is a problem of that status, and gives its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(
            problem["type"]
                .as_str()
                .is_some_and(|t| t.starts_with("urn:vidette:problem:")),
            "{self:?}"
        );
        assert!(
            problem["title"].as_str().is_some_and(|t| !t.is_empty()),
            "{self:?}"
        );
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}

/// `GET`, with any status.
pub async fn get(gateway: &Gateway, path: &str) -> Answer {
    Answer::of(
        reqwest::get(format!("{}{path}", gateway.url()))
            .await
            .expect("an answer"),
    )
    .await
}

/// `POST`, with any status.
pub async fn post(
    gateway: &Gateway,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = reqwest::Client::new().post(format!("{}{path}", gateway.url()));
    let request = request.header("content-type", content_type).body(body);
    Answer::of(request.send().await.expect("an answer")).await
}

/// `POST /v1/events` as JSON.
pub async fn post_events(gateway: &Gateway, body: impl Into<reqwest::Body>) -> Answer {
    post(gateway, "/v1/events", "application/json", body).await
}

/// `POST /v1/events` as NDJSON.
pub async fn post_lines(gateway: &Gateway, body: impl Into<reqwest::Body>) -> Answer {
    post(gateway, "/v1/events", "application/x-ndjson", body).await
}

/// Publishes one event whose data is a number; gives its vid.
pub async fn publish_one(gateway: &Gateway, topic: &str, number: u64) -> u64 {
    let answer = gateway
        .publish(&json!({ "topic": topic, "data": number }))
        .await;
    answer["vid"].as_u64().expect("a vid")
}

/// The epoch of the log.
pub async fn epoch(gateway: &Gateway) -> String {
    gateway.get("/v1/bus").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned()
}

/// The oldest and newest retained vid.
pub async fn bounds(gateway: &Gateway) -> (u64, u64) {
    let bus = gateway.get("/v1/bus").await;
    (
        bus["first"].as_u64().expect("first"),
        bus["last"].as_u64().expect("last"),
    )
}

/// Waits until retention has trimmed everything before this vid.
pub async fn until_first_is(gateway: &Gateway, first: u64) {
    gateway
        .until(&format!("first is {first}"), || async {
            bounds(gateway).await.0 == first
        })
        .await;
}

/// Waits until so many subscriptions are open.
pub async fn until_subscribers_are(gateway: &Gateway, count: u64) {
    let are_open = || async { gateway.get("/v1/bus").await["subscribers"] == count };
    gateway
        .until(&format!("{count} subscriptions are open"), are_open)
        .await;
}

/// An open subscription.
pub async fn open(via: Transport, gateway: &Gateway, params: &SubscribeParams) -> Reader {
    Reader::open(via, gateway, params)
        .await
        .unwrap_or_else(|refused| panic!("{via:?} {params:?}: {refused:?}"))
}

/// How a subscription is refused, at once or as its first step.
pub async fn refusal(via: Transport, gateway: &Gateway, params: &SubscribeParams) -> Refused {
    match Reader::open(via, gateway, params).await {
        Err(refused) => refused,
        Ok(mut reader) => match reader.next().await {
            Err(refused) => refused,
            Ok(step) => panic!("{via:?} took {params:?}: {step:?}"),
        },
    }
}

/// A connection without a client behind it.
pub async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address())
        .await
        .expect("a connection")
}

/// Sends bytes as they are and reads until the gateway ends the connection. A reset counts as an
/// end: bytes that the gateway did not care to read make one.
pub async fn send_raw(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = connect(gateway).await;
    let _ = stream.write_all(bytes).await; // the gateway may have ended it already
    read_to_end(&mut stream, PATIENCE).await
}

/// What comes until the connection ends.
pub async fn read_to_end(stream: &mut TcpStream, at_most: Duration) -> String {
    let mut received = Vec::new();
    let reading = stream.read_to_end(&mut received);
    assert!(
        timeout(at_most, reading).await.is_ok(),
        "the connection was not ended"
    );
    String::from_utf8_lossy(&received).into_owned()
}

/// Does the gateway serve, and has no part of it panicked?
pub async fn assert_serves(gateway: &Gateway, after: &str) {
    assert_eq!(get(gateway, "/healthz").await.status, 200, "after {after}");
    assert_eq!(get(gateway, "/readyz").await.status, 200, "after {after}");
    assert_no_panic(gateway, after);
}

pub fn assert_no_panic(gateway: &Gateway, after: &str) {
    let log = gateway.log();
    assert!(!log.contains("panicked"), "after {after}: {log}");
}
