//! Where in a sorted list of topics those can stand that a pattern takes in.
//!
//! Invariants:
//! - no topic that matches stands between a text and the place that is given for it;
//! - places are in the order of bytes, in which SQLite and `str` sort.

use super::{Filter, Pattern};

/// Follows every text that begins with a token and a dot: no byte lies between `.` and `/`.
const BEHIND_DOT: char = '/';

impl Filter {
    /// The first place, from this text on, at which a topic may stand that the filter takes in;
    /// none where no such topic follows.
    pub(crate) fn first_place_from(&self, text: &str) -> Option<String> {
        let places = self.patterns().iter();
        places
            .filter_map(|pattern| pattern.first_place_from(text))
            .min()
    }
}

impl Pattern {
    fn first_place_from(&self, text: &str) -> Option<String> {
        let (mut wanted, mut rest) = (self.text.split('.').peekable(), text);
        loop {
            let before = &text[..text.len() - rest.len()];
            let Some(want) = wanted.next() else {
                // Longer than the pattern, as is every topic that begins with all of its tokens.
                return behind(before);
            };
            if want == ">" {
                return Some(text.to_owned());
            }
            let (token, longer) = rest
                .split_once('.')
                .map_or((rest, None), |(t, r)| (t, Some(r)));
            if want != "*" && want != token {
                let is_last = wanted.peek().is_none();
                return place_of(before, want, is_last, text);
            }
            match longer {
                Some(longer) => rest = longer,
                // A match, or shorter than one: longer ones follow, others of its tokens before.
                None => return Some(text.to_owned()),
            }
        }
    }
}

/// The place of the topics that have these tokens and then this one, if it is behind the text;
/// otherwise the place behind all that have these tokens.
fn place_of(before: &str, token: &str, is_last: bool, text: &str) -> Option<String> {
    let place = [before, token, if is_last { "" } else { "." }].concat();
    if place.as_str() > text {
        return Some(place);
    }
    behind(before)
}

/// The place behind all topics that begin with these tokens, each with its dot; none where that is
/// every topic.
fn behind(tokens: &str) -> Option<String> {
    let without_dot = tokens.strip_suffix('.')?;
    Some(format!("{without_dot}{BEHIND_DOT}"))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    #[test]
    fn what_cannot_match_is_passed_over() {
        let cases = [
            ("*.7", "a.1", Some("a.7")),
            ("*.7", "a.7", Some("a.7")),
            ("*.7", "a.8", Some("a/")),
            ("*.7", "a.7.x", Some("a.7/")),
            ("a.b.>", "", Some("a.")),
            ("a.b.>", "a.b.c", Some("a.b.c")),
            ("a.b.>", "a.c", Some("a/")),
            ("a.b.>", "b", None),
            ("a.b", "a.b.c", Some("a.b/")),
            ("*.b", "a", Some("a")),
        ];
        for (pattern, text, place) in cases {
            let found = Pattern::trusted(pattern).first_place_from(text);
            assert_eq!(found.as_deref(), place, "{pattern} from {text}");
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 1000, failure_persistence: None, ..Config::default() })]

        #[test]
        fn no_topic_that_matches_is_passed_over(
            patterns in vec("(a|b|a-|\\*)(\\.(a|b|a-|\\*)){0,3}(\\.>)?|>", 1..4),
            topics in btree_set("(a|b|a-|a/|a0)(\\.(a|b|a-|a/|c)){0,4}", 1..30),
            text in "|(a|b|a-|a/)(\\.(a|b|a-|a/|c)){0,3}(\\.|\0)?",
        ) {
            let filter = Filter::parse(patterns.iter().map(String::as_str)).expect("a filter");
            let place = filter.first_place_from(&text);
            if let Some(place) = &place {
                prop_assert!(*place >= text, "{place} is before {text}");
            }
            for topic in topics.range(text..) {
                if filter.patterns().iter().any(|pattern| pattern.matches(topic)) {
                    prop_assert!(place.as_ref().is_some_and(|p| p <= topic), "{topic} {place:?}");
                }
            }
        }
    }
}
