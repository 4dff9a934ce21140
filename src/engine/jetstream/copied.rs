//! What a copied event has beside what every event has: its original time, and an id that nobody
//! compares any more.
//!
//! Invariants:
//! - a time that is later than that of its message is not believed: whoever may publish to the
//!   stream may write this header, and times never fall, so that one event of the far future would
//!   take all later ones with it;
//! - the subjects of what a copy needs for itself are no topics, so that no reader is shown them.

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};

use super::api::last;
use super::message::{MSG_ID, OutgoingMessage};
use super::subjects::Subjects;
use crate::cursor::{Epoch, Vid};
use crate::event::Event;

/// Milliseconds since 1970.
const TIME: &str = "Vidette-Time";
/// In the place of `Nats-Msg-Id`.
const ID: &str = "Vidette-Id";

/// Behind the prefix of the stream: where the source has no event.
const HOLE: &str = "vidette.hole";
/// Behind the prefix, with the epoch of the source: up to which vid its events are here under other
/// vids.
const COPIED: &str = "vidette.copied";

/// The time of a stored event: what it was on another log, where it was copied from there.
pub(super) fn time_ms(headers: &HeaderMap, message_time_ms: i64) -> i64 {
    let original = last(headers, TIME).and_then(|text| text.parse().ok());
    original.map_or(message_time_ms, |time: i64| time.min(message_time_ms))
}

/// The id of a stored event, as it is on the wire.
pub(super) fn id(headers: &HeaderMap) -> Option<&str> {
    last(headers, ID).or_else(|| last(headers, MSG_ID))
}

/// An event of another log with its vid and its time. `compares_id`: the stream remembers its id,
/// as one that was published just now.
pub(super) fn kept(event: &Event, compares_id: bool, subjects: &Subjects) -> OutgoingMessage {
    let mut message = OutgoingMessage::of(&event.sent, subjects);
    let time = HeaderValue::from(event.time_ms);
    message.headers.insert(HeaderName::from_static(TIME), time);
    if !compares_id {
        forget_id(&mut message);
    }
    message
}

/// An event of another log, as if it came now.
pub(super) fn renumbered(event: &Event, subjects: &Subjects) -> OutgoingMessage {
    let mut message = OutgoingMessage::of(&event.sent, subjects);
    forget_id(&mut message);
    message
}

/// Has the stream keep the id, and not compare it with others.
pub(super) fn forget_id(message: &mut OutgoingMessage) {
    let id = message.headers.get(MSG_ID).cloned();
    let Some(id) = id else { return };
    let mut headers = HeaderMap::new();
    for (name, values) in message.headers.iter() {
        if name.as_ref() as &str == MSG_ID {
            continue;
        }
        for value in values {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(HeaderName::from_static(ID), id);
    message.headers = headers;
}

/// What stands where the source has no event.
pub(super) fn hole(subjects: &Subjects) -> OutgoingMessage {
    OutgoingMessage {
        subject: subjects.of_pattern(HOLE),
        headers: HeaderMap::new(),
        data: bytes::Bytes::new(),
    }
}

/// Says up to which vid events of a source are here under other vids.
pub(super) fn mark(
    source: &Epoch,
    after: Vid,
    through: Vid,
    subjects: &Subjects,
) -> OutgoingMessage {
    let mut message = OutgoingMessage {
        subject: mark_subject(source, subjects),
        headers: HeaderMap::new(),
        data: through.to_string().into(),
    };
    // Whichever try reaches the stream first is the only one that it takes.
    message.identify(&format!("~~copied.{source}.{after}"));
    message
}

/// The subject of such marks.
pub(super) fn mark_subject(source: &Epoch, subjects: &Subjects) -> String {
    subjects.of_pattern(&format!("{COPIED}.{source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventParts, NewEvent};

    #[test]
    fn a_time_of_the_future_is_not_believed() {
        let mut headers = HeaderMap::new();
        assert_eq!(time_ms(&headers, 1000), 1000);
        for (written, believed) in [("999", 999), ("1001", 1000), ("x", 1000), ("-5", -5)] {
            headers.insert(TIME, written);
            assert_eq!(time_ms(&headers, 1000), believed, "{written}");
        }
    }

    #[test]
    fn an_id_is_kept_whether_it_is_compared_or_not() {
        let subjects = Subjects::behind("doors");
        let parts = EventParts {
            topic: "a",
            id: Some("one"),
            kind: Some("opened"),
            data: "1".into(),
            ..EventParts::default()
        };
        let sent = NewEvent::check(parts, 10).expect("an event");
        let event = Event::new(3, 70, sent);
        let compared = kept(&event, true, &subjects).headers;
        assert_eq!(last(&compared, MSG_ID), Some("one"));
        let forgotten = kept(&event, false, &subjects).headers;
        assert_eq!(last(&forgotten, MSG_ID), None);
        assert_eq!(id(&forgotten), Some("one"));
        assert_eq!(last(&forgotten, TIME), Some("70"));
        assert_eq!(last(&forgotten, "Vidette-Type"), Some("opened"));
    }
}
