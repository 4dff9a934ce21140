//! What a subscriber asks for, and what it gets (contract §3, §4).
//!
//! Invariant: these know no transport and no engine; each transport shows them in its own way.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::closing::Closing;
use crate::cursor::{Epoch, Gap, Start, Vid};
use crate::topic::Filter;

/// What to do when events that the subscriber has not seen are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// Report it and read on.
    #[default]
    Continue,
    /// End with an error.
    Fail,
}

/// What to read, from where, and how much (contract §3, §5).
#[derive(Debug, Clone)]
pub struct SubscribeRequest {
    /// Which topics.
    pub filter: Filter,
    /// From where.
    pub start: Start,
    /// What to do about a gap.
    pub on_gap: OnGap,
    /// End after so many events.
    pub limit: Option<u32>,
}

/// What a subscription yields (contract §4). A vid here is a position: everything up to it has
/// been yielded.
#[derive(Debug, Clone)]
pub enum Step {
    /// Once, first.
    Hello {
        /// The epoch of the log.
        epoch: Epoch,
        /// The oldest retained vid.
        first: Vid,
        /// The newest vid.
        last: Vid,
        /// Something is yielded at least this often.
        heartbeat: Duration,
        /// What is served, where that is less than what was asked for.
        cut_to: Option<Filter>,
    },
    /// One or more events in vid order, and the position behind them.
    Events(Arc<Batch>, Vid),
    /// The live end has been reached.
    CaughtUp(Vid),
    /// A heartbeat; the position may have moved without an event.
    Progress(Vid),
    /// Something that was not seen is gone.
    Gap(Gap),
    /// The gateway ends the subscription, and the cursor stays good; the last step.
    Closing(Closing),
}
