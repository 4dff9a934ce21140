//! CloudEvents as JSON objects (CloudEvents 1.0.2, "JSON Event Format").
//!
//! Invariant: data is taken over byte for byte, and an attribute keeps whether it is a string.

use std::borrow::Cow;
use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::too_many_attributes;
use super::attributes::{Attribute, Attributes, bad_attribute, is_json_literal};
use super::event::{CloudEvent, CloudEventData};
use crate::error::{Error, Result};
use crate::event::{ContentType, DataForm};
use crate::limits::MAX_HEADERS;

/// Members beside the attributes: `data` and `data_base64`.
const DATA_MEMBERS: usize = 2;

/// Reads one event.
///
/// # Errors
/// A bad request, with what is wrong with it.
pub(super) fn parse(json: &[u8]) -> Result<CloudEvent<'_>> {
    let (mut attributes, mut data, mut data_base64) = (Attributes::default(), None, None);
    for (name, value) in members(json)? {
        match &*name {
            "data" => data = Some(value),
            "data_base64" if value.get() == "null" => {}
            "data_base64" => data_base64 = Some(value),
            // As good as not there.
            _ if value.get() == "null" => {}
            _ => attributes.add(attribute(name, value)?)?,
        }
    }

    let given = attributes.get("datacontenttype");
    let given = given.filter(|text| !text.is_empty());
    let data = match (data, data_base64) {
        (None, None) => CloudEventData::None,
        (Some(json), None) => data_of_json(json, given)?,
        (None, Some(base64)) => data_of_base64(base64)?,
        (Some(_), Some(_)) => return Err(Error::bad_request(TWICE_DATA)),
    };
    Ok(CloudEvent { attributes, data })
}

const TWICE_DATA: &str = "the event has both data and data_base64; give one";

/// The members of an object, in their order.
type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

fn members(json: &[u8]) -> Result<Members<'_>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let members = deserializer.deserialize_map(MembersVisitor);
    let members = members.and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| not_an_event(&error))
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the object of a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut entries: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut members = Members::new();
        // Counted while they are read: two bytes of JSON can stand for a hundred in memory.
        while let Some((name, value)) = next_entry(&mut entries)? {
            if members.len() == MAX_HEADERS + DATA_MEMBERS {
                return Err(A::Error::custom(too_many_attributes()));
            }
            if members.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom(bad_attribute(&name, "stands there twice")));
            }
            members.push((name, value));
        }
        Ok(members)
    }
}

type Entry<'de> = (Cow<'de, str>, &'de RawValue);

fn next_entry<'de, A: MapAccess<'de>>(
    entries: &mut A,
) -> std::result::Result<Option<Entry<'de>>, A::Error> {
    let entry = entries.next_entry::<BorrowedText<'de>, &RawValue>()?;
    Ok(entry.map(|(name, value)| (name.0, value)))
}

/// A text that is copied only where it has escapes.
#[derive(serde::Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

fn attribute<'a>(name: Cow<'a, str>, value: &'a RawValue) -> Result<Attribute<'a>> {
    let json = value.get();
    let text = match json.as_bytes().first() {
        Some(b'"') => Some(text_of(value)?),
        _ => is_json_literal(json).then_some(Cow::Borrowed(json)),
    };
    let text = text.ok_or_else(|| bad_attribute(&name, NO_ATTRIBUTE_VALUE))?;
    Ok(Attribute {
        is_literal: !json.starts_with('"'),
        name,
        text,
    })
}

const NO_ATTRIBUTE_VALUE: &str = "is no string, boolean or integer of 32 bits";

fn text_of(value: &RawValue) -> Result<Cow<'_, str>> {
    let text = serde_json::from_str::<BorrowedText<'_>>(value.get());
    text.map(|text| text.0)
        .map_err(|error| not_an_event(&error))
}

fn data_of_json(json: &RawValue, given: Option<&str>) -> Result<CloudEventData> {
    let content_type = given.unwrap_or("application/json");
    let data = match ContentType::trusted(content_type).form() {
        // Copied as it is written, so that numbers keep their digits.
        DataForm::Json => Bytes::copy_from_slice(json.get().as_bytes()),
        // A text in another charset cannot be made of characters here.
        DataForm::Binary if content_type.starts_with("text/") => {
            return Err(not_base64_encoded(content_type));
        }
        DataForm::Text | DataForm::Binary => {
            let text = serde_json::from_str::<String>(json.get()).ok();
            text.ok_or_else(|| not_a_string(content_type))?.into()
        }
    };
    Ok(CloudEventData::Json(data))
}

fn data_of_base64(base64: &RawValue) -> Result<CloudEventData> {
    let text = serde_json::from_str::<BorrowedText<'_>>(base64.get());
    let text = text.map_err(|_| Error::bad_request("data_base64 is no string"))?;
    let data = STANDARD.decode(&*text.0);
    let data = data.map_err(|error| Error::bad_request(format!("data_base64: {error}")))?;
    Ok(CloudEventData::Base64(data.into()))
}

fn not_an_event(error: &serde_json::Error) -> Error {
    Error::bad_request(format!("not a CloudEvent in JSON: {error}"))
}

fn not_a_string(content_type: &str) -> Error {
    Error::bad_request(format!(
        "data of the content type {content_type} has to be a JSON string"
    ))
}

fn not_base64_encoded(content_type: &str) -> Error {
    Error::bad_request(format!(
        "data of the content type {content_type} cannot be a JSON string; give data_base64"
    ))
}
