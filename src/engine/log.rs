//! What a log says of itself, and what the tail of a shared one brings.
//!
//! Invariant: a [`LogState`] is of one moment, and steps of a tail come in the order of the log.

use std::sync::Arc;

use async_trait::async_trait;

use crate::cursor::Vid;
use crate::event::Event;
use crate::limits;
use crate::lineage::Lineage;

/// The oldest and the newest retained vid. An empty log has `first == last + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest retained vid.
    pub first: Vid,
    /// The newest vid that was ever given.
    pub last: Vid,
}

/// How much a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Retained events.
    pub events: u64,
    /// Their bytes, as retention counts them.
    pub bytes: u64,
}

/// What a log says of itself as of one moment. It is replaced as a whole, so that nobody pairs an
/// old epoch with new bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The epoch, and those that the log went on from.
    pub lineage: Lineage,
    /// Oldest and newest vid.
    pub bounds: Bounds,
    /// How much it holds.
    pub sizes: Sizes,
    /// Is the end of the log known, or known not to be for so long? Always true where one gateway
    /// is the only writer.
    pub live: bool,
}

impl LogState {
    /// The vid up to which another log has the same events under the same vids, where both have an
    /// epoch in common.
    pub(crate) fn same_through(&self, other: &LogState) -> Option<Vid> {
        let one = (&self.lineage, self.bounds.last);
        Lineage::same_through(one, (&other.lineage, other.bounds.last))
    }
}

/// How much one atomic batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchBounds {
    /// Events.
    pub events: usize,
    /// Bytes of all of them, as [`crate::event::NewEvent::size_bytes`] counts.
    pub bytes: usize,
    /// An event's data in bytes.
    pub event_bytes: usize,
}

impl Default for BatchBounds {
    /// The bounds of an engine that has none of its own.
    fn default() -> Self {
        BatchBounds {
            events: limits::MAX_BATCH_EVENTS,
            bytes: limits::PUBLISH_STREAMS_BYTES,
            event_bytes: limits::MAX_EVENT_BYTES_CEILING,
        }
    }
}

/// What the tail of a shared log brings, in the order of the log.
#[derive(Debug)]
pub enum TailStep {
    /// All events after the last step up to `through`; vids that hold no event are left out.
    Events {
        /// In vid order.
        events: Vec<Arc<Event>>,
        /// Everything up to this vid is in `events` of this step or of an earlier one.
        through: Vid,
    },
    /// After a long break the tail goes on behind this vid. What lies between was not read here,
    /// and is read from the log by those who want it.
    Skipped {
        /// The next events come behind it.
        through: Vid,
    },
    /// Events below this vid are gone: retention has moved on, or somebody purged.
    Trimmed {
        /// The oldest retained vid.
        first: Vid,
    },
    /// From here on it is another log: nothing that was read before counts any more.
    Reset(LogState),
    /// The end of the log is known, or has not been known for too long.
    Live(bool),
}

/// The end of a shared log, followed in vid order.
#[async_trait]
pub trait Tail: Send {
    /// The next step. It never ends: retries are made inside.
    async fn next(&mut self) -> TailStep;
}
