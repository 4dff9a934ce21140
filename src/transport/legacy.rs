//! `GET /backend.php?maxvid=N`: one event as a flat JSON object, for comet pages (contract §6).
//!
//! Invariants:
//! - the answer is one event or nothing, and a page that leaves has moved no cursor;
//! - what the publisher wrote keeps its digits; only `vid` is replaced.

use std::fmt;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::access::RequestCaller;
use super::json::push_data;
use super::long_poll::{wait_for_events, wait_of};
use super::peer::Waiter;
use super::problem::no_store;
use super::request::{Params, parse_after};
use super::state::AppState;
use crate::bus::{OnGap, SubscribeRequest, Subscription};
use crate::config::LegacyConfig;
use crate::cursor::{Gap, Start};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{DataForm, Event};
use crate::memory::{MemoryBudget, MemoryKind};

/// A JSONP callback's length in bytes.
const MAX_CALLBACK_BYTES: usize = 64;

/// Tells a gap to a page that looks for it; the flat object has no place for one.
const GAP_HEADER: HeaderName = HeaderName::from_static("vidette-gap");

pub(super) async fn backend(
    State(state): State<AppState>,
    method: Method,
    waiter: Waiter,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let until = Instant::now() + wait_of(&method, state.config.legacy.wait);
    // Parameters that nobody knows are let pass here: pages of this age add their own.
    let mut params = Params::parse(query.as_deref(), &state.config.requests.ignore_parameters)?;
    let start = params
        .take("maxvid")?
        .map_or(Ok(Start::Earliest), |text| parse_maxvid(&text))?;
    let callback = params
        .take("callback")?
        .map(|name| check_callback(name, state.config.legacy.jsonp))
        .transpose()?;
    drop((params, query)); // not kept while the page waits

    let filter = state.config.legacy.filter.clone();
    let request = SubscribeRequest {
        filter,
        start,
        on_gap: OnGap::Continue,
        limit: Some(1),
    };
    let mut subscription = Subscription::open(&state.bus, &caller, request).await?;
    let mut polled = wait_for_events(&mut subscription, until - Instant::now(), &waiter).await?;
    let gap = polled.gap.take();
    if gap.is_some() && polled.events().next().is_none() {
        // A gap alone is nothing this page could show; its wait goes on.
        polled = wait_for_events(&mut subscription, until - Instant::now(), &waiter).await?;
    }
    let mut answer = match polled.events().next() {
        Some(event) => respond(flat_json(event), callback.as_deref(), state.bus.memory()),
        None => respond_empty(&state.config.legacy, callback.is_some()),
    };
    tell_gap(answer.headers_mut(), gap.as_ref());
    Ok(answer)
}

fn parse_maxvid(text: &str) -> Result<Start> {
    match parse_after(text).map_err(|e| e.at("maxvid"))? {
        Start::Latest => Err(Error::bad_request("maxvid is not a vid")),
        start => Ok(start),
    }
}

pub(crate) fn check_callback(name: String, is_allowed: bool) -> Result<String> {
    if !is_allowed {
        return Err(Error::new(
            ErrorKind::Forbidden,
            "callback= is not allowed here; legacy.jsonp = true in the configuration allows it",
        ));
    }
    let fits = name.len() <= MAX_CALLBACK_BYTES && !name.starts_with(|c: char| c.is_ascii_digit());
    if fits
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'))
    {
        return Ok(name);
    }
    Err(Error::bad_request(
        "callback is not the name of a JavaScript function",
    ))
}

const JSON: &str = "application/json; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

fn respond(json: Vec<u8>, callback: Option<&str>, memory: &MemoryBudget) -> Response {
    let paid = |body| memory.own(MemoryKind::Answer, body);
    match callback {
        // The comment keeps the answer from being taken for another file format.
        Some(name) => (
            headers(SCRIPT),
            paid([b"/**/", name.as_bytes(), b"(", &json, b");"].concat()),
        )
            .into_response(),
        None => (headers(JSON), paid(json)).into_response(),
    }
}

/// No event, no body: a page's script element is loaded and calls nothing.
fn respond_empty(config: &LegacyConfig, is_script: bool) -> Response {
    let status = StatusCode::from_u16(config.empty_status).expect("the configuration was checked");
    let content_type = if is_script { SCRIPT } else { JSON };
    (status, headers(content_type), Body::empty()).into_response()
}

fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = no_store(content_type);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
}

fn tell_gap(headers: &mut HeaderMap, gap: Option<&Gap>) {
    let text = gap.and_then(|gap| serde_json::to_string(gap).ok());
    if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(GAP_HEADER, value);
    }
}

/// The fields of the event's data with the bus's vid, or `{"vid":…,"data":…}`.
pub(crate) fn flat_json(event: &Event) -> Vec<u8> {
    let mut out = format!("{{\"vid\":{}", event.vid).into_bytes();
    if let Some(Fields(fields)) = object_fields(event) {
        for (name, value) in fields.iter().filter(|(name, _)| !is_vid(name)) {
            out.push(b',');
            out.extend_from_slice(name.get().as_bytes());
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
    } else {
        out.push(b',');
        push_data(&mut out, event);
    }
    out.push(b'}');
    escape_line_separators(out)
}

/// Names are compared without their escapes; one that is no text in Unicode (`"\ud800"`) is a name
/// all the same.
fn is_vid(name: &RawValue) -> bool {
    serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == "vid")
}

fn object_fields(event: &Event) -> Option<Fields<'_>> {
    (event.sent.content_type.form() == DataForm::Json)
        .then(|| serde_json::from_slice(&event.sent.data).ok())
        .flatten()
}

/// An object's fields in their order, as they were written.
struct Fields<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<Fields<'de>, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// U+2028 and U+2029 are line ends to the JavaScript of that age, and its pages `eval` the answer.
/// In valid JSON they stand only inside strings, where an escape means the same.
fn escape_line_separators(json: Vec<u8>) -> Vec<u8> {
    if !json.windows(2).any(|pair| pair == [0xe2, 0x80]) {
        return json;
    }
    let text = String::from_utf8(json).expect("JSON made of UTF-8");
    text.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::bus::{Bus, BusOptions};
    use crate::caller::Caller;
    use crate::config::{Config, Overrides};
    use crate::engine::{MemoryEngine, Retention};
    use crate::event::{ContentType, EventParts, NewEvent};
    use crate::metrics::OpenConnections;
    use crate::transport::state::TransportConfig;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Of an event as the log has it: an old log may have JSON that is not taken any more.
    fn flat(content_type: &str, data: &'static str) -> String {
        let parts = EventParts {
            topic: "door.3",
            ..EventParts::default()
        };
        let sent = NewEvent {
            content_type: ContentType::trusted(content_type),
            data: data.into(),
            ..NewEvent::check(parts, 1000).expect("an event")
        };
        let event = Event::new(7, 0, sent);
        String::from_utf8(flat_json(&event)).expect("UTF-8")
    }

    #[test]
    fn the_fields_of_an_object_are_kept_and_its_vid_replaced() {
        let data = r#"{"vid":"old","doorno":3,"card":12345678901234567890,"name":"张"}"#;
        assert_eq!(
            flat("application/json", data),
            r#"{"vid":7,"doorno":3,"card":12345678901234567890,"name":"张"}"#
        );
    }

    #[test]
    fn names_are_kept_as_they_were_written() {
        assert_eq!(
            flat("application/json", r#"{"\ud800":1,"\u0076id":2,"a\/b":3}"#),
            r#"{"vid":7,"\ud800":1,"a\/b":3}"#
        );
    }

    #[test]
    fn anything_else_is_put_under_data() {
        assert_eq!(
            flat("application/json", "[1,2]"),
            r#"{"vid":7,"data":[1,2]}"#
        );
        assert_eq!(flat("text/plain", "hello"), r#"{"vid":7,"data":"hello"}"#);
        assert_eq!(flat("application/json", "{}"), r#"{"vid":7}"#);
    }

    #[test]
    fn line_separators_are_escaped_for_eval() {
        assert_eq!(
            flat("text/plain", "a\u{2028}b\u{2029}"),
            r#"{"vid":7,"data":"a\u2028b\u2029"}"#
        );
    }

    #[test]
    fn a_callback_has_to_be_allowed_and_a_name() {
        assert!(check_callback("show".into(), false).is_err());
        assert!(check_callback("Page.show_1".into(), true).is_ok());
        for name in ["alert(1)//", "a b", "1a", "<script>", &"x".repeat(65)] {
            assert!(check_callback(name.into(), true).is_err(), "{name}");
        }
    }

    /// A cursor that is ahead is waited for first, and then the page is told of a gap.
    #[tokio::test(start_paused = true)]
    async fn the_whole_answer_stays_within_the_wait() {
        let retention = Retention {
            max_age: HOUR,
            max_events: 100,
            max_bytes: u64::MAX,
            dedupe_window: HOUR,
        };
        let options = BusOptions {
            heartbeat: HOUR,
            max_subscribers: 1,
            max_event_bytes: 100,
            retention,
        };
        let bus = Bus::start(Arc::new(MemoryEngine::new(HOUR)), options);
        let parts = EventParts {
            topic: "door.1",
            ..EventParts::default()
        };
        let event = NewEvent::check(parts, 100).expect("an event");
        bus.publish(&Caller::anonymous(), vec![event])
            .await
            .expect("a receipt");
        let text = "[legacy]\ntopic = \"lamp.1\"\nwait = \"40s\"";
        let config = Config::parse(text, Overrides::default()).expect("a configuration");
        let state = AppState {
            bus,
            config: Arc::new(TransportConfig::of(&config)),
            sources: Arc::new([]),
            connections: OpenConnections::default(),
        };
        let begun = Instant::now();
        let query = RawQuery(Some("maxvid=9".to_owned()));
        let waiter = Waiter::of(&axum::http::Extensions::new());
        let answer = backend(
            State(state),
            Method::GET,
            waiter,
            RequestCaller::anonymous(),
            query,
        )
        .await
        .expect("an answer");
        assert!(answer.headers().contains_key(GAP_HEADER));
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
