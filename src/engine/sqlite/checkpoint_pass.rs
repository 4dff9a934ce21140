//! What the checkpoint thread and the writer share: the pass that is running, and the gate at which
//! the writer waits for it.
//!
//! Invariant: the writer waits for a bounded time, whatever becomes of the thread.

use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits;

#[derive(Default)]
pub(super) struct CheckpointProgress {
    pass: Mutex<Pass>,
    /// Something of the pass has changed.
    changed: Condvar,
    /// A reader needs an older state than would be copied.
    pub(super) is_held: AtomicBool,
}

#[derive(Default)]
pub(super) struct Pass {
    pub(super) is_running: bool,
    pub(super) gate: Gate,
    /// Pages of the log from which on the writer waits for the thread.
    pub(super) writer_waits_at: u32,
    /// So much of the log has been copied and synced, and the rest is the writer's.
    pub(super) copied: Option<u32>,
}

/// Holds the writer for a moment, once a pass.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    #[default]
    Open,
    Closed,
    /// The writer waits at it.
    Waiting,
    /// The writer has waited for long enough.
    Passed,
}

impl CheckpointProgress {
    /// Held briefly, by the writer also while it copies its small rest.
    pub(super) fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a pass. Where its gate is closed it waits for the writer there: true when it came.
    pub(super) fn begin_pass(&self, new: Pass) -> bool {
        // From here on a commit waits where the pass says so.
        let mut pass = self.pass();
        *pass = new;

        // Nobody may be publishing, so the wait for a writer at the gate is short.
        let is_closed = |pass: &Pass| pass.gate == Gate::Closed;
        pass = self.wait_while(pass, limits::COPY_GATE, is_closed);
        pass.gate == Gate::Waiting
    }

    /// Lets the writer go on that waits for the pass.
    pub(super) fn end_pass(&self) {
        self.pass().is_running = false;
        self.changed.notify_all();
    }

    /// The writer after a commit, while a pass is running.
    pub(super) fn wait_for_pass<'p>(&'p self, mut pass: MutexGuard<'p, Pass>, pages: u32) {
        // A small pass needs a moment without commits, so that SQLite syncs the database.
        if pass.gate == Gate::Closed {
            pass = self.wait_at_gate(pass);
        }
        // Too far ahead of a large pass: the log would grow faster than it is copied.
        if pages >= pass.writer_waits_at {
            let is_running = |pass: &Pass| pass.is_running;
            drop(self.wait_while(pass, limits::COPY_MAX_WAIT, is_running));
        }
    }

    fn wait_at_gate<'p>(&'p self, mut pass: MutexGuard<'p, Pass>) -> MutexGuard<'p, Pass> {
        // Lets the thread know that no commit comes now.
        pass.gate = Gate::Waiting;
        self.changed.notify_all();
        let is_waiting = |pass: &Pass| pass.is_running && pass.gate == Gate::Waiting;
        pass = self.wait_while(pass, limits::COPY_GATE, is_waiting);
        // Once a pass: the next commits of a slow one go on.
        if pass.gate == Gate::Waiting {
            pass.gate = Gate::Passed;
        }
        pass
    }

    /// Waits while this holds, for a bounded time.
    fn wait_while<'p>(
        &'p self,
        pass: MutexGuard<'p, Pass>,
        at_most: Duration,
        holds: impl Fn(&Pass) -> bool,
    ) -> MutexGuard<'p, Pass> {
        let waited = self
            .changed
            .wait_timeout_while(pass, at_most, |pass| holds(pass));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
