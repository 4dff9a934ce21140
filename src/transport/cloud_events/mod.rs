//! CloudEvents in and out (contract §11; CloudEvents 1.0.2).
//!
//! ```text
//! curl -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /doors' -H 'ce-type: door.opened' \
//!   --json '{"n":1}' http://127.0.0.1:8080/v1/cloudevents
//! ```
//!
//! Invariants:
//! - a request is one atomic batch, as of any other publisher, with the same rights and limits;
//! - what came as a CloudEvent leaves as the same one ([`render`]), and any other reader gets it as
//!   an event like all others.

mod attributes;
mod binary;
mod event;
pub(super) mod render;
mod structured;
#[cfg(test)]
mod tests;
pub(super) mod webhook;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::access::RequestCaller;
use super::content_encoding::decoded;
use super::counted::read_elements;
use super::params::Params;
use super::publish::{PublishRequest, traced};
use super::receive::read_body;
use super::state::AppState;
use crate::bus::{Bus, Receipt};
use crate::config::TopicTemplate;
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::memory::MemoryKind;
use event::{CloudEvent, TopicRule};

/// The address that takes nothing but CloudEvents.
pub(super) const CLOUD_EVENTS: &str = "/v1/cloudevents";
/// The parameters of the addresses without a topic.
pub(super) const TEMPLATE_PARAMETER: &str = "topic";

const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// What the content type of any format begins with.
const ANY_FORMAT: &str = "application/cloudevents";
const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// Headers of the answer, which has no body.
const VID: HeaderName = HeaderName::from_static("vidette-vid");
const CURSOR: HeaderName = HeaderName::from_static("vidette-cursor");
const DUPLICATE: HeaderName = HeaderName::from_static("vidette-duplicate");

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentMode {
    /// One JSON object.
    Structured,
    /// A JSON array.
    Batch,
    /// Attributes are headers, and the body is the data.
    Binary,
}

impl ContentMode {
    /// The mode of a request; none where it has no CloudEvents.
    ///
    /// # Errors
    /// An unsupported media type for a format of events that is not taken.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
        // Every event that is published passes here, and few are CloudEvents.
        let is_any_format = content_type
            .get(..ANY_FORMAT.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(ANY_FORMAT.as_bytes()));
        if is_any_format {
            return Self::of_format(content_type).map(Some);
        }
        let is_binary = headers.contains_key(SPEC_VERSION);
        Ok(is_binary.then_some(ContentMode::Binary))
    }

    fn of_format(content_type: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(content_type).to_ascii_lowercase();
        match text.split(';').next().unwrap_or_default().trim() {
            EVENT => Ok(ContentMode::Structured),
            BATCH => Ok(ContentMode::Batch),
            other => Err(unsupported_format(other)),
        }
    }
}

/// `POST /v1/cloudevents`.
pub(super) async fn cloud_events(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response> {
    // What is of no other mode can only lack its headers, which is said when they are read.
    let mode = ContentMode::of(&headers)?.unwrap_or(ContentMode::Binary);
    traced(&state, &caller, &headers, body, async |request| {
        let events = CloudEventsRequest::new(request, mode);
        events.publish_by_template(query.as_deref()).await
    })
    .await
}

/// A request that publishes CloudEvents.
pub(super) struct CloudEventsRequest<'r> {
    request: PublishRequest<'r>,
    mode: ContentMode,
}

impl<'r> CloudEventsRequest<'r> {
    pub(super) fn new(request: PublishRequest<'r>, mode: ContentMode) -> Self {
        CloudEventsRequest { request, mode }
    }

    /// Publishes to the topic of each event's attributes.
    pub(super) async fn publish_by_template(self, query: Option<&str>) -> Result<Response> {
        let state = self.request.state;
        let mut params = Params::of(state, query)?;
        let given = params.take(TEMPLATE_PARAMETER)?;
        params.finish(TEMPLATE_PARAMETER)?;
        let given = given.map(|text| TopicTemplate::parse(&text).map_err(bad_template));
        let given = given.transpose()?;
        let configured = &state.config.cloud_events.topic;
        let template = given.as_ref().unwrap_or(configured);
        self.publish(&TopicRule::Template(template)).await
    }

    /// Publishes to this topic.
    pub(super) async fn publish_to(self, topic: &str) -> Result<Response> {
        self.publish(&TopicRule::Fixed(topic)).await
    }

    async fn publish(self, topic: &TopicRule<'_>) -> Result<Response> {
        let PublishRequest {
            state,
            caller,
            headers,
            body,
            trace,
        } = self.request;
        let bus = &state.bus;
        let max_event_bytes = bus.options().max_event_bytes;
        let max_bytes = match self.mode {
            ContentMode::Binary => max_event_bytes,
            ContentMode::Structured | ContentMode::Batch => limits::MAX_BODY_BYTES,
        };
        let body = decoded(headers, body)?;
        let body = read_body(bus.memory(), body, max_bytes).await?;

        let check = |event: CloudEvent<'_>| event.check(topic, max_event_bytes);
        // What a batch copies of the body, until the queue pays for it.
        let is_batch = self.mode == ContentMode::Batch;
        let decoded = is_batch.then(|| bus.memory().reserve(MemoryKind::Decoded, body.len()));
        let decoded = decoded.transpose()?;
        let events = match self.mode {
            ContentMode::Batch => parse_batch(&body, check)?,
            ContentMode::Structured => one(structured::parse(&body).and_then(check))?,
            ContentMode::Binary => one(binary::parse(headers, &body).and_then(check))?,
        };
        // Not kept while the events wait for their commit.
        drop(body);
        let publishing = bus.enqueue(caller, trace.batch(events))?;
        drop(decoded);
        let receipts = publishing.done().await?;
        trace.published(&receipts);
        Ok(answer(bus, &receipts))
    }
}

fn one(event: Result<NewEvent>) -> Result<Vec<NewEvent>> {
    event
        .map(|event| vec![event])
        .map_err(|error| numbered(error, 0))
}

fn parse_batch(
    body: &[u8],
    check: impl Fn(CloudEvent<'_>) -> Result<NewEvent>,
) -> Result<Vec<NewEvent>> {
    let read = |index, element: &serde_json::value::RawValue| {
        let event = structured::parse(element.get().as_bytes()).and_then(&check);
        event.map_err(|error| numbered(error, index))
    };
    // An error of the array itself has no event to name.
    let not_json = |error| Error::bad_request(format!("the batch is no array in JSON: {error}"));
    read_elements(body, limits::MAX_BATCH_EVENTS, read, not_json)
}

/// An event's error, with its number from 1.
fn numbered(error: Error, index: usize) -> Error {
    error.at(&format!("event {}", index + 1))
}

/// Where the last event stands, in headers: a sender expects no body.
fn answer(bus: &Bus, receipts: &[Receipt]) -> Response {
    let (_, last_vid) = Receipt::range(receipts);
    let cursor = bus.cursor(last_vid).to_string();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(VID, last_vid.into());
    if let Ok(cursor) = HeaderValue::try_from(cursor) {
        headers.insert(CURSOR, cursor);
    }
    if receipts.iter().all(|receipt| receipt.duplicate) {
        headers.insert(DUPLICATE, HeaderValue::from_static("true"));
    }
    answer
}

fn unsupported_format(content_type: &str) -> Error {
    let content_type = crate::cursor::shorten(content_type);
    let detail = format!(
        "CloudEvents are not taken as {content_type:?}; send {EVENT}, {BATCH}, or headers ce-…"
    );
    Error::new(ErrorKind::UnsupportedMediaType, detail)
}

fn bad_template(why: String) -> Error {
    Error::bad_request(why).at("the parameter topic")
}
