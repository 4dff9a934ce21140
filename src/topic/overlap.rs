//! Patterns and filters as sets of topics: what lies within what, and what two have in common.
//!
//! Invariants:
//! - the overlap of two patterns is one pattern, or nothing; a topic matches it exactly if it
//!   matches both;
//! - coverage is exact: as topics are bounded, a pattern lies within a filter if and only if each
//!   topic that it takes in does;
//! - the work is bounded by the product of two filters' patterns, which are bounded themselves.

use std::collections::BTreeMap;

use super::{Filter, OWN_PREFIX, Pattern};
use crate::error::{Error, Result};
use crate::limits::{MAX_FILTER_TOPICS, MAX_TOPIC_BYTES, MAX_TOPIC_TOKENS};

impl Pattern {
    /// The topics that this pattern and the other one both take in; none where there are none.
    pub fn overlap(&self, other: &Pattern) -> Option<Pattern> {
        // The gateway's own topics are taken in by name only, and such a name takes in no others.
        if self.text.starts_with(OWN_PREFIX) != other.text.starts_with(OWN_PREFIX) {
            return None;
        }
        let text = common_tokens(&self.text, &other.text)?.join(".");
        // A topic is at least as long as the pattern that it matches.
        (text.len() <= MAX_TOPIC_BYTES).then(|| Pattern::trusted(&text))
    }

    /// How many of its tokens say which they are.
    fn literals(&self) -> usize {
        let tokens = self.text.split('.');
        tokens.filter(|token| !is_wildcard(token)).count()
    }

    /// Patterns in the order of these places come behind those that cover them.
    fn breadth(&self) -> (usize, usize, bool) {
        let tokens = self.text.split('.').count();
        (self.literals(), tokens, !self.has_rest())
    }

    fn has_rest(&self) -> bool {
        self.text.ends_with('>')
    }
}

/// Token by token what both stand for; none where that is nothing.
fn common_tokens<'t>(ours: &'t str, theirs: &'t str) -> Option<Vec<&'t str>> {
    let (mut ours, mut theirs) = (ours.split('.'), theirs.split('.'));
    let mut common = Vec::new();
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return Some(common),
            // All that follows in the other one, which is at least this token.
            (Some(">"), Some(token)) => {
                common.push(token);
                common.extend(theirs);
                return Some(common);
            }
            (Some(token), Some(">")) => {
                common.push(token);
                common.extend(ours);
                return Some(common);
            }
            (Some("*"), Some(token)) | (Some(token), Some("*")) => common.push(token),
            (Some(our), Some(their)) if our == their => common.push(our),
            _ => return None,
        }
    }
}

fn is_wildcard(token: &str) -> bool {
    matches!(token, "*" | ">")
}

impl Filter {
    /// Does this filter take in every topic that the pattern takes in?
    pub fn covers(&self, pattern: &Pattern) -> bool {
        let one_covers = |pattern: &Pattern| self.patterns().iter().any(|p| p.covers(pattern));
        if one_covers(pattern) {
            return true;
        }
        // `*` alone is never covered by several: there are more tokens than those can name. But
        // `a.>` is `a.*`, `a.*.*` and so on, up to the longest topic, and several may cover these.
        pattern.has_rest() && of_each_length(pattern).all(|pattern| one_covers(&pattern))
    }

    /// The first pattern of the other filter that takes in a topic which this one does not.
    pub fn first_uncovered<'f>(&self, other: &'f Filter) -> Option<&'f Pattern> {
        let mut patterns = other.patterns().iter();
        patterns.find(|pattern| !self.covers(pattern))
    }

    /// The topics that this filter and the other one both take in; none where there are none.
    ///
    /// # Errors
    /// A bad request when it takes more patterns to say than a filter may have.
    pub fn overlap(&self, other: &Filter) -> Result<Option<Filter>> {
        let mut broadest: Vec<Pattern> = Vec::new();
        // Those that cover others come first, so nothing is kept that is given up later, and
        // whoever exceeds the bound does so for good.
        for pattern in pairwise_overlaps(self, other).into_values() {
            if broadest.iter().any(|broader| broader.covers(&pattern)) {
                continue;
            }
            if broadest.len() == MAX_FILTER_TOPICS {
                return Err(overlap_too_large());
            }
            broadest.push(pattern);
        }
        let is_any = !broadest.is_empty();
        Ok(is_any.then(|| Filter::of(broadest.into_iter().collect())))
    }
}

/// The patterns without a last `>` that together take in what one with it does. Those that are
/// longer than any topic take in nothing.
fn of_each_length(pattern: &Pattern) -> impl Iterator<Item = Pattern> {
    let before_rest = pattern.text.trim_end_matches('>');
    let tokens_before = before_rest.matches('.').count();
    (1..=MAX_TOPIC_TOKENS - tokens_before)
        .map(move |stars| format!("{before_rest}{}", vec!["*"; stars].join(".")))
        .take_while(|text| text.len() <= MAX_TOPIC_BYTES)
        .map(|text| Pattern::trusted(&text))
}

/// Each once, and those that cover others before them.
fn pairwise_overlaps(ours: &Filter, theirs: &Filter) -> BTreeMap<impl Ord + use<>, Pattern> {
    let mut overlaps = BTreeMap::new();
    for our in ours.patterns() {
        let of_pattern = theirs.patterns().iter().filter_map(|t| our.overlap(t));
        overlaps.extend(of_pattern.map(|p| ((p.breadth(), p.text.clone()), p)));
    }
    overlaps
}

fn overlap_too_large() -> Error {
    Error::bad_request(format!(
        "what these credentials may read of this subscription takes more than \
         {MAX_FILTER_TOPICS} topics to say; subscribe to fewer topics at once"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::error::ErrorKind;
    use crate::topic::Topic;

    const PATTERN: &str = "((vidette|a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?|>)";
    const TOPIC: &str = "(vidette|a|b|c)(\\.(a|b|c)){0,4}";

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    fn filter(topics: &[&str]) -> Filter {
        Filter::parse(topics.iter().copied()).expect("a filter")
    }

    fn filter_of(topics: &[String]) -> Filter {
        Filter::parse(topics.iter().map(String::as_str)).expect("a filter")
    }

    fn topics_of(filter: Option<Filter>) -> Vec<String> {
        let filter = filter.expect("an overlap");
        let patterns = filter.patterns().iter();
        patterns
            .map(|pattern| pattern.as_str().to_owned())
            .collect()
    }

    #[test]
    fn the_overlap_of_two_patterns_is_one() {
        for (ours, theirs, both) in [
            ("door.3", "door.3", "door.3"),
            ("door.*", "door.3", "door.3"),
            ("door.*", "*.3", "door.3"),
            ("door.>", "*.*.opened", "door.*.opened"),
            ("door.>", "*.>", "door.>"),
            ("*", ">", "*"),
            (">", "vidette", "vidette"),
            ("vidette.*", "vidette.>", "vidette.*"),
        ] {
            let both = Some(pattern(both));
            assert_eq!(pattern(ours).overlap(&pattern(theirs)), both, "{ours}");
            assert_eq!(pattern(theirs).overlap(&pattern(ours)), both, "{theirs}");
        }
        for (ours, theirs) in [
            ("door", "lift"),
            ("door", "door.>"),
            ("*", "*.*"),
            ("*.*", "*.*.>"),
            (">", "vidette.dead"),
            ("*.dead", "vidette.>"),
        ] {
            assert_eq!(pattern(ours).overlap(&pattern(theirs)), None, "{ours}");
            assert_eq!(pattern(theirs).overlap(&pattern(ours)), None, "{theirs}");
        }
    }

    #[test]
    fn what_would_be_longer_than_a_topic_is_no_overlap() {
        let long = "x".repeat(200);
        let (ours, theirs) = (format!("{long}.*"), format!("*.{long}"));
        assert_eq!(pattern(&ours).overlap(&pattern(&theirs)), None);
    }

    #[test]
    fn the_overlap_of_two_filters_leaves_out_what_others_cover() {
        let rights = filter(&["door.>", "lift.*", "stairs"]);
        let asked = filter(&["*.3", "door.3.opened", "*.3.>", "cellar"]);
        let both = rights.overlap(&asked).expect("few patterns");
        assert_eq!(topics_of(both), ["door.3", "door.3.>", "lift.3"]);
        let all = rights.overlap(&Filter::all()).expect("few patterns");
        assert_eq!(all, Some(rights.clone()));
        assert_eq!(rights.overlap(&filter(&["cellar"])).expect("none"), None);
    }

    #[test]
    fn several_patterns_cover_one_together() {
        let lengths = |most: usize| {
            let stars = (1..=most).map(|tokens| format!("a{}", ".*".repeat(tokens)));
            stars.collect::<Vec<_>>()
        };
        let all_lengths = filter_of(&lengths(MAX_TOPIC_TOKENS - 1));
        assert!(all_lengths.covers(&pattern("a.>")));
        assert!(!filter_of(&lengths(MAX_TOPIC_TOKENS - 2)).covers(&pattern("a.>")));
        assert!(filter(&["a.*", "a.*.>"]).covers(&pattern("a.>")));
        assert!(!filter(&["a.*", "a.*.b.>", "a.*.*"]).covers(&pattern("a.>")));
        assert!(!filter(&["*", "*.>"]).covers(&pattern("vidette.x")));
        assert!(filter(&["*", "*.>"]).covers(&pattern(">")));
    }

    /// So many patterns, each with other tokens, of two tokens of which one is a wildcard.
    fn stars(count: usize, is_first: bool) -> Filter {
        let one = |n| {
            if is_first {
                format!("*.b{n}")
            } else {
                format!("a{n}.*")
            }
        };
        filter_of(&(0..count).map(one).collect::<Vec<_>>())
    }

    #[test]
    fn an_overlap_of_too_many_patterns_is_refused() {
        let both = stars(10, true).overlap(&stars(10, false)).expect("100");
        assert_eq!(topics_of(both).len(), MAX_FILTER_TOPICS);
        let refused = stars(11, true).overlap(&stars(10, false));
        let refused = refused.expect_err("110 patterns");
        assert_eq!(refused.kind(), ErrorKind::BadRequest);
        let most = stars(MAX_FILTER_TOPICS, true);
        assert!(most.overlap(&stars(MAX_FILTER_TOPICS, false)).is_err());
    }

    #[test]
    fn an_overlap_of_few_is_found_among_very_many() {
        let with_all = |filter: &Filter| {
            let mut topics: Vec<_> = filter.patterns().iter().map(Pattern::as_str).collect();
            topics.truncate(MAX_FILTER_TOPICS - 1);
            topics.push(">");
            Filter::parse(topics).expect("a filter")
        };
        let (ours, theirs) = (stars(100, true), stars(100, false));
        let both = with_all(&ours).overlap(&with_all(&theirs));
        assert_eq!(topics_of(both.expect("one pattern")), [">"]);
    }

    proptest! {
        #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_topic_matches_the_overlap_of_two_patterns_exactly_if_it_matches_both(
            ours in PATTERN, theirs in PATTERN, topic in TOPIC,
        ) {
            let (ours, theirs) = (pattern(&ours), pattern(&theirs));
            let expected = ours.matches(&topic) && theirs.matches(&topic);
            let both = ours.overlap(&theirs);
            prop_assert_eq!(both.clone().is_some_and(|p| p.matches(&topic)), expected, "{:?}", both);
            prop_assert!(both.is_none_or(|p| Pattern::parse(p.as_str()).is_ok()));
        }

        #[test]
        fn a_topic_matches_the_overlap_of_two_filters_exactly_if_it_matches_both(
            ours in btree_set(PATTERN, 1..12),
            theirs in btree_set(PATTERN, 1..12),
            topics in vec(TOPIC, 8),
        ) {
            let ours = filter_of(&ours.into_iter().collect::<Vec<_>>());
            let theirs = filter_of(&theirs.into_iter().collect::<Vec<_>>());
            let Ok(both) = ours.overlap(&theirs) else { return Ok(()) };
            for topic in topics.iter().map(|topic| Topic::trusted(topic)) {
                let expected = ours.matches(&topic) && theirs.matches(&topic);
                let is_in = both.as_ref().is_some_and(|both| both.matches(&topic));
                prop_assert_eq!(is_in, expected, "{}", topic);
            }
            let Some(both) = both else { return Ok(()) };
            prop_assert!(ours.first_uncovered(&both).is_none());
            prop_assert!(theirs.first_uncovered(&both).is_none());
            for (n, pattern) in both.patterns().iter().enumerate() {
                let mut others = both.patterns().iter().enumerate().filter(|(m, _)| *m != n);
                prop_assert!(others.all(|(_, other)| !other.covers(pattern)), "{:?}", both);
            }
        }

        /// Among all topics of a small world that holds a token which no pattern names.
        #[test]
        fn what_is_covered_is_taken_in_whole_and_what_is_not_is_not(
            filter in btree_set("((vidette|a|\\*)(\\.(a|\\*)){0,2}(\\.>)?|>)", 1..6),
            asked in "((vidette|a|\\*)(\\.(a|\\*)){0,2}(\\.>)?|>)",
        ) {
            let filter = filter_of(&filter.into_iter().collect::<Vec<_>>());
            let asked = pattern(&asked);
            let is_in = |topic: &String| filter.matches(&Topic::trusted(topic));
            let outside = world().into_iter().find(|t| asked.matches(t) && !is_in(t));
            prop_assert_eq!(filter.covers(&asked), outside.is_none(), "{:?}", outside);
        }
    }

    fn world() -> Vec<String> {
        let mut topics: Vec<String> = ["vidette", "a", "other"].map(str::to_owned).into();
        let mut begin = 0;
        for _ in 0..4 {
            let longer: Vec<_> = topics[begin..]
                .iter()
                .flat_map(|topic| ["a", "other"].map(|token| format!("{topic}.{token}")))
                .collect();
            begin = topics.len();
            topics.extend(longer);
        }
        topics
    }
}
