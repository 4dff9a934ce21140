//! Valid JSON that common readers cannot parse (contract §5).
//!
//! PHP and Python parse no deeper than some hundred levels, and an escape of half a surrogate pair
//! is not valid Unicode: a reader fails on it, and on the same event again after each reconnect.
//! Invariants:
//! - one pass over the bytes, without recursion and without memory of its own;
//! - callers have found the JSON to be valid; with any other bytes it ends without a panic.

use std::fmt;

use memchr::memchr2;

use crate::limits::MAX_JSON_DEPTH;

/// Why JSON is refused, and the offset of the byte where that shows, from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UnreadableJson {
    TooDeep { at: usize },
    UnpairedSurrogate { at: usize },
}

impl fmt::Display for UnreadableJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnreadableJson::TooDeep { at } => write!(
                f,
                "is nested deeper than {MAX_JSON_DEPTH} levels at byte {at}, \
                 which common readers cannot parse"
            ),
            UnreadableJson::UnpairedSurrogate { at } => write!(
                f,
                "has an escape of an unpaired surrogate at byte {at}, which is not valid Unicode"
            ),
        }
    }
}

/// Looks for what common readers cannot parse.
///
/// # Errors
/// The first such thing.
pub(super) fn check(json: &[u8]) -> Result<(), UnreadableJson> {
    // Most events are so short that they cannot be deep, and have no escape.
    if json.len() <= 2 * MAX_JSON_DEPTH && !json.contains(&b'\\') {
        return Ok(());
    }

    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = json.get(at) {
        match byte {
            // Brackets inside a string are text.
            b'"' => {
                at = check_string(json, at + 1)?;
                continue;
            }
            b'[' | b'{' if depth == MAX_JSON_DEPTH => {
                return Err(UnreadableJson::TooDeep { at });
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Takes the offset behind a string's opening quote; gives the one behind its closing quote.
fn check_string(json: &[u8], mut at: usize) -> Result<usize, UnreadableJson> {
    // Only a quote or an escape matters here, so that the text between is skipped fast.
    while let Some(found) = memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        if json[at] == b'"' {
            return Ok(at + 1);
        }
        at += escape_bytes(json, at)?;
    }

    // No closing quote, so this is no JSON: there is nothing left to look at.
    Ok(json.len())
}

/// The length of the escape that stands here: that of both, for a pair of surrogates.
fn escape_bytes(json: &[u8], at: usize) -> Result<usize, UnreadableJson> {
    let unpaired = Err(UnreadableJson::UnpairedSurrogate { at });
    match escaped_unit(json, at) {
        // The first half of a pair needs the second one right behind it.
        Some(0xd800..=0xdbff) => match escaped_unit(json, at + 6) {
            Some(0xdc00..=0xdfff) => Ok(12),
            _ => unpaired,
        },
        Some(0xdc00..=0xdfff) => unpaired,
        Some(_) => Ok(6),
        None => Ok(2),
    }
}

/// The UTF-16 code unit of a `\uXXXX` that stands here.
fn escaped_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    #[test]
    fn a_depth_up_to_the_bound_is_taken() {
        let nested =
            |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2), "[".repeat(depth % 2));
        assert_eq!(check(nested(MAX_JSON_DEPTH).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(MAX_JSON_DEPTH + 1).as_bytes()),
            Err(UnreadableJson::TooDeep {
                at: MAX_JSON_DEPTH / 2 * 6
            })
        );
        let siblings = format!("[{}[]]", "[],{},".repeat(1000));
        assert_eq!(check(siblings.as_bytes()), Ok(()));
        let in_text = format!("\"{}\"", "[{".repeat(1000));
        assert_eq!(check(in_text.as_bytes()), Ok(()));
    }

    #[test]
    fn only_unpaired_surrogates_are_refused() {
        for taken in [
            r#""\ud83d\ude00""#,
            r#""\uD83D\uDE00 \u0000 \ud7ff \ue000""#,
            r#""\\ud800""#,
            r#"{"\\":"\\\\ud800"}"#,
        ] {
            assert_eq!(check(taken.as_bytes()), Ok(()), "{taken}");
        }
        for (refused, at) in [
            (r#""\ud800""#, 1),
            (r#""ab\udfff""#, 3),
            (r#""\ud800\ud800\udc00""#, 1),
            (r#""\ud83d \ude00""#, 1),
            (r#""\ud83d\n\ude00""#, 1),
            (r#"["\ud83d\ude00\ude00"]"#, 14),
            (r#"{"\udbff":1}"#, 2),
            (r#""\\\udc00""#, 3),
        ] {
            let unreadable = Err(UnreadableJson::UnpairedSurrogate { at });
            assert_eq!(check(refused.as_bytes()), unreadable, "{refused}");
        }
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        /// What serde makes a text of has no half of a pair, and the other way round.
        #[test]
        fn strings_are_judged_as_a_parser_judges_them(
            text in "(a|\\\\\\\\|\\\\n|\\\\\"|\\\\u[dD][89abcdefCDEF][0-9a]{2}|\\\\u00e9){0,8}",
        ) {
            let json = format!("\"{text}\"");
            let is_text = serde_json::from_str::<String>(&json).is_ok();
            prop_assert_eq!(check(json.as_bytes()).is_ok(), is_text, "{}", json);
        }

        #[test]
        fn it_stops_within_any_bytes(
            bytes in any::<Vec<u8>>(),
            text in "[\\\\u\"d8{}\\[\\]0-9]{0,40}",
        ) {
            let _ = check(&bytes);
            let _ = check(text.as_bytes());
        }
    }
}
