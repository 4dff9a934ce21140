//! When a batch was committed, for whoever traces its publishing.
//!
//! Invariant: where nobody watches, a batch costs no look at a clock.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::event::NewEvent;

/// One atomic batch, as it is handed to the bus.
#[derive(Debug)]
pub struct NewBatch {
    pub(super) events: Vec<NewEvent>,
    pub(super) watch: Option<Arc<CommitWatch>>,
}

impl From<Vec<NewEvent>> for NewBatch {
    fn from(events: Vec<NewEvent>) -> Self {
        NewBatch {
            events,
            watch: None,
        }
    }
}

impl NewBatch {
    /// A batch of which it is noted when it was committed.
    pub(crate) fn watched(events: Vec<NewEvent>, watch: Arc<CommitWatch>) -> Self {
        NewBatch {
            events,
            watch: Some(watch),
        }
    }
}

/// What is known of a batch's commit. Times are in nanoseconds, by [`crate::metrics::steady_ns`].
#[derive(Debug, Default)]
pub(crate) struct CommitWatch(OnceLock<CommitTimes>);

/// When a batch was committed, whatever became of it.
#[derive(Debug, Clone)]
pub(crate) struct CommitTimes {
    /// From when its group was formed until the engine had answered.
    pub(crate) append_ns: Range<u64>,
    /// The sync within that, where the engine does that itself.
    pub(crate) sync_ns: Option<Range<u64>>,
}

impl CommitWatch {
    pub(super) fn note(&self, times: &CommitTimes) {
        // A batch is committed once.
        let _ = self.0.set(times.clone());
    }

    /// None where the batch has not come that far.
    pub(crate) fn times(&self) -> Option<&CommitTimes> {
        self.0.get()
    }
}
