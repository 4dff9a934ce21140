//! Events as messages of NATS.
//!
//! | event | message |
//! |---|---|
//! | topic | subject, behind the prefix of the stream |
//! | data | payload |
//! | id | `Nats-Msg-Id`; of a copied event `Vidette-Id` |
//! | type | `Vidette-Type` |
//! | content type | `Content-Type`; found in the data where there is none |
//! | headers | `Vidette-Headers`, a line of JSON; of plain clients their own headers |
//! | vid, time | sequence and time of the message; of a copied event `Vidette-Time` |
//!
//! Ids and types that would not come back as they are begin with `~` and are percent-encoded.
//!
//! Plain clients of NATS may store what a publisher could not. An event is worth more than what it
//! is labelled with, so a label that breaks a rule of contract §1 is left out and the event is
//! kept: an id or a type that is none, and headers beyond the bounds (then all of them). A content
//! type that its data does not fit is replaced by one that fits. A message whose subject is no
//! topic, or whose data is larger than any event's, is no event.
//!
//! Invariants:
//! - no header of a publisher becomes one of the message, so none can give orders to the server;
//! - of a stored message only subject, sequence, time, data and the headers above are looked at.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use bytes::Bytes;

use super::api::{StoredMessage, last};
use super::copied;
use super::subjects::Subjects;
use crate::event::{ContentType, Event, EventParts, NewEvent};
use crate::limits;

/// The header by which JetStream recognizes what it has stored already.
pub(super) const MSG_ID: &str = "Nats-Msg-Id";
const TYPE: &str = "Vidette-Type";
const CONTENT_TYPE: &str = "Content-Type";
const HEADERS: &str = "Vidette-Headers";

/// What a text on the wire begins with that is not a publisher's as it is.
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
        let mut message = OutgoingMessage {
            subject: subjects.of(&event.topic),
            headers: HeaderMap::new(),
            data: event.data.clone(),
        };
        message.label(CONTENT_TYPE, event.content_type.as_str());
        if let Some(id) = &event.id {
            message.identify(&text_on_wire(id));
        }
        if let Some(kind) = &event.kind {
            message.label(TYPE, &text_on_wire(kind));
        }
        if !event.headers.is_empty() {
            message.label(HEADERS, &headers_on_wire(&event.headers));
        }
        message
    }

    /// Gives the message an id, as it is on the wire.
    pub(super) fn identify(&mut self, id: &str) {
        if let Ok(id) = id.parse::<HeaderValue>() {
            self.headers.insert(NATS_MESSAGE_ID, id);
        }
    }

    /// A value that is no header is left out; an event that has been checked has none.
    fn label(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = value.parse::<HeaderValue>() {
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The id of a group of events whose first has none of its own: no publisher's id looks like it.
pub(super) fn id_of_group(nonce: &str, number: u64) -> String {
    format!("{MARK}{MARK}{nonce}.{number}")
}

/// An id or a type as the value of a header. Values lose outer spaces on the way and cannot hold
/// control characters, so texts with some are written in another form.
pub(super) fn text_on_wire(text: &str) -> Cow<'_, str> {
    let is_plain = !text.starts_with(MARK) && text.trim() == text;
    if is_plain && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    Cow::Owned(format!("{MARK}{encoded}"))
}

/// The publisher's id or type; none where a gateway has made it for a group.
fn text_from_wire(text: &str) -> Option<Cow<'_, str>> {
    let Some(marked) = text.strip_prefix(MARK) else {
        return Some(Cow::Borrowed(text));
    };
    if marked.starts_with(MARK) {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(marked);
    decoded.decode_utf8().ok()
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
    if message.data.len() > limits::MAX_EVENT_BYTES_CEILING {
        return None;
    }
    let headers = &message.headers;
    let id = copied::id(headers).and_then(text_from_wire);
    let kind = last(headers, TYPE).and_then(text_from_wire);
    let parts = EventParts {
        topic: topic.as_str(),
        kind: kind.as_deref(),
        id: id.as_deref(),
        content_type: last(headers, CONTENT_TYPE),
        headers: publisher_headers(headers),
        data: message.data,
    };
    let time_ms = copied::time_ms(headers, message.time_ms);
    let sent = NewEvent {
        topic: topic.clone(),
        ..keep_what_is_valid(parts)?
    };
    Some(Arc::new(Event::new(message.vid, time_ms, sent)))
}

/// The event without those labels that break a rule.
fn keep_what_is_valid(mut parts: EventParts<'_>) -> Option<NewEvent> {
    let label = |kind, id, headers| EventParts {
        // That of the event has been checked; a publisher may not have it.
        topic: "any",
        kind,
        id,
        headers,
        ..EventParts::default()
    };
    let is_valid = |parts| NewEvent::check(parts, 0).is_ok();
    let kind = parts
        .kind
        .filter(|kind| is_valid(label(Some(kind), None, Vec::new())));
    let id = parts
        .id
        .filter(|id| is_valid(label(None, Some(id), Vec::new())));

    let content_type = ContentType::for_data(parts.content_type, &parts.data);
    let content_type = content_type.unwrap_or_else(|_| ContentType::of(&parts.data));
    // Parsed once, above: data is not looked at again where there is none.
    let data = std::mem::take(&mut parts.data);
    let headers = std::mem::take(&mut parts.headers);
    let labelled = NewEvent::check(label(kind, id, headers), 0);
    let labelled = labelled.or_else(|_| NewEvent::check(label(kind, id, Vec::new()), 0));
    Some(NewEvent {
        content_type,
        data,
        ..labelled.ok()?
    })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::topic::Topic;

    fn stored(event: &NewEvent) -> StoredMessage {
        let subjects = Subjects::behind("doors");
        let message = OutgoingMessage::of(event, &subjects);
        let mut headers = HeaderMap::new();
        for (name, values) in message.headers.iter() {
            for value in values {
                // As values arrive.
                headers.append(name.clone(), value.as_str().trim());
            }
        }
        StoredMessage {
            vid: 1,
            time_ms: 0,
            subject: message.subject,
            headers,
            data: message.data,
        }
    }

    fn read(message: StoredMessage) -> Option<NewEvent> {
        let event = event_of(message, &Subjects::behind("doors"))?;
        Some(event.sent.clone())
    }

    fn plain(headers: &[(&str, &str)], data: &'static [u8]) -> StoredMessage {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        StoredMessage {
            vid: 1,
            time_ms: 0,
            subject: "doors.a".into(),
            headers: map,
            data: Bytes::from_static(data),
        }
    }

    prop_compose! {
        fn events()(
            topic in prop::sample::select(vec!["a", "door.3.tür", "$JS.API.x", "_INBOX.1"]),
            kind in prop::option::of("[ ~%\u{a0}a-zé:]{1,20}"),
            id in prop::option::of("[ ~%\u{2028}\u{3000}a-zé:]{1,60}"),
            headers in prop::collection::vec(("(Nats-|Status|[\r\n:é ])?[a-zA-Z-]{1,10}", ".{0,30}"), 0..4),
            data in prop::collection::vec(any::<u8>(), 0..50),
        ) -> Option<NewEvent> {
            let parts = EventParts {
                topic,
                kind: kind.as_deref(),
                id: id.as_deref(),
                headers,
                data: data.into(),
                ..EventParts::default()
            };
            NewEvent::check(parts, 100).ok()
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

        #[test]
        fn an_event_comes_back_as_it_was_and_gives_no_orders(event in events()) {
            let Some(event) = event else { return Ok(()) };
            let message = stored(&event);
            for (name, _) in message.headers.iter() {
                let own = [CONTENT_TYPE, TYPE, HEADERS, MSG_ID];
                prop_assert!(own.contains(&name.as_ref()), "{name:?}");
            }
            prop_assert_eq!(read(message), Some(event));
        }
    }

    #[test]
    fn labels_of_plain_clients_that_break_a_rule_are_left_out_and_the_event_is_kept() {
        let long = "x".repeat(300);
        let labels = [
            (MSG_ID, &*long),
            (TYPE, "vidette.gap"),
            (MSG_ID, "~%0a"),
            (TYPE, "open"),
        ];
        for (name, value) in labels {
            let event = read(plain(&[(name, value)], b"1")).expect("an event");
            assert_eq!((event.id, event.kind), (None, None), "{value}");
        }
        let event = read(plain(&[(CONTENT_TYPE, "application/json")], b"{")).expect("an event");
        assert_eq!(event.content_type.as_str(), "text/plain");
        assert_eq!(&event.data[..], b"{");

        let event = read(plain(&[("Big", &"x".repeat(5000)), (TYPE, "a")], b"1"));
        let event = event.expect("an event");
        assert_eq!((event.headers.len(), event.kind.as_deref()), (0, Some("a")));
    }

    #[test]
    fn headers_of_plain_clients_are_kept_but_for_those_of_the_server_and_ours() {
        let headers = [
            ("b", "2"),
            ("a", "1"),
            ("nats-x", "3"),
            ("VIDETTE-y", "4"),
            ("a", "0"),
        ];
        let event = read(plain(&headers, b"1")).expect("an event");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let kept = [pair("a", "0"), pair("a", "1"), pair("b", "2")];
        assert_eq!(event.headers, kept);
    }

    #[test]
    fn what_no_event_can_be_is_none() {
        let mut message = plain(&[], b"1");
        message.data = vec![0; limits::MAX_EVENT_BYTES_CEILING + 1].into();
        assert_eq!(read(message), None);

        let event = NewEvent {
            topic: Topic::trusted("vidette.other"),
            ..read(plain(&[], b"1")).expect("an event")
        };
        assert_eq!(read(stored(&event)), None);
    }

    #[test]
    fn the_id_of_a_group_is_nobodys_id() {
        let group = id_of_group("k3x9q2ab", 7);
        assert_eq!(text_from_wire(&group), None);
        assert_ne!(text_on_wire(&group), group);
    }
}
