//! Lines to publish: one event each, as a JSON object.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::ids::give_id;
use crate::client::event::EventData;
use crate::event::NewEvent;
use crate::limits;

/// A line that a [`Publisher`](super::Publisher) is to publish.
#[derive(Debug, Clone)]
pub struct PublishLine<K> {
    /// Comes back with the report about the line.
    pub(super) key: K,
    /// What is sent, with its line break. None where it is too long to be sent at all.
    pub(super) text: Option<Bytes>,
    /// Can it be sent twice and make one event?
    pub(super) is_repeatable: bool,
}

impl<K> PublishLine<K> {
    /// A line of this event; `key` comes back with the report about it. An event without an id gets
    /// a random one, so that it can be sent again after a failure.
    pub fn new(key: K, event: &NewEvent) -> Self {
        let mut event = event.clone();
        give_id(&mut event);

        // A line break would end the event for the gateway, which reads line by line.
        let mut text = one_line(object_of(&event).into_bytes());
        text.push(b'\n');
        Self::bounded(key, text, true)
    }

    /// A line that is a JSON object already, as `{"topic":"door.3","data":1}`. Where it has no id
    /// and one is given, that is added. A line that is no event is sent too, and refused by the
    /// gateway.
    pub fn from_json(key: K, text: Vec<u8>, missing_id: Option<&str>) -> Self {
        let (mut text, is_repeatable) = with_id(text, missing_id);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        Self::bounded(key, text, is_repeatable)
    }

    fn bounded(key: K, text: Vec<u8>, is_repeatable: bool) -> Self {
        // The line break is not counted.
        let is_too_long = text.len() > limits::MAX_LINE_BYTES + 1;
        PublishLine {
            key,
            text: (!is_too_long).then(|| text.into()),
            is_repeatable,
        }
    }

    /// What comes back with the report about the line.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Is it longer than any line that the gateway takes? It is refused without being sent.
    pub fn is_too_long(&self) -> bool {
        self.text.is_none()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.as_ref().map_or(0, Bytes::len)
    }
}

/// The next line of an input that has not ended.
pub(super) async fn next_line<I: Stream + Unpin>(input: &mut Option<I>) -> Option<I::Item> {
    match input {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

/// The line with an id where it has none and one is given; and whether it can be sent twice. What
/// is no event is refused each time, so it can.
fn with_id(text: Vec<u8>, missing_id: Option<&str>) -> (Vec<u8>, bool) {
    // What is no object is for the gateway to refuse; its values stay as they are written.
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&text) else {
        return (text, true);
    };
    // An empty id counts as none, for the gateway too.
    let id = fields.get("id").map(|id| id.get());
    if id.is_some_and(|id| !matches!(id, "null" | "\"\"")) {
        return (text, true);
    }
    let Some(missing_id) = missing_id else {
        return (text, false);
    };

    // Written anew with the id: the other fields keep their text.
    let id = to_raw_value(missing_id).expect("a text is JSON");
    fields.insert("id".to_owned(), id);
    let text = serde_json::to_vec(&fields).expect("JSON stays JSON");
    (text, true)
}

/// Line breaks in JSON stand only between tokens, where a space means the same.
fn one_line(mut json: Vec<u8>) -> Vec<u8> {
    for byte in &mut json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    json
}

/// An event as `POST /v1/events` takes it (contract §5).
#[derive(Serialize)]
struct NewEventObject<'a> {
    topic: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    content_type: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    data: EventData,
}

/// The JSON object of an event that is to be published.
pub(super) fn object_of(event: &NewEvent) -> String {
    // The gateway takes headers as an object.
    let headers = event
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let object = NewEventObject {
        topic: event.topic.as_str(),
        kind: event.kind.as_deref(),
        id: event.id.as_deref(),
        content_type: event.content_type.as_str(),
        headers: headers.collect(),
        data: EventData::of_bytes(event.content_type.as_str(), event.data.clone()),
    };
    serde_json::to_string(&object).expect("texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventParts;

    fn line(text: &str, missing_id: Option<&str>) -> (String, bool) {
        let line = PublishLine::from_json(7, text.as_bytes().to_vec(), missing_id);
        let text = line.text.expect("a line").to_vec();
        (String::from_utf8(text).expect("UTF-8"), line.is_repeatable)
    }

    #[test]
    fn a_line_without_an_id_gets_the_one_that_is_given_and_keeps_its_data() {
        let text = "{\"topic\":\"a\", \"data\": 1.50000000000000000001e3 }";
        let with_id = "{\"data\":1.50000000000000000001e3,\"id\":\"run:7\",\"topic\":\"a\"}\n";
        assert_eq!(line(text, Some("run:7")), (with_id.to_owned(), true));
        assert_eq!(line(text, None), (format!("{text}\n"), false));
    }

    #[test]
    fn an_id_of_its_own_is_kept() {
        let text = "{\"topic\":\"a\",\"id\":\"x\",\"data\":1}\n";
        for missing_id in [None, Some("run:7")] {
            assert_eq!(line(text, missing_id), (text.to_owned(), true));
        }
        let (with_id, _) = line("{\"topic\":\"a\",\"id\":null}", Some("run:7"));
        assert!(with_id.contains("\"run:7\""), "{with_id}");
    }

    #[test]
    fn what_is_no_object_goes_as_it_is() {
        let nonsense = ("nonsense\n".to_owned(), true);
        assert_eq!(line("nonsense", Some("run:7")), nonsense);
    }

    #[test]
    fn a_line_that_is_too_long_is_kept_without_its_text() {
        let longest = vec![b'x'; limits::MAX_LINE_BYTES];
        let longer = vec![b'x'; limits::MAX_LINE_BYTES + 1];
        assert!(PublishLine::from_json(1, longest, None).text.is_some());
        assert!(PublishLine::from_json(1, longer, None).text.is_none());
    }

    #[test]
    fn an_event_is_one_line_whatever_its_data_is() {
        for (content_type, data, member) in [
            ("application/json", &b"[1,\n 2]"[..], "\"data\":[1,  2]}\n"),
            ("text/plain", b"a\nb", "\"data\":\"a\\nb\"}\n"),
            ("image/png", b"\0", "\"data_base64\":\"AA==\"}\n"),
        ] {
            let parts = EventParts {
                topic: "a",
                content_type: Some(content_type),
                data: data.into(),
                ..EventParts::default()
            };
            let event = NewEvent::check(parts, 100).expect("an event");
            let line = PublishLine::new((), &event);
            let text = line.text.expect("a line");
            assert!(text.ends_with(member.as_bytes()), "{text:?}");
            assert!(line.is_repeatable);
        }
    }
}
