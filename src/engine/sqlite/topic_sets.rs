//! What has been found of filters lately, so that pages of one filter do not search again.
//!
//! Invariants:
//! - it is bounded by bytes;
//! - what it gives is a beginning: a search adds the topics that have come since.

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::topic_search::{FoundTopics, TopicSearch, takes_in_all};
use crate::engine::Bounds;
use crate::limits;
use crate::topic::{Filter, Pattern};

/// Looking at fewer topics is as quick as remembering.
const WORTH_KEEPING: usize = 64;
/// What a filter takes besides its texts and numbers.
const OVERHEAD_BYTES: u64 = 256;

#[derive(Clone)]
struct SetBytes;

impl Weighter<Filter, FoundTopics> for SetBytes {
    fn weight(&self, filter: &Filter, found: &FoundTopics) -> u64 {
        let ids = found.ids.as_ref().map_or(0, Vec::len) * size_of::<i64>();
        let pattern_bytes = |pattern: &Pattern| pattern.as_str().len() + size_of::<Pattern>();
        let patterns: usize = filter.patterns().iter().map(pattern_bytes).sum();
        OVERHEAD_BYTES + (ids + patterns) as u64
    }
}

pub(super) struct TopicSets(Cache<Filter, FoundTopics, SetBytes>);

impl TopicSets {
    pub(super) fn new() -> Self {
        let bytes = limits::TOPIC_SETS_BYTES;
        // Only an estimate, for the cache's own tables.
        let about_so_many = bytes / limits::MAX_EXPANDED_TOPICS;
        TopicSets(Cache::with_weighter(about_so_many, bytes as u64, SetBytes))
    }

    /// A search for the topics of a filter.
    pub(super) fn begin(&self, filter: &Filter, bounds: Bounds) -> TopicSearch {
        match self.known(filter, bounds) {
            Some(found) => TopicSearch::resume(filter, found),
            None => TopicSearch::new(filter, bounds.last),
        }
    }

    /// Were the topics of a filter few when they were searched for? None where that is not known.
    pub(super) fn are_few(&self, filter: &Filter, bounds: Bounds) -> Option<bool> {
        if takes_in_all(filter) {
            return Some(false);
        }
        let found = self.known(filter, bounds)?;
        Some(found.ids.is_some())
    }

    fn known(&self, filter: &Filter, bounds: Bounds) -> Option<FoundTopics> {
        // Those that were many may be fewer once all events of then have gone.
        let found = self.0.get(filter)?;
        (found.ids.is_some() || found.as_of >= bounds.first).then_some(found)
    }

    /// Keeps what a search has found.
    pub(super) fn keep(&self, search: &TopicSearch) {
        let found = search.found().filter(|_| search.scanned > WORTH_KEEPING);
        if let Some(found) = found {
            self.0.insert(search.filter.clone(), found.clone());
        }
    }
}
