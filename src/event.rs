//! Events, as publishers send them and as the bus keeps them.
//!
//! Invariants:
//! - a [`NewEvent`] has been checked against contract §1 when it exists;
//! - an [`Event`] never changes; each form that a transport encodes it in is made once and shared.

mod content_type;
mod json_check;

use std::sync::Arc;

use bytes::Bytes;

use crate::cursor::Vid;
use crate::encodings::Encodings;
use crate::error::{Error, Result};
use crate::limits::{MAX_HEADERS, MAX_HEADERS_BYTES, MAX_ID_BYTES, MAX_TYPE_BYTES};
use crate::topic::Topic;

pub use content_type::{ContentType, DataForm};

/// What an event costs beside its texts and data, in bytes, when retention counts.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// An event on its way to the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Where it belongs.
    pub topic: Topic,
    /// What kind of event it is.
    pub kind: Option<Arc<str>>,
    /// The publisher's id, by which a repeated publish is recognised.
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
        // The cheap bounds first: the data is parsed last, to find or check its content type.
        check_length(&parts.data, max_event_bytes)?;
        check_headers(&parts.headers)?;
        let topic = Topic::for_publisher(parts.topic)?;
        let kind = not_empty(parts.kind).map(check_type).transpose()?;
        let id = not_empty(parts.id).map(check_id).transpose()?;
        let content_type = ContentType::for_data(parts.content_type, &parts.data)?;
        Ok(NewEvent {
            topic,
            kind,
            id,
            content_type,
            headers: parts.headers,
            data: parts.data,
        })
    }

    /// Adds a header that the gateway has a use for, unless the publisher has sent one of this name
    /// or as much as an event may have.
    pub(crate) fn add_header(&mut self, name: &str, value: &str) {
        let is_given = |(given, _): &(String, String)| given.eq_ignore_ascii_case(name);
        let bytes = headers_bytes(&self.headers) + name.len() + value.len();
        let fits = self.headers.len() < MAX_HEADERS && bytes <= MAX_HEADERS_BYTES;
        if fits && !self.headers.iter().any(is_given) {
            self.headers.push((name.to_owned(), value.to_owned()));
            // In order, as those of a publisher are.
            self.headers.sort_unstable();
        }
    }

    /// What the event costs when queues and retention count, in bytes.
    pub fn size_bytes(&self) -> usize {
        // The overhead is there so that a flood of tiny events is not counted as nothing.
        let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let texts = self.topic.as_str().len() + length(&self.kind) + length(&self.id);
        EVENT_OVERHEAD_BYTES + texts + headers_bytes(&self.headers) + self.data.len()
    }
}

fn not_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn check_length(data: &[u8], max_event_bytes: usize) -> Result<()> {
    if data.len() <= max_event_bytes {
        return Ok(());
    }
    let length = data.len();
    Err(Error::too_large(format!(
        "the data has {length} bytes; at most {max_event_bytes} are taken (max_event_bytes)"
    )))
}

/// May an event have this type?
pub(crate) fn may_be_type(kind: &str) -> bool {
    check_type(kind).is_ok()
}

fn check_type(kind: &str) -> Result<Arc<str>> {
    if kind.len() > MAX_TYPE_BYTES {
        return Err(bad_type(&format!("is longer than {MAX_TYPE_BYTES} bytes")));
    }
    // A line break in it would end the `event:` line of an event stream.
    if kind.chars().any(char::is_control) {
        return Err(bad_type("has a control character"));
    }
    // An EventSource fires `open` and `error` itself, and the gateway's steps are `vidette.…`.
    if matches!(kind, "open" | "error") || kind.starts_with("vidette.") {
        return Err(bad_type(RESERVED_TYPE));
    }
    Ok(kind.into())
}

const RESERVED_TYPE: &str =
    "is open, error or begins with vidette.; an EventSource has its own use for those";

fn bad_type(why: &str) -> Error {
    Error::bad_request(format!("the type {why}"))
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
    // The number comes first, as it bounds what the other checks cost.
    if headers.len() > MAX_HEADERS {
        return Err(too_many_headers());
    }
    if headers_bytes(headers) > MAX_HEADERS_BYTES {
        return Err(Error::bad_request(format!(
            "the headers are longer than {MAX_HEADERS_BYTES} bytes together"
        )));
    }
    if headers.iter().any(|(name, _)| name.is_empty()) {
        return Err(Error::bad_request("a header has no name"));
    }
    Ok(())
}

/// Said wherever headers are counted, also before they are decoded.
pub(crate) fn too_many_headers() -> Error {
    Error::bad_request(format!("more than {MAX_HEADERS} headers"))
}

fn headers_bytes(headers: &[(String, String)]) -> usize {
    let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
    bytes.sum()
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
    /// The forms in which it goes over the wires.
    pub(crate) encodings: Encodings,
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
        let error = event("a", "", "text/plain", &[b'x'; 101]).expect_err("101 bytes of 100");
        assert_eq!(error.kind(), crate::error::ErrorKind::TooLarge);
    }
}
