//! One reader for each transport, behind one type, so that a test can be written once for all.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::gateway::{Gateway, PATIENCE};
use super::{grpc, poll, secure, sse, steps};

/// The transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Poll,
    Sse,
    Grpc,
}

pub const ALL: [Transport; 3] = [Transport::Poll, Transport::Sse, Transport::Grpc];

/// What to ask for, in the texts of the wire.
#[derive(Debug, Clone, Default)]
pub struct SubscribeParams {
    pub topics: Vec<String>,
    pub after: Option<String>,
    pub since: Option<String>,
    pub snapshot: bool,
    pub fail_on_gap: bool,
    pub limit: Option<u32>,
    /// Over HTTP/1.1, have hyper drive the connection.
    pub by_hyper: bool,
}

/// Has hyper drive the HTTP/1.1 connections of all readers, instead of the driver for pages that
/// wait.
pub static ALL_BY_HYPER: AtomicBool = AtomicBool::new(false);

impl SubscribeParams {
    pub fn after(cursor: impl Into<String>) -> Self {
        SubscribeParams {
            after: Some(cursor.into()),
            ..SubscribeParams::default()
        }
    }

    pub fn earliest() -> Self {
        Self::after("earliest")
    }

    #[must_use]
    pub fn topic(mut self, topic: &str) -> Self {
        self.topics.push(topic.to_owned());
        self
    }

    #[must_use]
    pub fn fail_on_gap(mut self) -> Self {
        self.fail_on_gap = true;
        self
    }

    /// A client whose connections are driven as these parameters want it. Over TLS it would speak
    /// HTTP/2 of its own accord, which hyper drives.
    pub fn client(&self, url: &str) -> reqwest::Client {
        if self.is_by_hyper() {
            secure::http_client(url)
        } else {
            secure::http1_client(url)
        }
    }

    fn is_by_hyper(&self) -> bool {
        self.by_hyper || ALL_BY_HYPER.load(Ordering::SeqCst)
    }

    /// A request with these parameters.
    pub fn get(&self, client: &reqwest::Client, url: &str) -> reqwest::RequestBuilder {
        let request = client.get(url).query(&self.query());
        // Only a GET that says nothing of a body is taken by the other driver.
        if self.is_by_hyper() {
            request.header("content-length", "0")
        } else {
            request
        }
    }

    /// As query parameters.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query: Vec<_> = self.topics.iter().map(|t| ("topic", t.clone())).collect();
        query.extend(self.after.clone().map(|a| ("after", a)));
        query.extend(self.since.clone().map(|s| ("since", s)));
        query.extend(self.snapshot.then(|| ("snapshot", "true".to_owned())));
        query.extend(self.fail_on_gap.then(|| ("on_gap", "fail".to_owned())));
        query.extend(self.limit.map(|l| ("limit", l.to_string())));
        query
    }
}

/// An event as a reader saw it, in a form that is the same for all transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub vid: u64,
    pub topic: String,
    pub time_ms: i64,
    pub kind: String,
    pub id: String,
    pub data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The JSON text, byte for byte.
    Json(String),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Deserialize)]
struct EventObject<'a> {
    vid: u64,
    topic: String,
    time: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    id: String,
    content_type: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Distinguishes `"data":null`, which is data, from no data.
fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Seen {
    /// From the JSON object of long-poll and SSE. Plain text and JSON strings look alike there, so
    /// text that was published as plain text has to be known as such: `is_text` says so.
    pub fn from_json(object: &str, is_text: impl Fn(&str) -> bool) -> Self {
        let event: EventObject<'_> =
            serde_json::from_str(object).unwrap_or_else(|e| panic!("{e}: {object}"));
        let is_text = event
            .content_type
            .as_deref()
            .is_some_and(|t| t.starts_with("text/"))
            || is_text(&event.topic);
        let data = match (event.data, event.data_base64) {
            (Some(json), None) if is_text => {
                Data::Text(serde_json::from_str(json.get()).expect("a string"))
            }
            (Some(json), None) => Data::Json(json.get().to_owned()),
            (None, Some(base64)) => Data::Bytes(STANDARD.decode(base64).expect("base64")),
            _ => panic!("neither data nor data_base64, or both: {object}"),
        };
        let time: jiff::Timestamp = event.time.parse().expect("a time");
        Seen {
            vid: event.vid,
            topic: event.topic,
            time_ms: time.as_millisecond(),
            kind: event.r#type,
            id: event.id,
            data,
        }
    }
}

/// Text is published to topics whose first token is `text`, in tests that publish text.
pub fn is_text_topic(topic: &str) -> bool {
    topic.starts_with("text.")
}

/// What a subscription yields, on any transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Hello {
        epoch: String,
        first: u64,
        last: u64,
    },
    Event(Seen, String),
    CaughtUp(String),
    Progress(String),
    Gap(Gap),
    Closing,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gap {
    pub reason: String,
    pub requested: String,
    pub first: u64,
    pub last: u64,
    pub epoch: String,
}

/// How a request was refused, in words that are the same for all transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    BadRequest(String),
    Gap(Gap),
    TooMuch(String),
    Unavailable(String),
    Other(String),
}

/// An open subscription on some transport.
pub enum Reader {
    Poll(poll::PollReader),
    Sse(sse::SseReader),
    Grpc(Box<grpc::GrpcReader>),
}

impl Reader {
    pub async fn open(
        via: Transport,
        gateway: &Gateway,
        params: &SubscribeParams,
    ) -> Result<Self, Refused> {
        Self::open_at(via, &gateway.url(), params).await
    }

    pub async fn open_at(
        via: Transport,
        url: &str,
        params: &SubscribeParams,
    ) -> Result<Self, Refused> {
        Ok(match via {
            Transport::Poll => Reader::Poll(poll::PollReader::open(url, params).await?),
            Transport::Sse => Reader::Sse(sse::SseReader::open(url, params).await?),
            Transport::Grpc => Reader::Grpc(Box::new(grpc::GrpcReader::open(url, params).await?)),
        })
    }

    /// The next step; none when the stream has ended, an error when it broke or was refused in
    /// mid-stream.
    pub async fn next(&mut self) -> Result<Option<Step>, Refused> {
        let next = async {
            match self {
                Reader::Poll(reader) => reader.next().await,
                Reader::Sse(reader) => reader.next().await,
                Reader::Grpc(reader) => reader.next().await,
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a step comes in time")
    }

    /// The next step that is an event.
    pub async fn event(&mut self) -> (Seen, String) {
        loop {
            match self.next().await.expect("no error") {
                Some(Step::Event(seen, cursor)) => return (seen, cursor),
                Some(_) => {}
                None => panic!("the stream ended before the next event"),
            }
        }
    }

    /// So many events.
    pub async fn events(&mut self, count: usize) -> Vec<Seen> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await.0);
        }
        events
    }

    /// All steps up to the first `CaughtUp`, without it, and its cursor.
    pub async fn until_caught_up(&mut self) -> (Vec<Step>, String) {
        let mut steps = Vec::new();
        loop {
            match self.next().await.expect("no error") {
                Some(Step::CaughtUp(cursor)) => return (steps, cursor),
                Some(step) => steps.push(step),
                None => panic!("the stream ended before it caught up"),
            }
        }
    }
}

/// Opens, reads up to the live end, and gives the events.
pub async fn read_all(via: Transport, gateway: &Gateway, params: &SubscribeParams) -> Vec<Seen> {
    let mut reader = Reader::open(via, gateway, params)
        .await
        .expect("a subscription");
    let (read, _) = reader.until_caught_up().await;
    steps::events_of(&read).into_iter().cloned().collect()
}

/// Reads a problem+json answer.
pub async fn refused(response: reqwest::Response) -> Refused {
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap_or_default().to_owned());
    let text = response.text().await.unwrap_or_default();
    assert_eq!(
        content_type.as_deref(),
        Some("application/problem+json"),
        "{status} {text}"
    );
    let problem: serde_json::Value = serde_json::from_str(&text).expect("a problem is JSON");
    assert_eq!(problem["status"], status);
    let detail = problem["detail"].as_str().expect("a detail").to_owned();
    match status {
        400 => Refused::BadRequest(detail),
        410 => Refused::Gap(serde_json::from_value(problem).expect("a gap's fields")),
        413 | 429 | 507 => Refused::TooMuch(detail),
        503 => Refused::Unavailable(detail),
        _ => Refused::Other(format!("{status} {detail}")),
    }
}
