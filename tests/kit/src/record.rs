//! What was seen while a scenario runs, from both sides; one lock, and a condition for those who
//! wait.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::wire::Request;

/// Everything seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Lines of the adapter, in order.
    pub(crate) said: Vec<Value>,
    /// Events by cursor and gaps as `gap:REASON`.
    pub(crate) handed: Vec<String>,
    /// Milliseconds asked for before each new try.
    pub(crate) waits: Vec<u64>,
    pub(crate) requests: Vec<Request>,
    /// Connections that the client has not closed yet.
    pub(crate) open: BTreeSet<usize>,
    /// Those of them on which no request is under way.
    pub(crate) idle: BTreeSet<usize>,
    /// What was found wrong while it happened.
    pub(crate) wrong: Vec<String>,
    /// The adapter's process has closed its stdout.
    pub(crate) gone: bool,
    /// The scenario is over: threads end.
    pub(crate) over: bool,
}

impl Seen {
    /// How often the adapter has said something of this kind.
    pub(crate) fn count(&self, say: &str) -> usize {
        self.lines(say).count()
    }

    /// Whether the adapter can play another scenario in the same process.
    pub(crate) fn resets(&self) -> bool {
        self.lines("ready").any(|line| line["resets"] == true)
    }

    /// How many sockets the library has left. Idle ones are not its own where it says that the
    /// platform holds the pool, as with `fetch`.
    pub(crate) fn sockets_left(&self) -> usize {
        let of_platform = self.lines("ready").any(|line| line["pool"] == "platform");
        let idle = if of_platform { self.idle.len() } else { 0 };
        self.open.len() - idle
    }

    /// The adapter's lines of one kind.
    pub(crate) fn lines<'a>(&'a self, say: &'a str) -> impl Iterator<Item = &'a Value> {
        self.said.iter().filter(move |line| line["say"] == say)
    }
}

/// The shared record of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Record {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Record {
    /// Looks, and perhaps changes; wakes all who wait.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Looks only.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until it is so; false when it was not in time.
    pub(crate) fn wait_until(&self, most: Duration, so: impl Fn(&Seen) -> bool) -> bool {
        let (seen, _) = self
            .changed
            .wait_timeout_while(self.lock(), most, |seen| !so(seen))
            .unwrap_or_else(PoisonError::into_inner);
        so(&seen)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
