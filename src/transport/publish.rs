//! Publishing over HTTP: `POST /v1/events` and `POST /v1/topics/TOPIC` (contract §5).
//!
//! Invariants:
//! - a request is one atomic batch (an NDJSON stream: one a line), answered once it is durable;
//! - data is taken over byte for byte.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;

use super::access::RequestCaller;
use super::cloud_events::{CLOUD_EVENTS, CloudEventsRequest, ContentMode};
use super::content_encoding::decoded;
use super::event_input::{parse_batch, parse_event};
use super::headers::text;
use super::params::{Params, decode};
use super::receive::read_body;
use super::state::AppState;
use super::trace_parent::{PublishedBy, TracedRequest, TracedStream};
use super::{ndjson, receipts};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::error::Result;
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::memory::MemoryKind;

/// The address of many events, or of one whose object says its topic.
pub(super) const EVENTS: &str = "/v1/events";
/// What a topic's address begins with.
pub(super) const TOPICS: &str = "/v1/topics/";

/// Are events posted to this address?
pub(super) fn takes_events(path: &str) -> bool {
    path == EVENTS || path.starts_with(TOPICS) || path == CLOUD_EVENTS
}

const NO_PARAMETERS: &str = "none: an event's type and id are fields of its object";
const NO_PARAMETERS_OF_CLOUD_EVENTS: &str = "none with a CloudEvent, which has its own type and id";

const FORM: &str = "application/x-www-form-urlencoded";
const NDJSON_TYPES: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// A request that publishes one batch.
pub(super) struct PublishRequest<'r> {
    pub(super) state: &'r AppState,
    pub(super) caller: &'r Caller,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: Body,
    pub(super) trace: &'r mut TracedRequest,
}

/// Has a request published by `publish`, and traced from here to its answer.
pub(super) async fn traced(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    publish: impl AsyncFnOnce(PublishRequest<'_>) -> Result<Response>,
) -> Result<Response> {
    let mut trace = TracedRequest::begin(&state.traces, headers, PublishedBy::Http);
    let request = PublishRequest {
        state,
        caller,
        headers,
        body,
        trace: &mut trace,
    };
    let answer = publish(request).await;
    trace.end(answer)
}

/// `POST /v1/events`.
pub(super) async fn events(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response> {
    let query = query.as_deref();
    // A stream of lines is read and answered while it comes.
    if is_ndjson(&headers) && matches!(ContentMode::of(&headers), Ok(None)) {
        Params::of(&state, query)?.finish(NO_PARAMETERS)?;
        let body = decoded(&headers, body)?;
        let traces = TracedStream::new(&state.traces, &headers, PublishedBy::Ndjson);
        return Ok(ndjson::publish(state.bus, &caller, body, traces));
    }
    traced(&state, &caller, &headers, body, async |request| {
        request.publish_events(query).await
    })
    .await
}

impl PublishRequest<'_> {
    async fn publish_events(self, query: Option<&str>) -> Result<Response> {
        let PublishRequest {
            state,
            caller,
            headers,
            ..
        } = self;
        if let Some(mode) = ContentMode::of(headers)? {
            let events = CloudEventsRequest::new(self, mode);
            return events.publish_by_template(query).await;
        }
        // What refuses the request by its head comes before its body is read.
        Params::of(state, query)?.finish(NO_PARAMETERS)?;
        let body = decoded(headers, self.body)?;

        // An array is a batch, and anything else has to be an event's object.
        let body = read_body(state.bus.memory(), body, limits::MAX_BODY_BYTES).await?;
        let max_event_bytes = state.bus.options().max_event_bytes;
        if body.trim_ascii_start().first() == Some(&b'[') {
            return publish_batch(&state.bus, caller, body, self.trace).await;
        }
        let batch = self.trace.batch(vec![parse_event(&body, max_event_bytes)?]);
        // Not kept while the event waits for its commit.
        drop(body);
        let receipts = state.bus.publish(caller, batch).await?;
        self.trace.published(&receipts);
        Ok(receipts::one(&state.bus, &receipts))
    }

    async fn publish_to(self, topic: &str, query: Option<&str>) -> Result<Response> {
        let PublishRequest {
            state,
            caller,
            headers,
            ..
        } = self;
        if let Some(mode) = ContentMode::of(headers)? {
            Params::of(state, query)?.finish(NO_PARAMETERS_OF_CLOUD_EVENTS)?;
            return CloudEventsRequest::new(self, mode).publish_to(topic).await;
        }
        let (kind, id) = take_type_and_id(Params::of(state, query)?)?;

        // The body is the data, whatever it is.
        let max_event_bytes = state.bus.options().max_event_bytes;
        let body = decoded(headers, self.body)?;
        let data = read_body(state.bus.memory(), body, max_event_bytes).await?;
        let parts = EventParts {
            topic,
            kind: kind.as_deref(),
            id: id.as_deref(),
            content_type: given_content_type(headers)?,
            headers: Vec::new(),
            // Copied, so that a small event does not keep the connection's whole read buffer in
            // memory.
            data: Bytes::copy_from_slice(&data),
        };
        let batch = vec![NewEvent::check(parts, max_event_bytes)?];
        let batch = self.trace.batch(batch);
        // Not kept while the event waits for its commit.
        drop(data);
        let receipts = state.bus.publish(caller, batch).await?;
        self.trace.published(&receipts);
        Ok(receipts::one(&state.bus, &receipts))
    }
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence);
    is_any_of(&NDJSON_TYPES, essence.trim())
}

fn is_any_of(types: &[&str], essence: &str) -> bool {
    types
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// Publishes a JSON array as one atomic batch.
pub(crate) async fn publish_batch(
    bus: &Bus,
    caller: &Caller,
    body: impl AsRef<[u8]>,
    trace: &mut TracedRequest,
) -> Result<Response> {
    // What the events copy of the body, until the queue pays for it.
    let copied_bytes = body.as_ref().len();
    let decoded = bus.memory().reserve(MemoryKind::Decoded, copied_bytes)?;
    let batch = parse_batch(body.as_ref(), bus.options().max_event_bytes)?;
    let batch = trace.batch(batch);
    // Not kept while the batch waits for its commit.
    drop(body);
    let publishing = bus.enqueue(caller, batch)?;
    drop(decoded);
    let receipts = publishing.done().await?;
    trace.published(&receipts);
    Ok(receipts::batch(bus, &receipts))
}

/// `POST /v1/topics/TOPIC`.
pub(super) async fn topic(
    State(state): State<AppState>,
    caller: RequestCaller,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response> {
    let topic = decode(uri.path().strip_prefix(TOPICS).unwrap_or_default())?;
    traced(&state, &caller, &headers, body, async |request| {
        request.publish_to(&topic, query.as_deref()).await
    })
    .await
}

/// A parameter that may be given, as it came.
type Given<'q> = Option<Cow<'q, str>>;

fn take_type_and_id(mut params: Params<'_>) -> Result<(Given<'_>, Given<'_>)> {
    let taken = (params.take("type")?, params.take("id")?);
    params.finish("type, id")?;
    Ok(taken)
}

/// The content type, where it says something.
pub(super) fn given_content_type(headers: &HeaderMap) -> Result<Option<&str>> {
    let content_type = text(headers, &header::CONTENT_TYPE)?;
    // `curl -d` calls everything a form.
    Ok(content_type.filter(|text| !text.starts_with(FORM)))
}
