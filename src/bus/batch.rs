//! Events that are read together, by one reader or by many.
//!
//! Invariants:
//! - a batch never changes; what a transport makes of it is made once and shared by all who get it;
//! - shared pages are bounded by bytes, and none outlives a trimming: a reader sees the same gaps
//!   with and without.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::group::Group;
use crate::cursor::Vid;
use crate::encodings::Encodings;
use crate::engine::Page;
use crate::event::Event;
use crate::limits;

/// One or more events in vid order.
#[derive(Debug)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    pub(crate) encodings: Encodings,
}

impl Deref for Batch {
    type Target = [Arc<Event>];

    fn deref(&self) -> &[Arc<Event>] {
        &self.events
    }
}

impl From<Vec<Arc<Event>>> for Batch {
    fn from(events: Vec<Arc<Event>>) -> Self {
        Batch {
            events,
            encodings: Encodings::default(),
        }
    }
}

/// A page as readers share it.
#[derive(Debug, Clone)]
pub(super) struct SharedPage {
    /// The events that match.
    pub(super) batch: Arc<Batch>,
    /// Everything that matches up to this vid is in the batch.
    pub(super) through: Vid,
    /// The oldest retained vid when it was read.
    pub(super) first: Vid,
}

impl From<Page> for SharedPage {
    fn from(page: Page) -> Self {
        SharedPage {
            batch: Arc::new(page.events.into()),
            through: page.through,
            first: page.first,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    group: u64,
    after: Vid,
    /// `Vid::MAX` for a page that is full, whatever comes behind it.
    through: Vid,
    generation: u64,
}

#[derive(Clone)]
struct PageBytes;

impl Weighter<Key, SharedPage> for PageBytes {
    /// The events, and as much again for what is made of them.
    fn weight(&self, _: &Key, page: &SharedPage) -> u64 {
        256 + page
            .batch
            .iter()
            .map(|event| 2 * (event.size_bytes() as u64 + 128))
            .sum::<u64>()
    }
}

/// Pages that the readers of a group have in common, as most are at the same place.
pub(super) struct SharedPages {
    pages: Cache<Key, SharedPage, PageBytes>,
    generation: AtomicU64,
}

/// What a page is looked for by: the same for all readers of a group that are at the same place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(Key);

impl SharedPages {
    pub(super) fn new() -> Self {
        let pages = Cache::with_weighter(1024, limits::SHARED_PAGES_BYTES as u64, PageBytes);
        SharedPages {
            pages,
            generation: AtomicU64::new(0),
        }
    }

    /// Before a page is read, the place has to be named: trimming meanwhile makes it another one.
    pub(super) fn place(&self, group: &Group, after: Vid, through: Vid) -> Place {
        let generation = self.generation.load(Ordering::SeqCst);
        Place(Key {
            group: group.number,
            after,
            through,
            generation,
        })
    }

    pub(super) fn get(&self, Place(key): Place) -> Option<SharedPage> {
        self.pages.get(&key).or_else(|| {
            self.pages.get(&Key {
                through: Vid::MAX,
                ..key
            })
        })
    }

    pub(super) fn put(&self, Place(key): Place, page: &SharedPage) {
        let through = if page.through < key.through {
            Vid::MAX
        } else {
            key.through
        };
        self.pages.insert(Key { through, ..key }, page.clone());
    }

    /// After trimming: what was read before is not to be found any more.
    pub(super) fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.pages.clear();
    }
}
