//! The attributes of a CloudEvent, whichever way they came (CloudEvents 1.0.2, "Context
//! Attributes").
//!
//! Invariants:
//! - an attribute that is kept has a name and a text that the specification allows, and stands
//!   once;
//! - there are at most as many as an event has headers, so a short text cannot stand for much.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::cursor::shorten;
use crate::error::{Error, Result};
use crate::limits::MAX_HEADERS;

/// An attribute as it came.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) name: Cow<'a, str>,
    /// Its canonical text.
    pub(super) text: Cow<'a, str>,
    /// In JSON it is a number or a boolean, and no string.
    pub(super) is_literal: bool,
}

/// The attributes of one event, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    /// Adds an attribute.
    ///
    /// # Errors
    /// A bad request that names it.
    pub(super) fn add(&mut self, attribute: Attribute<'a>) -> Result<()> {
        let Attribute { name, text, .. } = &attribute;
        if !is_attribute_name(name) {
            return Err(bad_name(name));
        }
        if text.chars().any(is_disallowed) {
            return Err(bad_attribute(name, "has a control character"));
        }
        if self.get(name).is_some() {
            return Err(bad_attribute(name, "stands there twice"));
        }
        if self.0.len() == MAX_HEADERS {
            return Err(too_many_attributes());
        }
        self.0.push(attribute);
        Ok(())
    }

    /// The text of an attribute, where the event has it.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|attribute| attribute.name == name);
        named.next().map(|attribute| &*attribute.text)
    }

    /// The text of an attribute that every event has.
    fn required(&self, name: &str) -> Result<&str> {
        let text = self.get(name).filter(|text| !text.is_empty());
        text.ok_or_else(|| missing(name))
    }

    /// Checks what every event has to have, and gives that.
    ///
    /// # Errors
    /// A bad request that names the attribute.
    pub(super) fn check(&self) -> Result<Required<'_>> {
        check_version(self.required("specversion")?)?;
        let mut literals = self.0.iter().filter(|one| one.is_literal);
        if let Some(wrong) = literals.find(|one| STRINGS.contains(&&*one.name)) {
            return Err(bad_attribute(&wrong.name, "is no string"));
        }
        if let Some(time) = self.get("time").filter(|time| !is_rfc3339(time)) {
            let why = format!("is {:?}, which is no RFC 3339 time", shorten(time));
            return Err(bad_attribute("time", &why));
        }
        Ok(Required {
            id: self.required("id")?,
            source: self.required("source")?,
            kind: self.required("type")?,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.0.iter()
    }
}

/// Attributes of the specification itself, all of which are texts.
pub(super) const STRINGS: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
];

/// What every event has.
pub(super) struct Required<'e> {
    pub(super) id: &'e str,
    pub(super) source: &'e str,
    pub(super) kind: &'e str,
}

/// May an attribute have this name?
pub(super) fn is_attribute_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    // Some formats have the data beside the attributes.
    !name.is_empty() && name != "data" && name.bytes().all(is_allowed)
}

/// Does this text stand in JSON as it is: a boolean, or a number of 32 bits?
pub(super) fn is_json_literal(text: &str) -> bool {
    // `+5` would be read here, and is no JSON.
    let is_number = || text.parse::<i32>().is_ok() && !text.starts_with('+');
    let has_no_zeros = || !text.trim_start_matches('-').starts_with('0') || text.len() == 1;
    matches!(text, "true" | "false") || is_number() && has_no_zeros()
}

/// Control characters, and what Unicode calls noncharacters.
fn is_disallowed(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// `1.` with a number behind it: a reader of 1.0 understands what follows.
fn check_version(version: &str) -> Result<()> {
    let minor = version.strip_prefix("1.").unwrap_or_default();
    let is_number = !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_number {
        return Ok(());
    }
    let why = format!("is {:?}; 1.0 is taken, and later 1.x", shorten(version));
    Err(bad_attribute("specversion", &why))
}

fn is_rfc3339(text: &str) -> bool {
    // The library takes other forms, too; this one has its signs at these places.
    let bytes = text.as_bytes();
    let stands = |at: usize, sign: u8| bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&sign));
    let signs = [(4, b'-'), (7, b'-'), (10, b't'), (13, b':'), (16, b':')];
    let has_signs = signs.iter().all(|(at, sign)| stands(*at, *sign));
    has_signs && !text.contains(['[', ',']) && text.parse::<Timestamp>().is_ok()
}

fn bad_name(name: &str) -> Error {
    let name = shorten(name);
    Error::bad_request(format!(
        "{name:?} is no name of an attribute: those have lower-case letters and digits alone"
    ))
}

/// What is wrong with an attribute.
pub(super) fn bad_attribute(name: &str, why: &str) -> Error {
    let name = shorten(name);
    Error::bad_request(format!("the attribute {name} {why}"))
}

fn missing(name: &str) -> Error {
    Error::bad_request(format!(
        "the attribute {name} is missing or empty; every CloudEvent has id, source, type and \
         specversion, as members of its object or as headers ce-id, ce-source, …"
    ))
}

/// More attributes than there may be headers.
pub(super) fn too_many_attributes() -> Error {
    Error::bad_request(format!("more than {MAX_HEADERS} attributes"))
}
