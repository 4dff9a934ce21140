//! `GET /backend.php?maxvid=N`: one event as a flat JSON object, for comet pages (contract §6).
//!
//! Invariants:
//! - the answer is one event or nothing, and a page that leaves has moved no cursor;
//! - what the publisher wrote keeps its digits; only `vid` is replaced.

use std::fmt;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::push_data;
use super::long_poll::{wait_for_events, wait_of};
use super::peer::Waiter;
use super::problem::no_store;
use super::request::{Params, parse_after};
use super::state::AppState;
use crate::bus::{OnGap, SubscribeRequest, Subscription};
use crate::cursor::{Gap, Start};
use crate::error::{Error, Kind, Result};
use crate::event::{DataForm, Event};
use crate::memory::{MemoryBudget, MemoryKind};

/// How long a page waits for an event.
const WAIT: Duration = Duration::from_secs(60);
/// A JSONP callback's length in bytes.
const MAX_CALLBACK_BYTES: usize = 64;

/// Tells a gap to a page that looks for it; the flat object has no place for one.
const GAP_HEADER: HeaderName = HeaderName::from_static("vidette-gap");

pub(super) async fn backend(
    State(state): State<AppState>,
    method: Method,
    waiter: Waiter,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    // Parameters that nobody knows are let pass here: pages of this age add their own.
    let mut params = Params::parse(query.as_deref())?;
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
    let mut subscription = Subscription::open(&state.bus, request).await?;
    let wait = wait_of(&method, WAIT);
    let mut polled = wait_for_events(&mut subscription, wait, &waiter).await?;
    let gap = polled.gap.take();
    if gap.is_some() && polled.events().next().is_none() {
        // A gap alone is nothing this page could show; its wait goes on.
        polled = wait_for_events(&mut subscription, wait, &waiter).await?;
    }
    let body = polled
        .events()
        .next()
        .map(|event| flat_json(event))
        .unwrap_or_default();
    let memory = state.bus.memory();
    Ok(respond(body, callback.as_deref(), gap.as_ref(), memory))
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
            Kind::Forbidden,
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

fn respond(
    body: Vec<u8>,
    callback: Option<&str>,
    gap: Option<&Gap>,
    memory: &MemoryBudget,
) -> Response {
    let (content_type, body) = match callback {
        // No event, no body: the page's script element is loaded and calls nothing.
        Some(_) if body.is_empty() => ("text/javascript; charset=utf-8", body),
        // The comment keeps the answer from being taken for another file format.
        Some(name) => (
            "text/javascript; charset=utf-8",
            [b"/**/", name.as_bytes(), b"(", &body, b");"].concat(),
        ),
        None => ("application/json; charset=utf-8", body),
    };
    let mut headers = no_store(content_type);
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    let told = gap
        .and_then(|gap| serde_json::to_string(gap).ok())
        .and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(told) = told {
        headers.insert(GAP_HEADER, told);
    }
    let body = memory.own(MemoryKind::Answer, body);
    (headers, body).into_response()
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
    use super::*;
    use crate::event::{EventParts, NewEvent};

    fn flat(content_type: &str, data: &'static str) -> String {
        let parts = EventParts {
            topic: "door.3",
            content_type: Some(content_type),
            data: data.into(),
            ..EventParts::default()
        };
        let event = Event::new(7, 0, NewEvent::check(parts, 1000).expect("an event"));
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
}
