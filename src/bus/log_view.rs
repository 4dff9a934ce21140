//! Which log the bus serves now: its epochs, its bounds, and whether its end is known.
//!
//! Invariants:
//! - the generation rises before anything of another log can be read, so whoever sees it unchanged
//!   after a read has read the log that it belongs to;
//! - epochs, bounds and generation are taken together, and never while a reset is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Shared;
use super::closing::ClosingReason;
use super::drain::Stage;
use crate::cursor::{Cursor, Epoch, Gap, GapReason, Vid};
use crate::engine::{Bounds, LogState};
use crate::error::{Error, Result};
use crate::lineage::Lineage;

/// One log, for as long as it is the one that the bus serves.
#[derive(Debug)]
pub struct LogView {
    /// Counts the resets that came before it.
    pub(super) generation: u64,
    /// Its epochs.
    pub(super) lineage: Lineage,
}

impl LogView {
    /// Its current epoch.
    pub fn epoch(&self) -> &Epoch {
        self.lineage.epoch()
    }

    /// The full cursor of a vid of this log.
    pub fn cursor(&self, vid: Vid) -> Cursor {
        Cursor {
            vid,
            epoch: Some(self.epoch().clone()),
        }
    }
}

/// A log and its bounds as of one moment.
#[derive(Debug, Clone)]
pub(super) struct LogSnapshot {
    pub(super) log: Arc<LogView>,
    pub(super) bounds: Bounds,
}

impl LogSnapshot {
    pub(super) fn gap(&self, reason: GapReason, requested: &Cursor) -> Gap {
        Gap {
            reason,
            requested: requested.to_string(),
            first: self.bounds.first,
            last: self.bounds.last,
            epoch: self.log.epoch().clone(),
        }
    }
}

/// The log of a bus, which a reset replaces.
#[derive(Debug)]
pub(super) struct CurrentLog {
    /// Write-locked while a reset is under way.
    view: RwLock<Arc<LogView>>,
    /// That of `view`, or already the next one while a reset is under way.
    generation: AtomicU64,
    /// Events below this vid are known to be gone. The engine may know of more.
    first: AtomicU64,
    /// Is the end of the log known?
    is_live: AtomicBool,
}

impl CurrentLog {
    pub(super) fn new(state: &LogState) -> Self {
        // The first log of this bus; each reset counts one up.
        let view = LogView {
            generation: 0,
            lineage: state.lineage.clone(),
        };
        CurrentLog {
            view: RwLock::new(Arc::new(view)),
            generation: AtomicU64::new(0),
            first: AtomicU64::new(state.bounds.first),
            is_live: AtomicBool::new(state.live),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::SeqCst)
    }

    pub(super) fn set_live(&self, is_live: bool) {
        self.is_live.store(is_live, Ordering::SeqCst);
    }

    pub(super) fn view(&self) -> Arc<LogView> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    /// Takes note that events below this vid are gone.
    pub(super) fn trimmed_below(&self, first: Vid) {
        self.first.fetch_max(first, Ordering::SeqCst);
    }

    /// Another log from here on. `replace` is given its generation, and puts everything that
    /// readers find in place of that of the log before; meanwhile nobody takes a snapshot.
    pub(super) fn reset(&self, state: &LogState, replace: impl FnOnce(u64)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let generation = view.generation + 1;
        // Before anything else changes: a reader that sees the old one has read the old log.
        self.generation.store(generation, Ordering::SeqCst);
        *view = Arc::new(LogView {
            generation,
            lineage: state.lineage.clone(),
        });
        self.first.store(state.bounds.first, Ordering::SeqCst);
        self.set_live(state.live);

        // Still locked: whoever gets the new generation finds nothing of the log before.
        replace(generation);
    }
}

impl Shared {
    /// The log that is served now, with its bounds.
    pub(super) fn snapshot(&self) -> LogSnapshot {
        let view = self.log.view.read().unwrap_or_else(PoisonError::into_inner);
        // The tail first: events may be trimmed meanwhile, but never become invisible.
        let last = self.tail();
        let known_first = self.log.first.load(Ordering::SeqCst);
        // The engine may have met a reset that its tail has not reported yet.
        let of_engine = self.engine.first_vid_of(view.epoch());
        let first = of_engine.map_or(known_first, |first| first.max(known_first));

        // An engine may have trimmed what has yet to become visible.
        LogSnapshot {
            log: view.clone(),
            bounds: Bounds {
                first: first.min(last + 1),
                last,
            },
        }
    }

    /// Why subscriptions end now, where they do.
    pub(super) fn ending(&self) -> Option<ClosingReason> {
        // Whoever shuts down is not behind any more.
        if self.has_come_to(Stage::Closed) {
            Some(ClosingReason::Shutdown)
        } else if !self.log.is_live() {
            Some(ClosingReason::Behind)
        } else {
            None
        }
    }

    /// Refuses what cannot be done while subscriptions end.
    pub(super) fn check_serving(&self) -> Result<()> {
        self.ending().map_or(Ok(()), |reason| Err(reason.error()))
    }

    /// Refuses new subscriptions, from the beginning of the drain on.
    pub(super) fn check_admitting(&self) -> Result<()> {
        if self.has_come_to(Stage::Draining) {
            return Err(Error::closing());
        }
        self.check_serving()
    }
}

impl ClosingReason {
    /// The error by which a new request is refused for this reason.
    pub fn error(self) -> Error {
        match self {
            ClosingReason::Behind => Error::behind(),
            ClosingReason::Shutdown | ClosingReason::Busy => Error::closing(),
            ClosingReason::Expired => Error::credentials_ended(),
        }
    }
}
