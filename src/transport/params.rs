//! The parameters of a query string.
//!
//! Invariants:
//! - each parameter is taken by name once; one that nobody took is a bad request, not silently
//!   ignored;
//! - a name or a value without an escape is not copied: most have none.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::state::AppState;
use crate::cursor::shorten;
use crate::error::{Error, Result};

/// As many as most requests have.
const FEW_PARAMS: usize = 4;

/// The parameters of a query string, until they are taken.
pub(crate) struct Params<'q>(SmallVec<[(Cow<'q, str>, Cow<'q, str>); FEW_PARAMS]>);

impl<'q> Params<'q> {
    /// The parameters of a request.
    pub(super) fn of(state: &AppState, query: Option<&'q str>) -> Result<Self> {
        Self::parse(query, &state.config.requests.ignore_parameters)
    }

    /// The parameters but those that are ignored, whose values may be anything.
    pub(crate) fn parse(query: Option<&'q str>, ignored: &[String]) -> Result<Self> {
        let mut params = SmallVec::new();
        for (name, value) in pairs(query.unwrap_or_default()) {
            let name = decode_form(name)?;
            // What is ignored need not even be UTF-8.
            if !ignored.iter().any(|other| *other == name) {
                params.push((name, decode_form(value)?));
            }
        }
        Ok(Params(params))
    }

    /// Every value of a repeatable parameter.
    pub(crate) fn take_all(&mut self, name: &str) -> SmallVec<[Cow<'q, str>; 1]> {
        let mut taken = SmallVec::new();
        self.0.retain(|(other, value)| {
            let is_it = other == name;
            if is_it {
                taken.push(std::mem::take(value));
            }
            !is_it
        });
        taken
    }

    /// The value of a parameter that may be given once; an empty one counts as none.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Cow<'q, str>>> {
        // Looked for before anything is moved: most requests have few of them.
        let is_it = |(other, _): &(Cow<'_, str>, _)| other == name;
        let Some(at) = self.0.iter().position(is_it) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(at);
        match self.0.iter().filter(|param| is_it(param)).count() {
            0 => Ok(Some(value).filter(|value| !value.is_empty())),
            more => Err(repeated(name, more + 1)),
        }
    }

    /// A parameter's value, as it is meant.
    pub(super) fn take_parsed<T, E: AsRef<str>>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: impl FnOnce() -> E,
    ) -> Result<Option<T>> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let value = parse(&text).map(Some);
        value.ok_or_else(|| bad_value(name, &text, expected().as_ref()))
    }

    /// The value that several names stand for; they may be given together if they agree.
    pub(super) fn take_any(&mut self, names: &[&'static str]) -> Result<Option<Cow<'q, str>>> {
        let mut found: Option<(&str, Cow<'q, str>)> = None;
        for name in names {
            match (&found, self.take(name)?) {
                // To prefer one of them would hide a mistake of the client's.
                (Some(first), Some(other)) if first.1 != other => {
                    return Err(contradiction((first.0, &first.1), (name, &other)));
                }
                (None, Some(value)) => found = Some((name, value)),
                _ => {}
            }
        }
        Ok(found.map(|(_, value)| value))
    }

    /// Refuses parameters that were not taken. `_` may be given: old pages add it to get around
    /// caches.
    pub(crate) fn finish(self, known: &str) -> Result<()> {
        match self.0.iter().find(|(name, _)| name != "_") {
            Some((name, _)) => Err(unknown_parameter(name, known)),
            None => Ok(()),
        }
    }
}

/// The names and values as they are written.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query);
    let pairs = std::iter::from_fn(move || {
        let (pair, more) = cut(rest?, b'&');
        rest = more;
        Some(pair)
    });
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = cut(pair, b'=');
        (name, value.unwrap_or_default())
    })
}

/// What stands before a byte of ASCII and, where there is one, what stands behind it.
fn cut(text: &str, at: u8) -> (&str, Option<&str>) {
    let found = memchr(at, text.as_bytes());
    found.map_or((text, None), |found| {
        (&text[..found], Some(&text[found + 1..]))
    })
}

/// Percent-decodes a part of an address.
pub(super) fn decode(text: &str) -> Result<String> {
    // What is decoded is never longer.
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend(percent_decode_str(text));
    // Lossy decoding would publish to another topic than was meant.
    String::from_utf8(decoded).map_err(|_| not_utf8())
}

/// Decodes a name or a value, in which `+` stands for a space.
pub(super) fn decode_form(text: &str) -> Result<Cow<'_, str>> {
    if memchr2(b'+', b'%', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let decoded = match memchr(b'+', text.as_bytes()) {
        Some(_) => decode(&text.replace('+', " ")),
        None => decode(text),
    };
    decoded.map(Cow::Owned)
}

/// A parameter whose value is not one of those that it may have.
pub(super) fn bad_value(name: &str, value: &str, expected: &str) -> Error {
    let value = shorten(value);
    Error::bad_request(format!("{name}={value:?} is {expected}"))
}

fn repeated(name: &str, times: usize) -> Error {
    Error::bad_request(format!(
        "the parameter {name} is given {times} times; give it once"
    ))
}

fn contradiction(first: (&str, &str), second: (&str, &str)) -> Error {
    let (first, second) = (shown(first), shown(second));
    Error::bad_request(format!("{first} and {second} differ; give one of them"))
}

fn shown((name, value): (&str, &str)) -> String {
    format!("{name}={:?}", shorten(value))
}

fn unknown_parameter(name: &str, known: &str) -> Error {
    Error::bad_request(format!(
        "unknown parameter {:?}; this address takes {known}. \
         Those that a proxy adds can be named in requests.ignore_parameters",
        shorten(name)
    ))
}

fn not_utf8() -> Error {
    Error::bad_request("the address is not UTF-8 after percent-decoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_parameters_are_as_good_as_not_there() {
        let ignored = ["token".to_owned(), "a b".to_owned()];
        let query = "token=%ff&token=2&limit=3&a+b=1";
        let mut params = Params::parse(Some(query), &ignored).expect("a query");
        assert_eq!(params.take("limit").expect("one"), Some("3".into()));
        assert!(params.finish("limit").is_ok());
        assert!(Params::parse(Some("other=%ff"), &ignored).is_err());
    }

    #[test]
    fn several_names_of_one_thing_have_to_agree() {
        let any = |query| {
            let mut params = Params::parse(Some(query), &[]).expect("a query");
            params
                .take_any(&["a", "b", "c"])
                .map(|found| found.map(String::from))
                .map_err(|error| error.kind())
        };
        assert_eq!(any(""), Ok(None));
        assert_eq!(any("a=&b="), Ok(None));
        assert_eq!(any("b=7"), Ok(Some("7".to_owned())));
        assert_eq!(any("a=7&b=&c=7"), Ok(Some("7".to_owned())));
        for wrong in ["a=7&c=8", "b=7&b=7", "a=7&b=7&c=8"] {
            assert!(any(wrong).is_err(), "{wrong}");
        }
    }
}
