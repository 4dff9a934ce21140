//! Events, as publishers send them and as the bus keeps them.
//!
//! Invariants:
//! - a [`NewEvent`] has been checked against contract §1 when it exists;
//! - an [`Event`] never changes; what a transport makes of it is made once and shared.

mod json_check;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::cursor::Vid;
use crate::error::{Error, Result};
use crate::limits::{
    MAX_CONTENT_TYPE_BYTES, MAX_HEADERS, MAX_HEADERS_BYTES, MAX_ID_BYTES, MAX_TYPE_BYTES,
};
use crate::topic::Topic;

/// What an event costs beside its texts and data, in bytes, when retention counts.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// How the data of a content type is shown in JSON (contract §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataForm {
    /// The publisher's JSON text, unchanged.
    Json,
    /// A JSON string.
    Text,
    /// Base64.
    Binary,
}

/// A media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// Takes the publisher's content type, or finds one that fits the data where none was given.
    ///
    /// # Errors
    /// A bad request when the type is too long, or when data of a JSON or text type is no such
    /// thing, or JSON that common readers cannot take.
    pub fn for_data(given: Option<&str>, data: &[u8]) -> Result<Self> {
        match given.map(str::trim).filter(|t| !t.is_empty()) {
            Some(text) => Self::checked(text, data),
            None if is_json(data) => {
                refuse_poison(data)?;
                Ok(ContentType(JSON.into()))
            }
            None => Ok(ContentType(text_or_bytes(data).into())),
        }
    }

    /// A content type that fits the data, whatever it is. JSON that common readers cannot take is a
    /// text: then they get it as a string.
    pub fn of(data: &[u8]) -> Self {
        if is_json(data) && json_check::check(data).is_ok() {
            ContentType(JSON.into())
        } else {
            ContentType(text_or_bytes(data).into())
        }
    }

    fn checked(text: &str, data: &[u8]) -> Result<Self> {
        if text.len() > MAX_CONTENT_TYPE_BYTES || text.chars().any(char::is_control) {
            return Err(Error::bad_request(format!(
                "the content type is longer than {MAX_CONTENT_TYPE_BYTES} bytes or has a control character"
            )));
        }
        let content_type = ContentType(text.into());
        match content_type.form() {
            DataForm::Json => check_json(data)?,
            DataForm::Text if std::str::from_utf8(data).is_err() => {
                return Err(Error::bad_request(format!(
                    "the data is not UTF-8 although its content type is {text}; name its charset, or send application/octet-stream"
                )));
            }
            DataForm::Text | DataForm::Binary => {}
        }
        Ok(content_type)
    }

    /// A content type that this bus has checked before, as an engine reads it back.
    pub fn trusted(text: &str) -> Self {
        ContentType(text.into())
    }

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How data of this type is shown in JSON.
    pub fn form(&self) -> DataForm {
        let (essence, parameters) = self.0.split_once(';').unwrap_or((&self.0, ""));
        let essence = essence.trim().to_ascii_lowercase();
        if essence == "application/json" || essence == "text/json" || essence.ends_with("+json") {
            DataForm::Json
        } else if essence.starts_with("text/") && is_utf8_charset(parameters) {
            DataForm::Text
        } else {
            DataForm::Binary
        }
    }
}

fn is_utf8_charset(parameters: &str) -> bool {
    let charset = parameters.split(';').find_map(|p| {
        p.trim()
            .to_ascii_lowercase()
            .strip_prefix("charset=")
            .map(str::to_owned)
    });
    charset.is_none_or(|c| matches!(c.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"))
}

const JSON: &str = "application/json";

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(data).is_ok()
}

fn text_or_bytes(data: &[u8]) -> &'static str {
    if std::str::from_utf8(data).is_ok() {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

fn check_json(data: &[u8]) -> Result<()> {
    match serde_json::from_slice::<&RawValue>(data) {
        Ok(_) => refuse_poison(data),
        Err(error) => Err(Error::bad_request(format!(
            "the data is not valid JSON: {error}"
        ))),
    }
}

fn refuse_poison(json: &[u8]) -> Result<()> {
    json_check::check(json).map_err(|poison| {
        Error::bad_request(format!(
            "the JSON data {poison}; change it, or send it as text/plain"
        ))
    })
}

/// An event on its way to the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Where it belongs.
    pub topic: Topic,
    /// What kind of event it is.
    pub kind: Option<Arc<str>>,
    /// The publisher's id, by which a repeated publish is known.
    pub id: Option<Arc<str>>,
    /// The media type of the data.
    pub content_type: ContentType,
    /// The publisher's own name-value pairs.
    pub headers: Vec<(String, String)>,
    /// The publisher's bytes.
    pub data: Bytes,
}

/// The parts of an event as a transport received them.
#[derive(Debug, Default)]
pub struct EventParts<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The type; empty counts as none.
    pub kind: Option<&'a str>,
    /// The id; empty counts as none.
    pub id: Option<&'a str>,
    /// The content type; empty counts as none.
    pub content_type: Option<&'a str>,
    /// Name-value pairs.
    pub headers: Vec<(String, String)>,
    /// The data.
    pub data: Bytes,
}

impl NewEvent {
    /// Checks what a publisher sent.
    ///
    /// # Errors
    /// A bad request that names the field, or too large.
    pub fn check(parts: EventParts<'_>, max_event_bytes: usize) -> Result<Self> {
        if parts.data.len() > max_event_bytes {
            let length = parts.data.len();
            return Err(Error::too_large(format!(
                "the data has {length} bytes; at most {max_event_bytes} are taken (max_event_bytes)"
            )));
        }
        check_headers(&parts.headers)?;
        Ok(NewEvent {
            topic: Topic::for_publisher(parts.topic)?,
            kind: parts
                .kind
                .filter(|k| !k.is_empty())
                .map(check_type)
                .transpose()?,
            id: parts
                .id
                .filter(|i| !i.is_empty())
                .map(check_id)
                .transpose()?,
            content_type: ContentType::for_data(parts.content_type, &parts.data)?,
            headers: parts.headers,
            data: parts.data,
        })
    }

    /// What the event costs when queues and retention count, in bytes.
    pub fn size_bytes(&self) -> usize {
        let texts = self.topic.as_str().len()
            + self.kind.as_ref().map_or(0, |k| k.len())
            + self.id.as_ref().map_or(0, |i| i.len());
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        EVENT_OVERHEAD_BYTES + texts + headers + self.data.len()
    }
}

fn check_type(kind: &str) -> Result<Arc<str>> {
    let bad = |why: &str| Err(Error::bad_request(format!("the type {why}")));
    if kind.len() > MAX_TYPE_BYTES {
        return bad(&format!("is longer than {MAX_TYPE_BYTES} bytes"));
    }
    if kind.chars().any(char::is_control) {
        return bad("has a control character");
    }
    if matches!(kind, "open" | "error") || kind.starts_with("vidette.") {
        return bad(
            "is open, error or begins with vidette.; an EventSource has its own use for those",
        );
    }
    Ok(kind.into())
}

fn check_id(id: &str) -> Result<Arc<str>> {
    if id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        return Err(Error::bad_request(format!(
            "the id is longer than {MAX_ID_BYTES} bytes or has a control character"
        )));
    }
    Ok(id.into())
}

fn check_headers(headers: &[(String, String)]) -> Result<()> {
    if headers.len() > MAX_HEADERS {
        return Err(Error::bad_request(format!(
            "more than {MAX_HEADERS} headers"
        )));
    }
    let total: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if total > MAX_HEADERS_BYTES {
        return Err(Error::bad_request(format!(
            "the headers are longer than {MAX_HEADERS_BYTES} bytes"
        )));
    }
    if headers.iter().any(|(name, _)| name.is_empty()) {
        return Err(Error::bad_request("a header has no name"));
    }
    Ok(())
}

/// An event that has its place on the bus.
#[derive(Debug)]
pub struct Event {
    /// Its place in the order.
    pub vid: Vid,
    /// When the bus took it, in milliseconds since 1970; never falls from one vid to the next.
    pub time_ms: i64,
    /// What the publisher sent.
    pub sent: NewEvent,
    /// What transports made of it.
    pub(crate) encodings: Encodings,
}

/// One place for each encoding; filled on first use, shared by all subscribers.
#[derive(Debug, Default)]
pub(crate) struct Encodings {
    /// The JSON object of contract §5.
    pub(crate) json: OnceLock<Bytes>,
    /// The SSE block without `format=raw`.
    pub(crate) sse: OnceLock<Bytes>,
    /// The SSE block with it.
    pub(crate) sse_raw: OnceLock<Bytes>,
    /// The protobuf message `vidette.v1.Event`.
    pub(crate) protobuf: OnceLock<Bytes>,
}

impl Event {
    /// An event at its place.
    pub fn new(vid: Vid, time_ms: i64, sent: NewEvent) -> Self {
        Event {
            vid,
            time_ms,
            sent,
            encodings: Encodings::default(),
        }
    }

    /// What the event costs when the ring, pages and retention count, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.sent.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, kind: &str, content_type: &str, data: &'static [u8]) -> Result<NewEvent> {
        let parts = EventParts {
            topic,
            kind: Some(kind),
            content_type: Some(content_type),
            data: Bytes::from_static(data),
            ..EventParts::default()
        };
        NewEvent::check(parts, 100)
    }

    #[test]
    fn a_content_type_is_found_where_none_is_given() {
        for (data, found) in [
            (&b"{\"a\":1}"[..], "application/json"),
            (b"12", "application/json"),
            (b"hello", "text/plain"),
            (b"", "text/plain"),
            (b"\xff\x00", "application/octet-stream"),
        ] {
            assert_eq!(
                ContentType::for_data(None, data).expect("sniffed").as_str(),
                found
            );
        }
    }

    #[test]
    fn the_form_follows_the_content_type() {
        for (text, form) in [
            ("application/json", DataForm::Json),
            ("Application/LD+JSON; charset=utf-8", DataForm::Json),
            ("text/plain", DataForm::Text),
            ("text/html; charset=\"UTF-8\"", DataForm::Text),
            ("text/plain; charset=gb2312", DataForm::Binary),
            ("image/png", DataForm::Binary),
        ] {
            assert_eq!(ContentType::trusted(text).form(), form, "{text}");
        }
    }

    #[test]
    fn data_has_to_be_what_its_content_type_says() {
        assert!(event("a", "", "application/json", b"{\"a\":").is_err());
        assert!(event("a", "", "application/json", b"\"\xff\"").is_err());
        assert!(event("a", "", "text/plain", b"\xff").is_err());
        assert!(event("a", "", "text/plain; charset=gb2312", b"\xc3\xc5").is_ok());
    }

    #[test]
    fn types_that_an_event_source_needs_itself_are_refused() {
        for kind in ["open", "error", "vidette.gap", "a\nb", &"x".repeat(65)] {
            assert!(event("a", kind, "text/plain", b"x").is_err(), "{kind:?}");
        }
        assert!(event("a", "opened", "text/plain", b"x").is_ok());
    }

    #[test]
    fn data_over_the_bound_is_too_large() {
        let fault = event("a", "", "text/plain", &[b'x'; 101]).expect_err("101 bytes of 100");
        assert_eq!(fault.kind(), crate::error::ErrorKind::TooLarge);
    }
}
