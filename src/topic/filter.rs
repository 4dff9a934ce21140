//! What a subscription asks for: one or more patterns.
//!
//! Invariants:
//! - a filter's patterns are sorted and distinct, so the same topics in any order are the same
//!   filter;
//! - with more than a few patterns, matching a topic costs less than trying each of them.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Pattern, PatternIndex, Topic};
use crate::error::{Error, Result};
use crate::limits::MAX_FILTER_TOPICS;

/// Filters of more patterns than this are matched by an index: with fewer, trying each is as quick.
const FEW_PATTERNS: usize = 8;

/// Which topics a subscription reads: at least one pattern.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Sorted, and each once.
    patterns: Arc<[Pattern]>,
    /// Where there are more than a few.
    index: Option<Arc<PatternIndex<()>>>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        // The index follows from the patterns, so it has no say.
        self.patterns == other.patterns
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.patterns.hash(state);
    }
}

impl Filter {
    pub(super) fn of(patterns: BTreeSet<Pattern>) -> Self {
        let is_worth_an_index = patterns.len() > FEW_PATTERNS;
        let index = is_worth_an_index.then(|| Arc::new(index_of(&patterns)));
        Filter {
            patterns: patterns.into_iter().collect(),
            index,
        }
    }

    /// Every topic but the gateway's own.
    pub fn all() -> Self {
        Self::only(Pattern::trusted(">"))
    }

    /// Every topic, the gateway's own among them.
    pub(crate) fn everything() -> Self {
        // `>` alone leaves out the gateway's own topics, which have to be named.
        Self::of(["vidette.>", ">"].map(Pattern::trusted).into())
    }

    /// A filter of these topics; none stands for all.
    ///
    /// # Errors
    /// A bad request when there are too many topics or one is wrong.
    pub fn parse<'a>(topics: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut topics = topics.into_iter();
        let Some(first) = topics.next() else {
            return Ok(Self::all());
        };
        // Most filters are one topic, and need no set.
        let first = Pattern::parse(first)?;
        let Some(second) = topics.next() else {
            return Ok(Self::only(first));
        };
        let mut patterns = BTreeSet::from([first]);
        for text in std::iter::once(second).chain(topics) {
            patterns.insert(Pattern::parse(text)?);
            // Checked on the way, so that a list of too many topics is not read to its end.
            if patterns.len() > MAX_FILTER_TOPICS {
                return Err(too_many_topics());
            }
        }
        Ok(Self::of(patterns))
    }

    fn only(pattern: Pattern) -> Self {
        Filter {
            patterns: Arc::new([pattern]),
            index: None,
        }
    }

    /// The patterns as texts.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(Pattern::as_str)
    }

    /// The patterns.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Does one of the patterns begin with a wildcard, so that no index by topic helps?
    pub fn is_broad(&self) -> bool {
        self.patterns.iter().any(|p| p.literal_prefix().is_empty())
    }

    /// Does one of the patterns take in the topic?
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_text(topic.as_str())
    }

    /// The same for the text of a topic.
    pub(crate) fn matches_text(&self, topic: &str) -> bool {
        match &self.index {
            // The first match is enough.
            Some(index) => index.visit(topic, |()| ControlFlow::Break(())).is_break(),
            None => self.patterns.iter().any(|pattern| pattern.matches(topic)),
        }
    }
}

fn index_of(patterns: &BTreeSet<Pattern>) -> PatternIndex<()> {
    let mut index = PatternIndex::default();
    for pattern in patterns {
        index.insert(pattern, ());
    }
    index
}

fn too_many_topics() -> Error {
    Error::bad_request(format!(
        "more than {MAX_FILTER_TOPICS} topics in one subscription; \
         use wildcards or a second subscription"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    fn filter<'t>(topics: impl IntoIterator<Item = &'t str>) -> Filter {
        Filter::parse(topics).expect("a filter")
    }

    #[test]
    fn the_same_topics_in_any_order_are_the_same_filter() {
        assert_eq!(filter(["b.*", "a", "b.*"]), filter(["a", "b.*"]));
        assert_ne!(filter(["a", "b.*"]), filter(["a"]));
    }

    proptest! {
        #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

        #[test]
        fn many_patterns_match_what_one_of_them_matches(
            patterns in btree_set("(vidette|a|b|\\*)(\\.(a|b|c|\\*)){0,3}(\\.>)?", 1..30),
            topic in "(vidette|a|b)(\\.(a|b|c)){0,4}",
        ) {
            let filter = filter(patterns.iter().map(String::as_str));
            let expected = filter.patterns().iter().any(|p| p.matches(&topic));
            prop_assert_eq!(filter.matches(&Topic::trusted(&topic)), expected);
        }
    }
}
