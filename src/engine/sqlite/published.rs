//! What anyone may know of the log: written by the writer's thread after each commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::writer_state::WriterState;
use crate::engine::{LogState, Moment};
use crate::lineage::Lineage;

/// The state of the log as of its last commit.
pub(super) struct PublishedState {
    log_state: ArcSwap<LogState>,
    /// Held for a copy only.
    newest_moment: Mutex<Option<Moment>>,
}

impl PublishedState {
    pub(super) fn new(state: &WriterState, lineage: &Lineage) -> Self {
        PublishedState {
            log_state: ArcSwap::from_pointee(state.log_state(lineage)),
            newest_moment: Mutex::new(state.newest_moment()),
        }
    }

    pub(super) fn replace(&self, state: &WriterState, lineage: &Lineage) {
        self.log_state.store(Arc::new(state.log_state(lineage)));
        *self.lock_moment() = state.newest_moment();
    }

    pub(super) fn log_state(&self) -> Arc<LogState> {
        self.log_state.load_full()
    }

    pub(super) fn newest_moment(&self) -> Option<Moment> {
        *self.lock_moment()
    }

    fn lock_moment(&self) -> MutexGuard<'_, Option<Moment>> {
        self.newest_moment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
