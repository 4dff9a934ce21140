//! Topics and the filters that choose among them (contract §1).
//!
//! Invariants:
//! - a [`Topic`] is valid for as long as it exists, so nobody checks it twice;
//! - a topic of the gateway's own (`vidette.…`) is matched only by a pattern that names that first
//!   token.

mod filter;
mod index;
mod order;
mod overlap;
mod own;

use std::fmt;
use std::sync::Arc;

use crate::cursor::shorten;
use crate::error::{Error, Result};
use crate::limits::{MAX_TOPIC_BYTES, MAX_TOPIC_TOKENS};

pub use filter::Filter;
pub(crate) use index::PatternIndex;
use index::Shape;

/// What the gateway's own topics begin with.
const OWN_PREFIX: &str = "vidette.";

const WILDCARDS: [char; 2] = ['*', '>'];

/// A valid topic without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// A topic that a publisher may publish to.
    ///
    /// # Errors
    /// A bad request when the text breaks a rule of contract §1 or the topic is the gateway's own.
    pub fn for_publisher(text: &str) -> Result<Self> {
        check(text)?;
        if text.contains(WILDCARDS) {
            return Err(bad_topic(text, WILDCARD_IN_TOPIC));
        }
        if text.starts_with(OWN_PREFIX) {
            return Err(own_topic());
        }
        Ok(Topic(text.into()))
    }

    /// A topic that this bus has checked before, as an engine reads it back.
    pub fn trusted(text: &str) -> Self {
        Topic(text.into())
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules that topics and patterns share.
fn check(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::bad_request(EMPTY_TOPIC));
    }
    if text.len() > MAX_TOPIC_BYTES {
        let why = format!("is longer than {MAX_TOPIC_BYTES} bytes");
        return Err(bad_topic(text, &why));
    }
    // Bounded by now, so that what follows cannot take long.
    let (mut tokens, mut before) = (0, b'.');
    for byte in text.bytes().chain([b'.']) {
        if byte == b'.' {
            if before == b'.' {
                return Err(bad_topic(text, EMPTY_TOKEN));
            }
            tokens += 1;
        }
        before = byte;
    }
    if tokens > MAX_TOPIC_TOKENS {
        let why = format!("has more than {MAX_TOPIC_TOKENS} tokens");
        return Err(bad_topic(text, &why));
    }
    if has_white_space(text) {
        return Err(bad_topic(text, WHITE_SPACE));
    }
    Ok(())
}

/// Has it white space or a control character?
fn has_white_space(text: &str) -> bool {
    // Most topics are ASCII, of which whole words are looked at together.
    if text.is_ascii() {
        return text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    }
    text.chars().any(|c| c.is_whitespace() || c.is_control())
}

const EMPTY_TOPIC: &str =
    "the topic is empty; it is made of tokens with dots between them, as door.3.opened";
const EMPTY_TOKEN: &str = "has an empty token; tokens have one dot between them";
const WHITE_SPACE: &str = "has white space or a control character";
const WILDCARD_IN_TOPIC: &str = "has a wildcard; events are published to one topic";

fn bad_topic(text: &str, why: &str) -> Error {
    let text = shorten(text);
    Error::bad_request(format!("the topic {text:?} {why}"))
}

fn own_topic() -> Error {
    Error::bad_request(format!(
        "topics that begin with {OWN_PREFIX} belong to the gateway; choose another first token"
    ))
}

/// One topic of a filter, exact or with wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    text: Arc<str>,
    shape: Shape,
}

impl Pattern {
    /// Parses `door.3`, `door.*.opened` or `door.>`.
    ///
    /// # Errors
    /// A bad request when the text is no topic or a wildcard is not a token of its own.
    pub fn parse(text: &str) -> Result<Self> {
        check(text)?;
        // A topic without wildcards needs no look at its tokens.
        if memchr::memchr2(b'*', b'>', text.as_bytes()).is_some() {
            let mut tokens = text.split('.').peekable();
            while let Some(token) = tokens.next() {
                let is_last = tokens.peek().is_none();
                check_token(token, is_last).map_err(|why| bad_pattern(text, why))?;
            }
        }
        Ok(Self::trusted(text))
    }

    /// A pattern that is known to be valid.
    fn trusted(text: &str) -> Self {
        Pattern {
            text: text.into(),
            shape: Shape::of(text),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one topic it stands for, when it has no wildcard.
    pub fn exact(&self) -> Option<&str> {
        (!self.shape.has_wildcard()).then_some(&*self.text)
    }

    /// What every topic it matches begins with; whole tokens, with the dot behind them.
    pub fn literal_prefix(&self) -> &str {
        let tokens = self.text.split_inclusive('.');
        let is_literal = |token: &&str| !token.starts_with(WILDCARDS);
        let length = tokens.take_while(is_literal).map(str::len).sum();
        &self.text[..length]
    }

    /// Does this pattern take in the topic?
    pub fn matches(&self, topic: &str) -> bool {
        // Without a wildcard it is itself a topic, and no tokens have to be split.
        if !self.shape.has_wildcard() {
            return *self.text == *topic;
        }
        // The gateway's own topics have to be named.
        if topic.starts_with(OWN_PREFIX) && !self.text.starts_with(OWN_PREFIX) {
            return false;
        }
        self.tokens_match(topic)
    }

    fn tokens_match(&self, topic: &str) -> bool {
        let mut tokens = topic.split('.');
        for pattern in self.text.split('.') {
            match (pattern, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                _ => return false,
            }
        }

        // Without a last `>` the pattern takes in no longer topic.
        tokens.next().is_none()
    }

    /// Does this pattern take in every topic that the other one takes in?
    pub fn covers(&self, other: &Pattern) -> bool {
        // The gateway's own topics are taken in by name only.
        if other.text.starts_with(OWN_PREFIX) && !self.text.starts_with(OWN_PREFIX) {
            return false;
        }
        let mut theirs = other.text.split('.');
        for ours in self.text.split('.') {
            match (ours, theirs.next()) {
                (">", Some(_)) => return true,
                // One token, where the other stands for one or more.
                ("*", Some(">")) => return false,
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }
}

/// A wildcard is a whole token, and `>` is the last.
fn check_token(token: &str, is_last: bool) -> std::result::Result<(), &'static str> {
    match token {
        "*" => Ok(()),
        ">" if is_last => Ok(()),
        ">" => Err(REST_IS_NOT_LAST),
        _ if token.contains(WILDCARDS) => Err(WILDCARD_IN_TOKEN),
        _ => Ok(()),
    }
}

const REST_IS_NOT_LAST: &str = "the wildcard > is not the last token";
const WILDCARD_IN_TOKEN: &str = "a wildcard is part of a token; * and > stand for whole tokens";

fn bad_pattern(text: &str, why: &str) -> Error {
    let text = shorten(text);
    Error::bad_request(format!("in the topic {text:?} {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(topic)
    }

    proptest! {
        #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

        #[test]
        fn what_a_covered_pattern_matches_the_covering_one_matches(
            ours in "(vidette|a|b|\\*)(\\.(a|b|\\*)){0,2}(\\.>)?",
            theirs in "(vidette|a|b|\\*)(\\.(a|b|\\*)){0,2}(\\.>)?",
            topic in "(vidette|a|b)(\\.(a|b)){0,3}",
        ) {
            let parse = |text: &str| Pattern::parse(text).expect("a pattern");
            let (ours, theirs) = (parse(&ours), parse(&theirs));
            if ours.covers(&theirs) && theirs.matches(&topic) {
                prop_assert!(ours.matches(&topic), "{ours:?} {theirs:?} {topic}");
            }
        }
    }

    #[test]
    fn a_star_stands_for_one_token_and_an_arrow_for_one_or_more() {
        assert!(matches("door.3.opened", "door.3.opened"));
        assert!(matches("door.*.opened", "door.3.opened"));
        assert!(matches("door.>", "door.3"));
        assert!(matches("door.>", "door.3.opened"));
        assert!(matches("*.*", "door.3"));
        assert!(!matches("door.>", "door"));
        assert!(!matches("door.*", "door.3.opened"));
        assert!(!matches("door.*", "door"));
        assert!(!matches("door", "doors"));
    }

    #[test]
    fn the_gateways_own_topics_are_matched_only_by_name() {
        assert!(!matches(">", "vidette.dead"));
        assert!(!matches("*.dead", "vidette.dead"));
        assert!(matches("vidette.>", "vidette.dead"));
        assert!(matches(">", "vidette"));
    }

    #[test]
    fn the_literal_prefix_ends_before_the_first_wildcard() {
        for (pattern, prefix) in [
            ("door.3", "door.3"),
            ("door.*", "door."),
            (">", ""),
            ("a.b.>", "a.b."),
            ("a.*.c", "a."),
        ] {
            assert_eq!(
                Pattern::parse(pattern).expect(pattern).literal_prefix(),
                prefix
            );
        }
    }

    #[test]
    fn bad_topics_are_refused() {
        let long = "x".repeat(256);
        let deep = vec!["a"; 17].join(".");
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a\tb",
            "a\u{3000}b",
            "a\u{7f}b",
            "a.*",
            ">",
            "a*",
            "vidette.x",
            &long,
            &deep,
        ] {
            assert!(
                Topic::for_publisher(text).is_err(),
                "{text:?} was taken for a topic"
            );
        }
        for text in ["a.>.b", "a*.b", ">>", "a.b>"] {
            assert!(
                Pattern::parse(text).is_err(),
                "{text:?} was taken for a pattern"
            );
        }
    }

    #[test]
    fn any_script_may_be_used_in_a_topic() {
        assert!(Topic::for_publisher("门.三.🚪").is_ok());
    }

    #[test]
    fn a_filter_of_no_topics_takes_in_all() {
        let none: [&str; 0] = [];
        assert_eq!(Filter::parse(none).expect("no topics"), Filter::all());
    }

    /// Contract §1, read a second time.
    fn tokens_match(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) | ([">"], [_, ..]) => true,
            ([p, pattern @ ..], [t, topic @ ..]) => {
                (*p == "*" || p == t) && tokens_match(pattern, topic)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_pattern_takes_in_what_the_contract_says(
            pattern in "(a|b|vidette|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?|>",
            topic in "(a|b|vidette)(\\.(a|b)){0,4}",
        ) {
            let pattern_tokens: Vec<&str> = pattern.split('.').collect();
            let topic_tokens: Vec<&str> = topic.split('.').collect();
            let is_hidden = topic.starts_with(OWN_PREFIX) && pattern_tokens[0] != "vidette";
            let expected = !is_hidden && tokens_match(&pattern_tokens, &topic_tokens);
            prop_assert_eq!(matches(&pattern, &topic), expected);
            let pattern = Pattern::parse(&pattern).expect("a pattern");
            let prefix = pattern.literal_prefix();
            prop_assert!(!expected || topic.starts_with(prefix), "{} is no prefix", prefix);
        }
    }
}
