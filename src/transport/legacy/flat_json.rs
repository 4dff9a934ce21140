//! An event as the flat JSON object that the pages of the long-poll era read (contract §6).
//!
//! Invariant: what the publisher wrote keeps its digits; only `vid` is replaced.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::event::{DataForm, Event};
use crate::transport::json::push_data;

/// The fields of the event's data with the bus's vid, or `{"vid":…,"data":…}`.
pub(crate) fn flat_json(event: &Event) -> Vec<u8> {
    let mut out = format!("{{\"vid\":{}", event.vid).into_bytes();
    // An object's fields beside the vid, and anything else below `data`.
    if let Some(fields) = object_fields(event) {
        push_fields(&mut out, &fields);
    } else {
        out.push(b',');
        push_data(&mut out, event);
    }
    out.push(b'}');
    escape_line_separators(out)
}

fn push_fields(out: &mut Vec<u8>, fields: &ObjectFields<'_>) {
    // The bus's vid stands first, in place of one that the publisher has written.
    for (name, value) in fields.0.iter().filter(|(name, _)| !is_vid(name)) {
        out.push(b',');
        out.extend_from_slice(name.get().as_bytes());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
}

/// Names are compared without their escapes; one that is not valid Unicode (`"\ud800"`) is a name
/// all the same.
fn is_vid(name: &RawValue) -> bool {
    serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == "vid")
}

fn object_fields(event: &Event) -> Option<ObjectFields<'_>> {
    // A text that looks like an object is still a text.
    if event.sent.content_type.form() != DataForm::Json {
        return None;
    }
    serde_json::from_slice(&event.sent.data).ok()
}

/// An object's fields in their order, as they were written.
struct ObjectFields<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for ObjectFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = ObjectFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ObjectFields<'de>, M::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(ObjectFields(fields))
    }
}

/// U+2028 and U+2029 are line ends to the JavaScript of that era, and its pages `eval` the answer.
/// In valid JSON they stand only inside strings, where an escape means the same.
fn escape_line_separators(json: Vec<u8>) -> Vec<u8> {
    // Most answers have none, and are not copied.
    if !json.windows(2).any(|pair| pair == [0xe2, 0x80]) {
        return json;
    }
    let text = String::from_utf8(json).expect("JSON made of UTF-8");
    let text = text.replace('\u{2028}', "\\u2028");
    text.replace('\u{2029}', "\\u2029").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ContentType, EventParts, NewEvent};

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
}
