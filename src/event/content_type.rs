//! Media types, and how the data of each is shown (contract §5).
//!
//! Invariants:
//! - data whose type says JSON is JSON that common readers can parse;
//! - data whose type says UTF-8 text is UTF-8.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::json_check;
use crate::error::{Error, Result};
use crate::limits::MAX_CONTENT_TYPE_BYTES;

const JSON: &str = "application/json";
const PLAIN_TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";
/// Those that most events have.
const COMMON: [&str; 3] = [JSON, PLAIN_TEXT, BYTES];

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
pub struct ContentType(TypeName);

/// Invariant: a common one is never an other one, so that equal names are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TypeName {
    /// Events share its text.
    Common(&'static str),
    Other(Arc<str>),
}

impl ContentType {
    /// Takes the publisher's content type, or finds one that fits the data where none was given.
    ///
    /// # Errors
    /// A bad request when the type is too long, or when the data is not of the JSON or text type
    /// that it should be, or is JSON that common readers cannot parse.
    pub fn for_data(given: Option<&str>, data: &[u8]) -> Result<Self> {
        match given.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Self::checked(text, data),
            None if is_json(data) => {
                // Refused where readers would fail on it; a publisher can still call it text.
                check_readable(data)?;
                Ok(Self::trusted(JSON))
            }
            None => Ok(Self::trusted(text_or_bytes(data))),
        }
    }

    /// A content type that fits the data, whatever it is. JSON that common readers cannot parse
    /// counts as text, so that they get it as a string.
    pub fn of(data: &[u8]) -> Self {
        if is_json(data) && json_check::check(data).is_ok() {
            Self::trusted(JSON)
        } else {
            Self::trusted(text_or_bytes(data))
        }
    }

    fn checked(text: &str, data: &[u8]) -> Result<Self> {
        if text.len() > MAX_CONTENT_TYPE_BYTES || text.chars().any(char::is_control) {
            return Err(bad_content_type());
        }

        // Readers are promised that the data is what the type says.
        let content_type = Self::trusted(text);
        match content_type.form() {
            DataForm::Json => check_json(data)?,
            DataForm::Text if std::str::from_utf8(data).is_err() => return Err(not_utf8(text)),
            DataForm::Text | DataForm::Binary => {}
        }
        Ok(content_type)
    }

    /// A content type that this bus has checked before, as an engine reads it back.
    pub fn trusted(text: &str) -> Self {
        let common = COMMON.into_iter().find(|common| *common == text);
        ContentType(common.map_or_else(|| TypeName::Other(text.into()), TypeName::Common))
    }

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            TypeName::Common(text) => text,
            TypeName::Other(text) => text,
        }
    }

    /// How data of this type is shown in JSON.
    pub fn form(&self) -> DataForm {
        let name = self.as_str();
        // The parameters matter only for text: they may name its charset.
        let (essence, parameters) = name.split_once(';').unwrap_or((name, ""));
        let essence = essence.trim();
        if is_json_type(essence) {
            DataForm::Json
        } else if is_text_type(essence) && is_utf8_charset(parameters) {
            DataForm::Text
        } else {
            DataForm::Binary
        }
    }
}

fn is_json_type(essence: &str) -> bool {
    // RFC 6839 §3.1: a type with this suffix is JSON, whatever it is for.
    let is_named = [JSON, "text/json"]
        .iter()
        .any(|name| essence.eq_ignore_ascii_case(name));
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    is_named || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

fn is_text_type(essence: &str) -> bool {
    let main_type = essence.split_once('/').map(|(main_type, _)| main_type);
    main_type.is_some_and(|main_type| main_type.eq_ignore_ascii_case("text"))
}

/// Is text with these parameters in UTF-8, as it is where they name no charset?
fn is_utf8_charset(parameters: &str) -> bool {
    let named = parameters.split(';').find_map(charset);
    // US-ASCII is a part of UTF-8, so text in it can be shown as it is.
    let is_utf8 = |name: &str| {
        ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|utf8| name.eq_ignore_ascii_case(utf8))
    };
    named.is_none_or(is_utf8)
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.trim().split_once('=')?;

    // The value may stand in quotes (RFC 9110 §5.6.6).
    name.eq_ignore_ascii_case("charset")
        .then(|| value.trim_matches('"'))
}

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(data).is_ok()
}

fn text_or_bytes(data: &[u8]) -> &'static str {
    if std::str::from_utf8(data).is_ok() {
        PLAIN_TEXT
    } else {
        BYTES
    }
}

fn check_json(data: &[u8]) -> Result<()> {
    serde_json::from_slice::<&RawValue>(data).map_err(|error| not_json(&error))?;
    check_readable(data)
}

fn check_readable(json: &[u8]) -> Result<()> {
    json_check::check(json).map_err(|unreadable| {
        Error::bad_request(format!(
            "the JSON data {unreadable}; change it, or send it as text/plain"
        ))
    })
}

fn bad_content_type() -> Error {
    Error::bad_request(format!(
        "the content type is longer than {MAX_CONTENT_TYPE_BYTES} bytes or has a control character"
    ))
}

fn not_utf8(content_type: &str) -> Error {
    Error::bad_request(format!(
        "the data is not UTF-8 although its content type is {content_type}; \
         name its charset, or send application/octet-stream"
    ))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::bad_request(format!("the data is not valid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
