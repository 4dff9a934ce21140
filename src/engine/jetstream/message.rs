//! Events as messages of NATS.
//!
//! | event | message |
//! |---|---|
//! | topic | subject, behind the prefix of the stream |
//! | data | payload |
//! | id | `Nats-Msg-Id` |
//! | type | `Vidette-Type` |
//! | content type | `Content-Type`; found in the data where there is none |
//! | headers | `Vidette-Headers`, a line of JSON; of plain clients their own headers |
//! | vid, time | sequence and time of the message |
//!
//! Invariants:
//! - no header of a publisher becomes one of the message, so none can give orders to the server;
//! - of a stored message only subject, sequence, time, data and the headers above are looked at.

use std::fmt::Write as _;
use std::sync::Arc;

use async_nats::header::HeaderMap;
use bytes::Bytes;

use super::api::{StoredMessage, last};
use super::subjects::Subjects;
use crate::event::{Event, EventParts, NewEvent};
use crate::limits;

/// The header by which JetStream recognizes what it has stored already.
pub(super) const MSG_ID: &str = "Nats-Msg-Id";
const TYPE: &str = "Vidette-Type";
const CONTENT_TYPE: &str = "Content-Type";
const HEADERS: &str = "Vidette-Headers";

/// What an id on the wire begins with that is not a publisher's as it is.
const MARK: char = '~';

/// An event on its way to the stream.
#[derive(Debug, Clone)]
pub(super) struct OutgoingMessage {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) data: Bytes,
}

impl OutgoingMessage {
    /// The message of an event, with its id where it has one.
    pub(super) fn of(event: &NewEvent, subjects: &Subjects) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, event.content_type.as_str());
        if let Some(id) = &event.id {
            headers.insert(MSG_ID, id_on_wire(id));
        }
        if let Some(kind) = &event.kind {
            headers.insert(TYPE, &**kind);
        }
        if !event.headers.is_empty() {
            headers.insert(HEADERS, headers_on_wire(&event.headers));
        }
        OutgoingMessage {
            subject: subjects.of(&event.topic),
            headers,
            data: event.data.clone(),
        }
    }
}

/// The id of a group of events whose first has none of its own: no publisher's id looks like it.
pub(super) fn id_of_group(nonce: &str, number: u64) -> String {
    format!("{MARK}{MARK}{nonce}.{number}")
}

/// An id as `Nats-Msg-Id`. Headers lose outer spaces on the way, so ids that have some are written
/// in another form.
pub(super) fn id_on_wire(id: &str) -> String {
    let is_plain = !id.starts_with(MARK) && id.trim() == id;
    if is_plain {
        return id.to_owned();
    }
    let encoded = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    format!("{MARK}{encoded}")
}

/// The publisher's id; none where a gateway has made it for a group.
fn id_from_wire(id: &str) -> Option<String> {
    let Some(marked) = id.strip_prefix(MARK) else {
        return Some(id.to_owned());
    };
    if marked.starts_with(MARK) {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(marked).decode_utf8();
    decoded.ok().map(std::borrow::Cow::into_owned)
}

/// One line of ASCII: header values of NATS lose line breaks and outer spaces.
fn headers_on_wire(headers: &[(String, String)]) -> String {
    let json = serde_json::to_string(headers).expect("pairs of texts are JSON");
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && letter != '\u{7f}' {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            write!(ascii, "\\u{unit:04x}").expect("a text takes everything");
        }
    }
    ascii
}

/// The event of a stored message; none where it is not one, as plain clients may store anything
/// behind the prefix.
pub(super) fn event_of(message: StoredMessage, subjects: &Subjects) -> Option<Arc<Event>> {
    let topic = subjects.topic(&message.subject)?;
    let headers = &message.headers;
    let parts = |kind, id, headers| EventParts {
        topic: topic.as_str(),
        kind,
        id,
        content_type: last(&message.headers, CONTENT_TYPE),
        headers,
        data: message.data.clone(),
    };

    let id = last(headers, MSG_ID).and_then(id_from_wire);
    let kind = last(headers, TYPE);
    let sent = parts(kind, id.as_deref(), publisher_headers(headers));
    let checked = NewEvent::check(sent, limits::MAX_EVENT_BYTES_CEILING);
    let sent = checked.ok()?;
    Some(Arc::new(Event::new(message.vid, message.time_ms, sent)))
}

/// The publisher's own pairs: those that a gateway has written down, else those of a plain client.
fn publisher_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    if let Some(json) = last(headers, HEADERS) {
        return serde_json::from_str(json).unwrap_or_default();
    }
    let mut pairs = Vec::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        if is_reserved(name) {
            continue;
        }
        for value in values {
            pairs.push((name.to_owned(), value.as_str().to_owned()));
        }
    }
    // The library keeps no order; sorted, every gateway shows the same one.
    pairs.sort();
    pairs
}

fn is_reserved(name: &str) -> bool {
    let begins_with = |prefix: &str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins_with("Nats-") || begins_with("Vidette-") || name.eq_ignore_ascii_case(CONTENT_TYPE)
}
