//! An event as a reader gets it, whichever transport brought it (contract §5).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::cursor::{Cursor, Vid};
use crate::event::{ContentType, DataForm};
#[cfg(feature = "client-grpc")]
use crate::proto;

/// An event, with the cursor to save once it has been handled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// Its place in the order of the bus. Vids rise strictly and may have holes.
    pub vid: Vid,
    /// The position just behind it: reading resumes after this event.
    pub cursor: Cursor,
    /// Its topic, such as `door.3`.
    pub topic: String,
    /// When the bus took it, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// The publisher's type, where one was given.
    pub kind: Option<String>,
    /// The publisher's id, where one was given.
    pub id: Option<String>,
    /// The publisher's name-value pairs.
    pub headers: BTreeMap<String, String>,
    /// The media type of the data; none for `application/json` and `text/plain`, where the form of
    /// [`data`](Self::data) is enough.
    pub content_type: Option<String>,
    /// The data.
    pub data: EventData,
}

/// The data of an event.
#[derive(Debug, Clone, Serialize)]
pub enum EventData {
    /// The publisher's JSON text, of which numbers keep all their digits; a text is a JSON string.
    #[serde(rename = "data")]
    Json(Box<RawValue>),
    /// Bytes of any other content type.
    #[serde(rename = "data_base64", serialize_with = "as_base64")]
    Binary(Bytes),
}

fn as_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// Content types that the JSON object of an event leaves out.
#[cfg(feature = "client-grpc")]
const PLAIN_TYPES: [&str; 2] = ["application/json", "text/plain"];

impl ReceivedEvent {
    /// The data as a Rust value.
    ///
    /// # Errors
    /// When the data is not JSON, or not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        // Bytes may be JSON as well, under a content type that does not say so.
        match &self.data {
            EventData::Json(json) => serde_json::from_str(json.get()),
            EventData::Binary(bytes) => serde_json::from_slice(bytes),
        }
    }

    /// The data as a text, where it is one (or a JSON string).
    pub fn text(&self) -> Option<String> {
        match &self.data {
            EventData::Json(json) => serde_json::from_str(json.get()).ok(),
            EventData::Binary(_) => None,
        }
    }

    /// The event's JSON object (contract §5), the same whichever transport brought it.
    pub fn to_json(&self) -> String {
        // JSON text is copied as it is, so that numbers keep their digits.
        let (data, data_base64) = match &self.data {
            EventData::Json(json) => (Some(&**json), None),
            EventData::Binary(bytes) => (None, Some(Cow::Owned(STANDARD.encode(bytes)))),
        };

        let object = EventObject {
            vid: self.vid,
            topic: Cow::Borrowed(&self.topic),
            time: Cow::Owned(self.time_text()),
            kind: self.kind.as_deref().map(Cow::Borrowed),
            id: self.id.as_deref().map(Cow::Borrowed),
            headers: self.headers.clone(),
            content_type: self.content_type.as_deref().map(Cow::Borrowed),
            data,
            data_base64,
        };
        serde_json::to_string(&object).expect("texts and numbers are JSON")
    }

    /// The time as `2026-11-22T10:00:00.123Z`.
    pub fn time_text(&self) -> String {
        // A time that no calendar can show has no text.
        Timestamp::from_millisecond(self.time_ms)
            .map_or_else(|_| String::new(), |time| format!("{time:.3}"))
    }
}

/// An event as SSE and long-poll write it.
#[derive(Serialize, Deserialize)]
struct EventObject<'a> {
    vid: Vid,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data_base64: Option<Cow<'a, str>>,
}

/// Keeps `"data":null`, which is data, apart from no data.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl EventObject<'_> {
    /// The data, or what is wrong with it.
    fn data(&self) -> Result<EventData, String> {
        // A gateway sends one of the two; where there are both, JSON counts.
        match (self.data, &self.data_base64) {
            (Some(json), _) => Ok(EventData::Json(json.to_owned())),
            (None, Some(base64)) => STANDARD
                .decode(&**base64)
                .map(|bytes| EventData::Binary(bytes.into()))
                .map_err(|error| format!("data_base64 is not base64: {error}")),
            (None, None) => Err("an event has neither data nor data_base64".to_owned()),
        }
    }
}

impl ReceivedEvent {
    /// Reads the JSON object; its cursor is made of its vid by `cursor_of`.
    pub(super) fn from_json(
        json: &str,
        cursor_of: impl FnOnce(Vid) -> Cursor,
    ) -> Result<Self, String> {
        // Texts are borrowed until they are known to belong to an event.
        let object: EventObject<'_> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let time: Timestamp = object
            .time
            .parse()
            .map_err(|error| format!("the time of an event: {error}"))?;

        Ok(ReceivedEvent {
            data: object.data()?,
            vid: object.vid,
            cursor: cursor_of(object.vid),
            topic: object.topic.into_owned(),
            time_ms: time.as_millisecond(),
            kind: object.kind.map(Cow::into_owned),
            id: object.id.map(Cow::into_owned),
            headers: object.headers,
            content_type: object.content_type.map(Cow::into_owned),
        })
    }

    /// Takes the message of a gRPC stream.
    #[cfg(feature = "client-grpc")]
    pub(super) fn from_proto(event: proto::Event, cursor: Cursor) -> Self {
        // An empty field of a message is one that was not given.
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let time_ms = event.time.map_or(0, milliseconds);
        let data = EventData::of_bytes(&event.content_type, event.data);

        ReceivedEvent {
            vid: event.vid,
            cursor,
            topic: event.topic,
            time_ms,
            kind: given(event.r#type),
            id: given(event.id),
            headers: event.headers.into_iter().collect(),
            content_type: given(event.content_type)
                .filter(|text| !PLAIN_TYPES.contains(&text.as_str())),
            data,
        }
    }
}

#[cfg(feature = "client-grpc")]
fn milliseconds(time: prost_types::Timestamp) -> i64 {
    // The message comes from outside, so even an absurd time must not overflow.
    let whole = time.seconds.saturating_mul(1000);
    whole.saturating_add(i64::from(time.nanos / 1_000_000))
}

impl EventData {
    /// Bytes of the data, as JSON text or as they are.
    #[cfg(feature = "client-grpc")]
    pub(super) fn len(&self) -> usize {
        match self {
            EventData::Json(text) => text.get().len(),
            EventData::Binary(bytes) => bytes.len(),
        }
    }

    /// The form that the JSON object of an event gives to data of this type.
    pub(super) fn of_bytes(content_type: &str, bytes: Bytes) -> Self {
        // Data that is not what its type says is passed on as bytes.
        let json = match ContentType::trusted(content_type).form() {
            DataForm::Json => serde_json::from_slice::<Box<RawValue>>(&bytes).ok(),
            DataForm::Text => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| to_raw_value(text).ok()),
            DataForm::Binary => None,
        };
        json.map_or(EventData::Binary(bytes), EventData::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor_of(vid: Vid) -> Cursor {
        Cursor { vid, epoch: None }
    }

    #[test]
    fn an_object_reads_back_as_it_was() {
        let time = "2026-11-22T10:00:00.123Z";
        for (vid, rest) in [
            (1, r#""data":1.50000000000000000001e3"#),
            (2, r#""type":"t","id":"i","data":null"#),
            (3, r#""headers":{"a":"1"},"data":"x\ny""#),
            (4, r#""content_type":"image/png","data_base64":"AAEC""#),
        ] {
            let json = format!(r#"{{"vid":{vid},"topic":"门","time":"{time}",{rest}}}"#);
            let json = json.as_str();
            let event = ReceivedEvent::from_json(json, cursor_of).expect("an event");
            assert_eq!(event.to_json(), json);
            assert_eq!(event.cursor, cursor_of(event.vid));
        }
    }

    #[test]
    fn a_message_of_grpc_has_the_same_object() {
        let message = |content_type: &str, data: &'static [u8]| proto::Event {
            vid: 7,
            topic: "a".into(),
            content_type: content_type.into(),
            data: data.into(),
            ..proto::Event::default()
        };
        let begin = r#"{"vid":7,"topic":"a","time":"1970-01-01T00:00:00.000Z","#;
        for (content_type, data, end) in [
            ("application/json", &b"[1.0]"[..], r#""data":[1.0]}"#),
            ("text/plain", b"a\"b", r#""data":"a\"b"}"#),
            (
                "a/b",
                b"\0",
                r#""content_type":"a/b","data_base64":"AA=="}"#,
            ),
        ] {
            let event = ReceivedEvent::from_proto(message(content_type, data), cursor_of(7));
            assert_eq!(event.to_json(), format!("{begin}{end}"));
        }
    }

    #[test]
    fn data_is_read_as_a_value_or_a_text() {
        let of = |content_type: &str, data: &'static [u8]| ReceivedEvent {
            data: EventData::of_bytes(content_type, data.into()),
            ..ReceivedEvent::from_proto(proto::Event::default(), cursor_of(1))
        };
        assert_eq!(
            of("application/json", b"[1,2]").json::<Vec<u8>>().ok(),
            Some(vec![1, 2])
        );
        assert_eq!(of("text/plain", b"words").text().as_deref(), Some("words"));
        assert_eq!(of("image/png", b"\0").text(), None);
    }

    #[test]
    fn what_is_no_event_says_why() {
        for (json, why) in [
            ("{}", "missing field"),
            (
                r#"{"vid":1,"topic":"a","time":"noon","data":1}"#,
                "the time",
            ),
            (
                r#"{"vid":1,"topic":"a","time":"2026-11-22T10:00:00Z"}"#,
                "neither data",
            ),
        ] {
            let error = ReceivedEvent::from_json(json, cursor_of).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
