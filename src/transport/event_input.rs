//! Events as publishers write them in JSON: a body, an element of an array, or a line of NDJSON.
//!
//! Invariant: data is taken over byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::counted::{read_elements, read_headers};
use crate::error::{Error, Result};
use crate::event::{ContentType, DataForm, EventParts, NewEvent};
use crate::limits;

/// One event; the fields have the same names as in the object that readers get.
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

/// Distinguishes `"data":null`, which is data, from no data.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one event.
///
/// # Errors
/// A bad request or too large, with what is wrong with it.
pub(crate) fn parse_event(json: &[u8], max_event_bytes: usize) -> Result<NewEvent> {
    // Serde would take a list of the fields' values, too.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(not_an_event("it is not a JSON object"));
    }
    // Texts are borrowed from the body; only what the event keeps is copied.
    let input: EventInput<'_> = serde_json::from_slice(json).map_err(not_an_event)?;
    input.check(max_event_bytes)
}

/// Reads an array of events.
pub(super) fn parse_batch(body: &[u8], max_event_bytes: usize) -> Result<Vec<NewEvent>> {
    let read = |index, element: &RawValue| {
        let event = parse_event(element.get().as_bytes(), max_event_bytes);
        event.map_err(|error| of_batch(error, index))
    };
    // An error of the array itself has no event to name.
    let not_json = |error| not_an_event(error).at("the batch");
    read_elements(body, limits::MAX_BATCH_EVENTS, read, not_json)
}

/// An event's error, with where the event stands in its batch.
pub(super) fn of_batch(error: Error, index: usize) -> Error {
    error.at(&format!("event {} of the batch", index + 1))
}

fn not_an_event(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!(
        "not an event as {{\"topic\":\"door.3\",\"data\":…}}: {why}"
    ))
}

impl EventInput<'_> {
    fn check(mut self, max_event_bytes: usize) -> Result<NewEvent> {
        let headers = std::mem::take(&mut self.headers);
        let (data, content_type) = self.read_data()?;
        let parts = EventParts {
            topic: &self.topic,
            kind: self.r#type.as_deref(),
            id: self.id.as_deref(),
            content_type: Some(content_type),
            headers: headers.into_iter().collect(),
            data,
        };
        NewEvent::check(parts, max_event_bytes)
    }

    /// The data's bytes, and their content type: it may follow from the form that was chosen.
    fn read_data(&self) -> Result<(Bytes, &str)> {
        let given = self.content_type.as_deref();
        let given = given.filter(|text| !text.is_empty());
        // Which of the two is given says what kind of data it is.
        match (self.data, &self.data_base64) {
            (Some(json), None) => data_of_json(json, given),
            (None, Some(base64)) => data_of_base64(base64, given),
            (None, None) => Err(Error::bad_request(NO_DATA)),
            (Some(_), Some(_)) => Err(Error::bad_request(TWICE_DATA)),
        }
    }
}

const NO_DATA: &str =
    "the event has no data; give data, or data_base64 for bytes (\"data\":null for none)";
const TWICE_DATA: &str = "the event has both data and data_base64; give one";

/// The bytes of `data`, and their content type.
fn data_of_json<'t>(json: &RawValue, given: Option<&'t str>) -> Result<(Bytes, &'t str)> {
    let content_type = given.unwrap_or("application/json");
    let data = match ContentType::trusted(content_type).form() {
        // Copied as it is written, so that numbers keep their digits.
        DataForm::Json => Bytes::copy_from_slice(json.get().as_bytes()),
        DataForm::Text => {
            let text = serde_json::from_str::<String>(json.get()).ok();
            text.ok_or_else(|| not_a_string(content_type))?.into()
        }
        DataForm::Binary => return Err(not_base64_encoded(content_type)),
    };
    Ok((data, content_type))
}

/// The bytes of `data_base64`, and their content type.
fn data_of_base64<'t>(base64: &str, given: Option<&'t str>) -> Result<(Bytes, &'t str)> {
    let data = STANDARD.decode(base64);
    let data = data.map_err(|error| bad_base64(&error))?;
    let content_type = given.unwrap_or("application/octet-stream");
    Ok((data.into(), content_type))
}

fn not_a_string(content_type: &str) -> Error {
    Error::bad_request(format!(
        "data of the content type {content_type} has to be a JSON string"
    ))
}

fn not_base64_encoded(content_type: &str) -> Error {
    Error::bad_request(format!(
        "data of the content type {content_type} cannot be JSON; give data_base64"
    ))
}

fn bad_base64(error: &base64::DecodeError) -> Error {
    Error::bad_request(format!("data_base64 is not base64: {error}"))
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
        fn json_data_is_kept_byte_for_byte(
            data in json_text(),
            id in "\\PC{0,9}",
            header in "\\PC{1,9}",
        ) {
            let (id, headers) = (json!(id), json!({ header: "x" }));
            let body = format!(
                "{{\"topic\":\"a\",\"id\":{id},\"headers\":{headers},\"data\":{data} }}"
            );
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
