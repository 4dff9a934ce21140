//! JSON lists and maps that are counted while they are read.
//!
//! Two bytes of JSON can stand for a hundred in memory. Invariant: nothing is made of elements over
//! the bound, or behind the first element that is wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::too_many_headers;
use crate::limits::{MAX_BATCH_EVENTS, MAX_HEADERS};

/// Reads the elements of a JSON array, at most `max_elements`. `read` gets each with its index.
///
/// # Errors
/// What `read` says of the first element that is wrong; too large for more elements; what
/// `not_json` makes of a text that is no array.
pub(super) fn read_elements<T>(
    json: &[u8],
    max_elements: usize,
    read: impl FnMut(usize, &RawValue) -> Result<T>,
    not_json: impl FnOnce(serde_json::Error) -> Error,
) -> Result<Vec<T>> {
    let mut refused = None;
    let elements = ElementsVisitor {
        max_elements,
        read,
        refused: &mut refused,
    };
    // Serde's visitor cannot return our error, so it leaves it in `refused`.
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let taken = deserializer.deserialize_seq(elements);
    // Nothing may follow the array.
    let taken = taken.and_then(|taken| deserializer.end().map(|()| taken));
    taken.map_err(|error| refused.unwrap_or_else(|| not_json(error)))
}

/// More events than a batch may have, in JSON and in protobuf.
pub(super) fn too_many_events() -> Error {
    Error::too_large(format!(
        "the batch has more than {MAX_BATCH_EVENTS} events; send fewer at once"
    ))
}

struct ElementsVisitor<'r, R> {
    max_elements: usize,
    read: R,
    /// The reason for ending, when the JSON itself is right.
    refused: &'r mut Option<Error>,
}

impl<'de, T, R: FnMut(usize, &RawValue) -> Result<T>> Visitor<'de> for ElementsVisitor<'_, R> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        mut self,
        mut elements: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut taken = Vec::new();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let element = self.take(taken.len(), element);
            // Serde's error only ends the reading; ours is the one that is answered.
            taken.push(element.map_err(|error| {
                *self.refused = Some(error);
                A::Error::custom("an element was refused")
            })?);
        }
        Ok(taken)
    }
}

impl<T, R: FnMut(usize, &RawValue) -> Result<T>> ElementsVisitor<'_, R> {
    fn take(&mut self, index: usize, element: &RawValue) -> Result<T> {
        if index == self.max_elements {
            return Err(too_many_events());
        }
        (self.read)(index, element)
    }
}

/// Reads an event's headers, at most so many as it may have.
pub(super) fn read_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_map(HeadersVisitor)
}

/// A text, copied only where it has escapes.
type Text<'de> = Cow<'de, str>;

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut entries: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<Text<'de>, Text<'de>>()? {
            // A name that comes twice is one header, with the last value.
            headers.insert(name.into_owned(), value.into_owned());
            if headers.len() > MAX_HEADERS {
                return Err(A::Error::custom(too_many_headers()));
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn numbers(json: &str) -> Result<Vec<u32>> {
        let read = |index, element: &RawValue| {
            let number = element.get().parse();
            number.map_err(|_| Error::bad_request(format!("element {index}")))
        };
        let not_json = |error| Error::internal(format!("no array: {error}"));
        read_elements(json.as_bytes(), 3, read, not_json)
    }

    #[test]
    fn an_array_is_read_up_to_its_bound() {
        assert!(numbers("[]").expect("an array").is_empty());
        assert_eq!(numbers(" [1, 2,3] ").expect("an array"), [1, 2, 3]);
        let kind = |json| numbers(json).expect_err(json).kind();
        assert_eq!(kind("[1,2,3,4]"), ErrorKind::TooLarge);
        assert_eq!(
            kind("[1,2,3,4,"),
            ErrorKind::TooLarge,
            "what follows is not read"
        );
        assert_eq!(kind("[1,x]"), ErrorKind::Internal);
        assert_eq!(kind("[1] 2"), ErrorKind::Internal);
        let wrong = numbers("[1,\"a\",{").expect_err("an element");
        assert_eq!(wrong.to_string(), "element 1");
    }

    #[test]
    fn headers_are_read_up_to_their_bound() {
        let object = |count| {
            let fields: Vec<_> = (0..count).map(|n| format!("\"{n}\":\"\"")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let read = |json: &str| read_headers(&mut serde_json::Deserializer::from_str(json));
        let most = read(&object(MAX_HEADERS)).expect("as many as may be");
        assert_eq!(most.len(), MAX_HEADERS);
        let error = read(&object(MAX_HEADERS + 1)).expect_err("too many");
        assert!(
            error.to_string().starts_with("more than 32 headers"),
            "{error}"
        );
    }
}
