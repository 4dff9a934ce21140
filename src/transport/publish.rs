//! Publishing over HTTP: `POST /v1/events` and `POST /v1/topics/TOPIC` (contract §5).
//!
//! Invariants:
//! - a request is one atomic batch (an NDJSON stream: one a line), answered once it is durable;
//! - data is taken over byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::access::RequestCaller;
use super::content_encoding::decoded;
use super::counted::{read_elements, read_headers};
use super::ndjson;
use super::receive::read_body;
use super::request::{Params, decode};
use super::state::AppState;
use crate::bus::Bus;
use crate::caller::Caller;
use crate::engine::Receipt;
use crate::error::{Error, Result};
use crate::event::{ContentType, DataForm, EventParts, NewEvent};
use crate::limits;
use crate::memory::MemoryKind;

/// An event as a publisher writes it in JSON; the same names as in the object that readers get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventInput<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "read_headers")]
    headers: BTreeMap<String, String>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
}

/// Tells `"data":null`, which is data, from no data.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl EventInput<'_> {
    fn check(self, max_event_bytes: usize) -> Result<NewEvent> {
        let (data, content_type) = self.data()?;
        let parts = EventParts {
            topic: &self.topic,
            kind: self.r#type.as_deref(),
            id: self.id.as_deref(),
            content_type: Some(&content_type),
            headers: self.headers.into_iter().collect(),
            data,
        };
        NewEvent::check(parts, max_event_bytes)
    }

    /// The data's bytes and their content type.
    fn data(&self) -> Result<(Bytes, String)> {
        let content_type = self.content_type.as_deref().filter(|t| !t.is_empty());
        match (self.data, &self.data_base64) {
            (Some(json), None) => data_of_json(json, content_type),
            (None, Some(base64)) => {
                let data = STANDARD
                    .decode(&**base64)
                    .map_err(|e| Error::bad_request(format!("data_base64 is not base64: {e}")))?;
                Ok((
                    data.into(),
                    content_type
                        .unwrap_or("application/octet-stream")
                        .to_owned(),
                ))
            }
            (None, None) => Err(Error::bad_request(
                "the event has no data; give data, or data_base64 for bytes (\"data\":null for none)",
            )),
            (Some(_), Some(_)) => Err(Error::bad_request(
                "the event has both data and data_base64; give one",
            )),
        }
    }
}

fn data_of_json(json: &RawValue, content_type: Option<&str>) -> Result<(Bytes, String)> {
    let content_type = content_type.unwrap_or("application/json");
    match ContentType::trusted(content_type).form() {
        DataForm::Json => Ok((
            Bytes::copy_from_slice(json.get().as_bytes()),
            content_type.to_owned(),
        )),
        DataForm::Text => {
            let text: String = serde_json::from_str(json.get()).map_err(|_| {
                Error::bad_request(format!(
                    "data of the content type {content_type} has to be a JSON string"
                ))
            })?;
            Ok((text.into(), content_type.to_owned()))
        }
        DataForm::Binary => Err(Error::bad_request(format!(
            "data of the content type {content_type} cannot be JSON; give data_base64"
        ))),
    }
}

/// One event: a request's, an element's of a batch, or a line's.
pub(crate) fn parse_event(json: &[u8], max_event_bytes: usize) -> Result<NewEvent> {
    // Serde would take a list of the fields' values, too.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(not_an_event("it is no JSON object"));
    }
    let input: EventInput<'_> = serde_json::from_slice(json).map_err(not_an_event)?;
    input.check(max_event_bytes)
}

fn not_an_event(fault: impl std::fmt::Display) -> Error {
    Error::bad_request(format!(
        "not an event as {{\"topic\":\"door.3\",\"data\":…}}: {fault}"
    ))
}

/// Where one published event stands.
#[derive(Serialize)]
pub(super) struct Published {
    vid: u64,
    cursor: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Published {
    pub(super) fn of(bus: &Bus, receipt: Receipt) -> Self {
        Published {
            vid: receipt.vid,
            cursor: bus.cursor(receipt.vid).to_string(),
            duplicate: receipt.duplicate,
        }
    }
}

#[derive(Serialize)]
struct PublishedBatch {
    first_vid: u64,
    last_vid: u64,
    cursor: String,
    events: Vec<Published>,
}

pub(super) async fn events(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response> {
    Params::parse(query.as_deref(), &state.config.requests.ignore_parameters)?
        .finish("none: an event's type and id are fields of its object")?;
    let body = decoded(&headers, body)?;
    if is_ndjson(&headers) {
        return Ok(ndjson::publish(state.bus, &caller, body));
    }
    let body = read_body(state.bus.memory(), body, limits::MAX_BODY_BYTES).await?;
    let max_event_bytes = state.bus.options().max_event_bytes;
    if body.trim_ascii_start().first() == Some(&b'[') {
        return publish_batch(&state.bus, &caller, body, max_event_bytes).await;
    }
    let event = parse_event(&body, max_event_bytes)?;
    drop(body);
    let receipts = state.bus.publish(&caller, vec![event]).await?;
    Ok(Json(Published::of(&state.bus, receipts[0])).into_response())
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
    ]
    .iter()
    .any(|t| essence.eq_ignore_ascii_case(t))
}

/// Publishes a JSON array as one atomic batch.
pub(crate) async fn publish_batch(
    bus: &Bus,
    caller: &Caller,
    body: impl AsRef<[u8]>,
    max_event_bytes: usize,
) -> Result<Response> {
    // What the events copy of the body, until the queue pays for it.
    let copied_bytes = body.as_ref().len();
    let decoded = bus.memory().reserve(MemoryKind::Decoded, copied_bytes)?;
    let batch = parse_batch(body.as_ref(), max_event_bytes)?;
    drop(body); // not kept while the batch waits for its turn
    let publishing = bus.enqueue(caller, batch)?;
    drop(decoded);
    Ok(published_batch(bus, publishing.done().await?))
}

fn parse_batch(body: &[u8], max_event_bytes: usize) -> Result<Vec<NewEvent>> {
    let read = |index, element: &RawValue| {
        let event = parse_event(element.get().as_bytes(), max_event_bytes);
        event.map_err(|e| e.at(&format!("event {} of the batch", index + 1)))
    };
    let not_json = |fault| not_an_event(fault).at("the batch");
    read_elements(body, limits::MAX_BATCH_EVENTS, read, not_json)
}

fn published_batch(bus: &Bus, receipts: Vec<Receipt>) -> Response {
    let (first_vid, last_vid) = Receipt::range(&receipts);
    let answer = PublishedBatch {
        first_vid,
        last_vid,
        cursor: bus.cursor(last_vid).to_string(),
        events: receipts
            .into_iter()
            .map(|receipt| Published::of(bus, receipt))
            .collect(),
    };
    let json = serde_json::to_vec(&answer).expect("texts and numbers are JSON");
    let paid = bus.memory().own(MemoryKind::Answer, json);
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, Body::from(paid)).into_response()
}

/// The address of many events, or of one that says its topic.
pub(super) const EVENTS: &str = "/v1/events";
/// What a topic's address begins with.
pub(super) const TOPICS: &str = "/v1/topics/";

pub(super) async fn topic(
    State(state): State<AppState>,
    caller: RequestCaller,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response> {
    let mut params = Params::parse(query.as_deref(), &state.config.requests.ignore_parameters)?;
    let (kind, id) = (params.take("type")?, params.take("id")?);
    params.finish("type, id")?;
    let topic = decode(uri.path().strip_prefix(TOPICS).unwrap_or_default())?;
    let max_event_bytes = state.bus.options().max_event_bytes;
    let body = decoded(&headers, body)?;
    let data = read_body(state.bus.memory(), body, max_event_bytes).await?;
    let parts = EventParts {
        topic: &topic,
        kind: kind.as_deref(),
        id: id.as_deref(),
        content_type: given_content_type(&headers)?,
        headers: Vec::new(),
        // Copied, so that a small event does not keep the connection's whole read buffer in memory.
        data: Bytes::copy_from_slice(&data),
    };
    let event = NewEvent::check(parts, max_event_bytes)?;
    drop(data);
    let receipts = state.bus.publish(&caller, vec![event]).await?;
    Ok(Json(Published::of(&state.bus, receipts[0])).into_response())
}

/// The content type, where it says something: `curl -d` calls everything a form.
fn given_content_type(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Error::bad_request("the Content-Type has other than ASCII characters"))?;
    Ok(Some(text).filter(|t| !t.starts_with("application/x-www-form-urlencoded")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;
    use serde_json::json;

    use super::*;
    use crate::event::Event;
    use crate::transport::event_json;

    /// What readers get, as a publisher would send it again. The content type is added where the
    /// form stands for it.
    fn sent_again(event: &NewEvent) -> NewEvent {
        let event = Event::new(7, 0, event.clone());
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(event_json(&event)).expect("an object");
        let given = (fields.remove("vid"), fields.remove("time"));
        assert!(matches!(given, (Some(_), Some(_))), "{given:?}");
        let content_type =
            serde_json::value::to_raw_value(event.sent.content_type.as_str()).expect("a text");
        fields.insert("content_type".into(), content_type);
        parse_event(&serde_json::to_vec(&fields).expect("an object"), 10_000).expect("an event")
    }

    /// JSON as a person may write it: with white space, escapes, and numbers beyond what a machine
    /// counts with.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,30})?",
            "\"(\\PC|\\\\u[dD]8[0-9]{2}\\\\u[dD][c-f][0-9]{2})*\""
        ];
        // A value has no half of a surrogate pair; as raw text it might.
        let leaf = leaf.prop_filter("JSON", |text| {
            serde_json::from_str::<serde_json::Value>(text).is_ok()
        });
        leaf.prop_recursive(3, 8, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[ {}\r\n]", items.join(" ,"))),
                inner.prop_map(|value| format!("{{\t\"a\\u0000\": {value}\n}}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        #[test]
        fn json_data_is_kept_byte_for_byte(data in json_text(), id in "\\PC{0,9}", header in "\\PC{1,9}") {
            let headers = json!({ header: "x" });
            let body = format!("{{\"topic\":\"a\",\"id\":{},\"headers\":{headers},\"data\":{data} }}", json!(id));
            let event = parse_event(body.as_bytes(), 10_000).expect("an event");
            prop_assert_eq!(&event.data[..], data.as_bytes());
            prop_assert_eq!(sent_again(&event), event);
        }

        #[test]
        fn text_and_bytes_are_kept_too(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let text_body = json!({ "topic": "a", "content_type": "text/plain", "data": text });
            let bytes_body = json!({ "topic": "a", "data_base64": STANDARD.encode(&bytes) });
            for (body, data) in [(text_body, text.as_bytes()), (bytes_body, &bytes)] {
                let event = parse_event(body.to_string().as_bytes(), 10_000).expect("an event");
                prop_assert_eq!(&event.data[..], data);
                prop_assert_eq!(sent_again(&event), event);
            }
        }
    }
}
