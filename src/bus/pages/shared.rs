//! Pages that many readers have in common, as most are at the same position.
//!
//! Invariant: shared pages are bounded by bytes, and none outlives a trimming or a reset of the
//! log: a reader sees the same gaps with and without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::bus::batch::Batch;
use crate::bus::group::FilterGroup;
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::limits;

/// A page as readers share it.
#[derive(Debug, Clone)]
pub(in crate::bus) struct SharedPage {
    /// The events that match.
    pub(in crate::bus) batch: Arc<Batch>,
    /// Everything that matches up to this vid is in the batch.
    pub(in crate::bus) through: Vid,
    /// The oldest retained vid when it was read.
    pub(in crate::bus) first: Vid,
}

impl SharedPage {
    /// A page whose first event was taken in at this moment, or 0.
    pub(super) fn new(page: Page, published_ns: u64) -> Self {
        SharedPage {
            batch: Arc::new(Batch::new(page.events, published_ns)),
            through: page.through,
            first: page.first,
        }
    }
}

/// What a page is looked for by: the same for all readers of a group that are at the same position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::bus) struct PageKey {
    group: u64,
    after: Vid,
    /// `Vid::MAX` for a page that is full, whatever comes behind it.
    through: Vid,
    /// Of the log, as its reader knows it.
    generation: u64,
    /// Counts trimmings and resets.
    era: u64,
}

#[derive(Clone)]
struct PageBytes;

impl Weighter<PageKey, SharedPage> for PageBytes {
    /// The events, as much again for what is made of them, and a small answer.
    fn weight(&self, _: &PageKey, page: &SharedPage) -> u64 {
        let events = page.batch.iter();
        let bytes: u64 = events.map(|event| event.size_bytes() as u64 + 128).sum();
        256 + 2 * bytes + bytes.min(limits::SHARED_ANSWER_BYTES as u64)
    }
}

/// Pages that the readers of a group have in common.
pub(super) struct SharedPages {
    pages: Cache<PageKey, SharedPage, PageBytes>,
    era: AtomicU64,
}

impl SharedPages {
    pub(super) fn new() -> Self {
        SharedPages {
            pages: Cache::with_weighter(1024, limits::SHARED_PAGES_BYTES as u64, PageBytes),
            era: AtomicU64::new(0),
        }
    }

    /// The key of a page that is read after this.
    pub(super) fn key(&self, group: &FilterGroup, read: &ReadRequest, generation: u64) -> PageKey {
        PageKey {
            group: group.number,
            after: read.after,
            through: read.through,
            generation,
            era: self.era.load(Ordering::SeqCst),
        }
    }

    pub(super) fn get(&self, key: PageKey) -> Option<SharedPage> {
        // A full page is the same whatever has come behind it since.
        let full = PageKey {
            through: Vid::MAX,
            ..key
        };
        self.pages.get(&key).or_else(|| self.pages.get(&full))
    }

    pub(super) fn put(&self, key: PageKey, page: &SharedPage) {
        // Cut by its budget, so it is good for whoever is at this position later, too.
        let is_full = page.through < key.through;
        let through = if is_full { Vid::MAX } else { key.through };
        self.pages.insert(PageKey { through, ..key }, page.clone());
    }

    /// After a trimming or a reset: what was read before is not to be found any more.
    pub(super) fn forget_all(&self) {
        // First: who has made a key before this puts a page where nobody looks any more.
        self.era.fetch_add(1, Ordering::SeqCst);
        self.pages.clear();
    }
}
