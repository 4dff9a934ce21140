//! Events that leave the log before their time, because an operator says so.
//!
//! Invariants:
//! - what is removed leaves holes: no vid is given again, and no other event moves;
//! - a step is bounded, and durable before it is reported.

use crate::cursor::Vid;
use crate::topic::Topic;

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// One event.
    Event(Vid),
    /// The events of a topic, the oldest first.
    Topic {
        /// Whose events.
        topic: Topic,
        /// Those up to this vid.
        through: Vid,
    },
}

/// What one step of a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemovalStep {
    /// The events that are gone now, in vid order.
    pub vids: Vec<Vid>,
    /// Their topic; none where nothing was there.
    pub topic: Option<Topic>,
    /// There is more to remove.
    pub more: bool,
}
