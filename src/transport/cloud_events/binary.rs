//! CloudEvents whose attributes are headers of the request (CloudEvents 1.0.2, "HTTP Protocol
//! Binding", §3.1).

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;

use super::attributes::{Attribute, Attributes};
use super::event::{CloudEvent, CloudEventData};
use crate::error::{Error, Result};
use crate::transport::publish::given_content_type;

/// What the name of a header begins with that is an attribute.
pub(super) const PREFIX: &str = "ce-";
/// The attribute that is the content type of the request itself.
const CONTENT_TYPE: &str = "datacontenttype";

/// Reads an event from the headers of a request, whose body is its data.
///
/// # Errors
/// A bad request, with what is wrong with it.
pub(super) fn parse<'h>(headers: &'h HeaderMap, data: &[u8]) -> Result<CloudEvent<'h>> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        if let Some(attribute) = name.as_str().strip_prefix(PREFIX) {
            attributes.add(attribute_of(attribute, name, value)?)?;
        }
    }
    if attributes.get(CONTENT_TYPE).is_some() {
        return Err(Error::bad_request(TWICE_CONTENT_TYPE));
    }

    if let Some(content_type) = given_content_type(headers)? {
        attributes.add(Attribute {
            name: CONTENT_TYPE.into(),
            text: content_type.into(),
            is_literal: false,
        })?;
    }
    let data = match data {
        [] => CloudEventData::None,
        // Copied, so that a small event does not keep the connection's whole read buffer in memory.
        data => CloudEventData::Body(Bytes::copy_from_slice(data)),
    };
    Ok(CloudEvent { attributes, data })
}

const TWICE_CONTENT_TYPE: &str =
    "the header ce-datacontenttype cannot be given: the header Content-Type says it";

fn attribute_of<'h>(
    attribute: &'h str,
    name: &HeaderName,
    value: &HeaderValue,
) -> Result<Attribute<'h>> {
    let text = decode(value.as_bytes()).ok_or_else(|| not_utf8(name))?;
    Ok(Attribute {
        name: attribute.into(),
        text: text.into(),
        is_literal: false,
    })
}

/// Takes off quotation marks, which older senders put around a text, and then the percent-encoding.
fn decode(value: &[u8]) -> Option<String> {
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let unescaped = quoted.map(unescape);
    let plain = unescaped.as_deref().unwrap_or(value);
    String::from_utf8(percent_decode(plain).collect()).ok()
}

/// A backslash stands for what follows it.
fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut bytes = quoted.iter().copied();
    std::iter::from_fn(|| match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
    .collect()
}

fn not_utf8(name: &HeaderName) -> Error {
    Error::bad_request(format!(
        "the header {name} is not UTF-8 after percent-decoding"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_unquoted_and_then_decoded_once() {
        for (value, text) in [
            (&b"Euro%20%E2%82%AC%20%F0%9F%98%80"[..], "Euro € 😀"),
            (b"%2541", "%41"),
            (b"100%", "100%"),
            (b"\"a \\\"b\\\" %63\"", "a \"b\" c"),
            (b"\"", "\""),
            (b"\"\"", ""),
            ("ü".as_bytes(), "ü"),
        ] {
            assert_eq!(decode(value).as_deref(), Some(text), "{value:?}");
        }
        assert_eq!(decode(b"%C0%A0"), None, "an overlong space");
        assert_eq!(decode(b"\xff"), None);
    }
}
