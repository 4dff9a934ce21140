//! Groups of batches that an engine takes by itself.
//!
//! Whoever hands an engine one group after another has it wake them after each, and wakes it again
//! for the next one. An engine with a thread of its own that takes its groups, and settles them
//! there, wakes only those who are answered.

use super::{Appended, Moment};
use crate::error::Result;
use crate::event::NewEvent;

/// What waits to be appended. Invariants:
/// - a group that was taken is settled before the next one is taken;
/// - a source that is dropped before it has ended answers everybody who waits.
pub trait GroupSource: Send {
    /// The next group to append. Where there is none the source has ended, and is dropped.
    fn next_group(&mut self) -> Option<Group>;

    /// What has become of the group that was taken last.
    fn settle(&mut self, appended: Result<Appended>);
}

/// Batches that are appended together.
#[derive(Debug)]
pub struct Group {
    /// In the order of the log; see [`super::Engine::append`].
    pub batches: Vec<Vec<NewEvent>>,
    /// When the group was formed.
    pub now: Moment,
}

/// Appends groups on a thread of an engine.
pub trait GroupThread {
    /// Takes groups from this source until it ends, each appended as by
    /// [`super::Engine::append`]. Returns at once.
    fn append_groups(&self, source: Box<dyn GroupSource>);
}
