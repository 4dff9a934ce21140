//! Pages of events: from memory where they are there, else from the log.
//!
//! Invariants:
//! - what is kept in memory belongs to one generation of the log, and is never found by a reader of
//!   another one;
//! - what the log has trimmed leaves memory, so that all readers see the same gaps.

mod cold;
mod ring;
mod shared;

use std::collections::VecDeque;
use std::sync::Arc;

use super::group::FilterGroup;
use super::log_view::{LogSnapshot, LogView};
use crate::cursor::Vid;
use crate::engine::{Bounds, Engine, Page, PageBudget, ReadRequest};
use crate::error::Result;
use crate::event::Event;
use crate::limits;
use crate::topic::Filter;
use cold::ColdBlocks;
use ring::Ring;
use shared::{PageKey, SharedPages};

pub(super) use shared::SharedPage;

/// The pages of a log, and where they come from.
pub(super) struct Pages {
    engine: Arc<dyn Engine>,
    ring: Ring,
    cold: ColdBlocks,
    shared: SharedPages,
    /// Others append as well, and may replace the log.
    is_shared_log: bool,
}

/// A page that a reader asks for.
pub(super) struct PageRequest {
    pub(super) read: ReadRequest,
    /// The generation of the log that the reader is on.
    pub(super) generation: u64,
    /// Where the page is shared by those of a group who are at the same position.
    pub(super) key: Option<PageKey>,
}

impl Pages {
    /// Nothing in memory yet, at the end of a log.
    pub(super) fn new(engine: Arc<dyn Engine>, last: Vid, is_shared_log: bool) -> Self {
        Pages {
            engine,
            ring: Ring::new(last),
            cold: ColdBlocks::new(),
            shared: SharedPages::new(),
            is_shared_log,
        }
    }

    /// The key of a page. It has to be made before the page is read: trimming meanwhile makes it
    /// another one.
    pub(super) fn key(&self, group: &FilterGroup, read: &ReadRequest, generation: u64) -> PageKey {
        self.shared.key(group, read, generation)
    }

    /// A page that is in memory: one that others at the same position have read, or of the ring.
    pub(super) fn cached(&self, request: &PageRequest) -> Option<SharedPage> {
        // What others have read is filtered already, and often encoded.
        if let Some(page) = request.key.and_then(|key| self.shared.get(key)) {
            return Some(page);
        }

        // Shared from here on, so that the next reader at this position need not filter again.
        let (page, published_ns) = self.ring.read(request.generation, &request.read)?;
        let page = SharedPage::new(page, published_ns);
        self.share(request.key, &page);
        Some(page)
    }

    /// A page from the log, for a reader that is further back than the ring reaches.
    /// None when the engine reads another log already, whose reset its tail has yet to report.
    pub(super) async fn load(
        &self,
        request: PageRequest,
        log: &LogView,
    ) -> Result<Option<SharedPage>> {
        // Read first: the answer of an engine names no log, so it is asked afterwards.
        let page = self
            .cold
            .read(&self.engine, request.generation, request.read)
            .await?;
        if !self.engine_is_on(log) {
            return Ok(None);
        }
        let page = SharedPage::new(page, 0);
        self.share(request.key, &page);
        Ok(Some(page))
    }

    /// The same for a page of those events that are the newest of their topic.
    pub(super) async fn load_newest(
        &self,
        request: ReadRequest,
        log: &LogView,
    ) -> Result<Option<Page>> {
        let page = self.engine.read_newest(request).await?;
        Ok(self.engine_is_on(log).then_some(page))
    }

    /// A log with one writer is never replaced, and need not be asked.
    fn engine_is_on(&self, log: &LogView) -> bool {
        !self.is_shared_log || self.engine.state().lineage.epoch() == log.epoch()
    }

    fn share(&self, key: Option<PageKey>, page: &SharedPage) {
        if let Some(key) = key {
            self.shared.put(key, page);
        }
    }

    /// Adds events that have become the newest of the log, of which the first was taken in at this
    /// moment.
    pub(super) fn push(&self, events: &[Arc<Event>], published_ns: u64) {
        self.ring.push(events, published_ns);
    }

    /// Forgets what the log has trimmed.
    pub(super) fn trimmed_below(&self, first: Vid) {
        // The ring first: a page that is shared after this has been read from what is left.
        self.ring.trim_below(first);
        self.shared.forget_all();
    }

    /// Forgets events that have been removed from the log.
    pub(super) fn removed(&self, vids: &[Vid]) {
        // The ring first, as after a trimming. Blocks and pages are read again.
        self.ring.remove(vids);
        self.cold.forget_all();
        self.shared.forget_all();
    }

    /// The next events come behind this vid, and those before it have not been added.
    pub(super) fn skip_to(&self, through: Vid) {
        self.ring.skip_to(through);
    }

    /// Another log from here on.
    pub(super) fn reset(&self, generation: u64, last: Vid) {
        // Nothing that memory holds of the old log may answer for the new one.
        self.ring.reset(generation, last);
        self.cold.forget_all();
        self.shared.forget_all();
    }

    /// Reads the newest events of a log into the ring, before any have been added.
    ///
    /// # Errors
    /// What the engine's `read` says; then nothing was added.
    pub(super) async fn warm(&self, LogSnapshot { log, bounds }: LogSnapshot) -> Result<()> {
        // What the ring can hold, and the log still has.
        let oldest = bounds.last.saturating_sub(limits::RING_EVENTS as u64);
        let mut newest = Newest {
            base: oldest.max(bounds.first - 1),
            ..Newest::default()
        };
        // Page by page, and no more of them in memory than the ring may hold.
        let mut position = newest.base;
        while position < bounds.last {
            let page = self.engine.read(everything(position, bounds)).await?;
            // An engine that gets no further now is not waited for.
            if page.through <= position {
                break;
            }
            position = page.through;
            newest.add(page.events, page.first);
        }
        // All or nothing: the ring may not have holes.
        if position >= bounds.last {
            self.ring.warm(
                log.generation,
                newest.events.into(),
                newest.base,
                bounds.last,
            );
        }
        Ok(())
    }
}

/// The newest events of a log, within the bounds of the ring.
#[derive(Default)]
struct Newest {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Every event of the log behind this vid has been added.
    base: Vid,
}

impl Newest {
    /// Adds the events that come next. `first` is the oldest one that is retained by now.
    fn add(&mut self, events: Vec<Arc<Event>>, first: Vid) {
        self.bytes += events.iter().map(|event| event.size_bytes()).sum::<usize>();
        self.events.extend(events);

        // Too much for the ring, or trimmed since it was read.
        let is_over = |newest: &Newest| {
            let oldest = newest.events.front();
            newest.bytes > limits::RING_BYTES || oldest.is_some_and(|event| event.vid < first)
        };
        while is_over(self) {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.size_bytes();
            self.base = oldest.vid;
        }

        // Also where the vids before `first` hold no event, as in the ring.
        self.base = self.base.max(first.saturating_sub(1));
    }
}

fn everything(after: Vid, bounds: Bounds) -> ReadRequest {
    ReadRequest {
        after,
        through: bounds.last,
        filter: Filter::everything(),
        budget: PageBudget::of_events(limits::PAGE_EVENTS),
    }
}
