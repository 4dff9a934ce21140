//! Patterns to values, found by topic.
//!
//! A pattern's [`Shape`] says where its wildcards are. A topic and a shape give the one pattern of
//! that shape that matches: `door.3.opened` and "a `*` for the second token" give `door.*.opened`,
//! which is looked up by its text. Systems name topics by a scheme, so that shapes are few however
//! many patterns there are. A trie by token was measured beside this: it takes twice the time to
//! add a pattern, about as much to find one, and several times the memory. Invariants:
//! - a topic finds exactly the patterns that [`Pattern::matches`] says match it;
//! - the cost of adding and removing depends on the pattern's length alone;
//! - finding costs a look-up for each shape in use that fits the topic's number of tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{OWN_PREFIX, Pattern};
use crate::limits::{MAX_TOPIC_TOKENS, NEAR_TOKENS};

/// Where a pattern's wildcards are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shape {
    /// It ends with `>`.
    is_open: bool,
    /// Tokens, without that `>`.
    tokens: u8,
    /// A bit for each token that is `*`, the first token's lowest.
    stars: u16,
}

impl Shape {
    /// The shape of a valid pattern.
    pub(super) fn of(pattern: &str) -> Self {
        let mut shape = Shape::first_of(false, 0);
        for token in pattern.split('.') {
            // A `>` is the last token of a valid pattern.
            if token == ">" {
                shape.is_open = true;
                break;
            }
            shape.stars |= u16::from(token == "*") << shape.tokens;
            shape.tokens += 1;
        }
        shape
    }

    /// The first shape, in their order, of those with so many tokens.
    const fn first_of(is_open: bool, tokens: u8) -> Self {
        Shape {
            is_open,
            tokens,
            stars: 0,
        }
    }

    pub(super) fn has_wildcard(self) -> bool {
        self.is_open || self.stars != 0
    }

    /// Is there a `*` beyond the tokens in which they may stand in every combination?
    fn is_far(self) -> bool {
        self.stars >> NEAR_TOKENS != 0
    }

    fn begins_with_wildcard(self) -> bool {
        self.tokens == 0 || self.stars & 1 == 1
    }

    /// Writes the pattern of this shape that matches a topic of these tokens.
    fn write_pattern(self, tokens: &[&str], text: &mut String) {
        // The buffer is reused for all shapes of one visit.
        text.clear();
        for (index, token) in tokens.iter().take(self.tokens.into()).enumerate() {
            let is_star = self.stars >> index & 1 == 1;
            text.push_str(if is_star { "*" } else { token });
            text.push('.');
        }
        if self.is_open {
            text.push('>');
        } else {
            text.pop();
        }
    }
}

/// Patterns, each with a value.
#[derive(Debug)]
pub(crate) struct PatternIndex<V> {
    values: HashMap<Arc<str>, V>,
    /// The shapes with wildcards, and how many patterns have each.
    shapes: BTreeMap<Shape, u32>,
    /// How many of those shapes are far.
    far_shapes: usize,
}

impl<V> Default for PatternIndex<V> {
    fn default() -> Self {
        PatternIndex {
            values: HashMap::new(),
            shapes: BTreeMap::new(),
            far_shapes: 0,
        }
    }
}

impl<V> PatternIndex<V> {
    pub(crate) fn get_mut(&mut self, pattern: &Pattern) -> Option<&mut V> {
        self.values.get_mut(pattern.as_str())
    }

    /// Adds a pattern that is not there yet.
    pub(crate) fn insert(&mut self, pattern: &Pattern, value: V) {
        let before = self.values.insert(pattern.text.clone(), value);
        debug_assert!(before.is_none(), "{pattern:?} was there already");
        // A pattern without a wildcard is found by the topic itself.
        if pattern.shape.has_wildcard() {
            self.count(pattern.shape);
        }
    }

    fn count(&mut self, shape: Shape) {
        // Only the first pattern of a shape makes finding a topic cost more.
        let patterns = self.shapes.entry(shape).or_default();
        *patterns += 1;
        if *patterns == 1 && shape.is_far() {
            self.far_shapes += 1;
        }
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern) {
        let removed = self.values.remove(pattern.as_str());
        if removed.is_some() && pattern.shape.has_wildcard() {
            self.uncount(pattern.shape);
        }
    }

    fn uncount(&mut self, shape: Shape) {
        let patterns = self.shapes.get_mut(&shape).expect("it was counted");
        *patterns -= 1;
        // A shape without patterns would still cost a look-up for each topic that fits.
        if *patterns == 0 {
            self.shapes.remove(&shape);
            self.far_shapes -= usize::from(shape.is_far());
        }
    }

    /// The far shapes that would be in use with these patterns, too.
    pub(crate) fn far_shapes_with(&self, patterns: &[Pattern]) -> usize {
        // Each new shape counts once, however many of the patterns have it.
        let shapes = patterns.iter().map(|pattern| pattern.shape);
        let new = shapes.filter(|shape| shape.is_far() && !self.shapes.contains_key(shape));
        self.far_shapes + new.collect::<BTreeSet<Shape>>().len()
    }

    /// Visits the value of each pattern that matches, in no order, until a visit breaks off.
    pub(crate) fn visit<'i>(
        &'i self,
        topic: &str,
        mut visitor: impl FnMut(&'i V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // The exact pattern, if there is one, is kept by the very text of the topic.
        if let Some(value) = self.values.get(topic) {
            visitor(value)?;
        }
        if self.shapes.is_empty() {
            return ControlFlow::Continue(());
        }

        let tokens: SmallVec<[&str; MAX_TOPIC_TOKENS]> = topic.split('.').collect();
        let is_own = topic.starts_with(OWN_PREFIX);
        let mut text = String::with_capacity(topic.len() + 1); // `>` may stand for nothing shorter
        for shape in self.fitting(tokens.len()) {
            // The gateway's own topics have to be named.
            if is_own && shape.begins_with_wildcard() {
                continue;
            }
            shape.write_pattern(&tokens, &mut text);
            if let Some(value) = self.values.get(text.as_str()) {
                visitor(value)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The shapes in use that may match a topic of so many tokens.
    fn fitting(&self, tokens: usize) -> impl Iterator<Item = Shape> + '_ {
        // In the order of shapes, those of one kind and length stand together.
        let tokens = u8::try_from(tokens).unwrap_or(u8::MAX - 1);
        let closed = Shape::first_of(false, tokens)..Shape::first_of(false, tokens + 1);
        // A `>` stands for one token or more, so open shapes have fewer than the topic.
        let open = Shape::first_of(true, 0)..Shape::first_of(true, tokens);
        let shapes = self.shapes.range(closed).chain(self.shapes.range(open));
        shapes.map(|(shape, _)| *shape)
    }
}

const _: () = assert!(
    MAX_TOPIC_TOKENS <= u16::BITS as usize,
    "a shape has a bit for each token"
);

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::limits;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    fn found(index: &PatternIndex<String>, topic: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let visited = index.visit(topic, |text| {
            assert!(found.insert(text.clone()), "{text} was found twice");
            ControlFlow::Continue(())
        });
        assert!(visited.is_continue());
        found
    }

    proptest! {
        #![proptest_config(Config { cases: 1000, failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_topic_finds_what_a_plain_list_of_patterns_finds(
            steps in vec("(vidette|a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?|>", 1..60),
            topics in vec("(vidette|a|b)(\\.(a|b|c)){0,4}", 1..10),
        ) {
            let (mut index, mut list) = (PatternIndex::default(), Vec::<String>::new());
            for text in steps {
                // What is there already leaves again, so that patterns come and go in any order.
                if let Some(at) = list.iter().position(|t| *t == text) {
                    list.swap_remove(at);
                    index.remove(&pattern(&text));
                } else {
                    index.insert(&pattern(&text), text.clone());
                    list.push(text);
                }
                for topic in &topics {
                    let matching = list.iter().filter(|text| pattern(text).matches(topic));
                    prop_assert_eq!(found(&index, topic), matching.cloned().collect());
                }
            }
            for text in &list {
                index.remove(&pattern(text));
            }
            prop_assert!(index.values.is_empty() && index.shapes.is_empty());
            prop_assert_eq!(index.far_shapes, 0);
        }
    }

    #[test]
    fn the_longest_topics_are_found() {
        let mut index = PatternIndex::default();
        let longest = ["a"; MAX_TOPIC_TOKENS].join(".");
        let stars = ["*"; MAX_TOPIC_TOKENS].join(".");
        let open = format!("{}.>", ["*"; MAX_TOPIC_TOKENS - 1].join("."));
        for text in [&stars, &open] {
            index.insert(&pattern(text), text.clone());
        }
        assert_eq!(found(&index, &longest), BTreeSet::from([stars, open]));
        assert!(found(&index, &["a"; MAX_TOPIC_TOKENS - 1].join(".")).is_empty());
    }

    #[test]
    fn far_shapes_are_counted_once_each() {
        let near = ["a"; NEAR_TOKENS].join(".");
        let far = |tail: &str| pattern(&format!("{near}.{tail}"));
        let mut index = PatternIndex::default();
        for text in ["*.*.*", "a.>", &format!("{near}.b.c.>")] {
            index.insert(&pattern(text), ());
        }
        assert_eq!(index.far_shapes, 0);
        index.insert(&far("*"), ());
        let more = [far("*.b"), far("*.c"), far("*"), far("b")];
        assert_eq!(index.far_shapes_with(&more), 2);
        index.insert(&more[0], ());
        index.insert(&more[1], ());
        assert_eq!(index.far_shapes, 2);
        for gone in [&more[0], &more[0], &more[1]] {
            index.remove(gone);
        }
        assert_eq!(index.far_shapes, 1);
    }

    #[test]
    fn a_topic_fits_a_bounded_number_of_shapes() {
        let mut index = PatternIndex::default();
        let tokens = |shape: Shape| ["a"; MAX_TOPIC_TOKENS][..shape.tokens.into()].to_vec();
        for length in 0..=MAX_TOPIC_TOKENS {
            for (stars, is_open) in
                (0..1 << NEAR_TOKENS.min(length)).flat_map(|s| [(s, true), (s, false)])
            {
                let shape = Shape {
                    is_open,
                    tokens: u8::try_from(length).expect("few"),
                    stars,
                };
                let mut text = String::new();
                shape.write_pattern(&tokens(shape), &mut text);
                if let Ok(pattern) = Pattern::parse(&text) {
                    assert_eq!(pattern.shape, shape);
                    index.insert(&pattern, ());
                }
            }
        }
        assert_eq!(index.far_shapes, 0, "all of them are near");
        let most = index.fitting(MAX_TOPIC_TOKENS).count();
        assert!(most <= limits::MAX_NEAR_SHAPES, "{most}");
    }
}
