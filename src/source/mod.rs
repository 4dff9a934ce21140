//! Where else do events come from?
//!
//! A source pulls pieces of work from outside, publishes them, and only then acknowledges them.
//! Invariants:
//! - nothing is acknowledged before its event, or its dead letter, is durable;
//! - a piece that comes again because its acknowledgement was lost makes no second event;
//! - a source that is down, slow or broken stops neither the gateway nor another source.

mod driver;
mod fingerprint;
mod gearman;
mod known;
mod notes;
pub(crate) mod postgres;
mod publishing;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::task::TaskTracker;

use crate::bus::Bus;
use crate::config::SourcesConfig;
use crate::engine::Receipt;
use crate::event::NewEvent;
use known::KnownIds;

pub(crate) use state::{SourceState, register_metrics};

/// One connection to where events come from. It lives until its first fault; then another one is
/// made in its place.
#[async_trait]
pub(crate) trait Source: Send {
    /// Waits for work: at most [`SOURCE_BATCH_EVENTS`](crate::limits::SOURCE_BATCH_EVENTS) pieces,
    /// in the order in which they are to be published. None at all is allowed when nothing came in
    /// a while. That this succeeds also says that the acknowledgement before it has arrived.
    /// Dropped in the middle only when the source ends.
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceFault>;

    /// Tells the outside what became of each piece, in the order pulled. Called once all of them
    /// are durable.
    async fn acknowledge(&mut self, outcomes: Vec<Outcome>) -> Result<(), SourceFault>;

    /// How much waits outside, where it can be told.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// Makes a source that is not connected yet.
pub(crate) type MakeSource = Box<dyn Fn() -> Box<dyn Source> + Send + Sync>;

/// One piece of work.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// It is an event.
    Event(NewEvent),
    /// It cannot become one as it came.
    Refused(DeadLetter),
}

/// A piece of work that goes to `vidette.dead.KIND` instead of where it was meant to.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// Why it cannot become an event, and what to do.
    pub(crate) reason: String,
    /// The bytes as they came, or what was kept of them.
    pub(crate) content: Bytes,
    /// What else is known of it.
    pub(crate) headers: Vec<(String, String)>,
    /// By which it is known when it comes again.
    pub(crate) id: Option<Arc<str>>,
}

/// What became of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is an event, or it was one already.
    Published(Receipt),
    /// It is a dead letter, for this reason.
    Refused(String),
}

/// Why a source cannot go on for now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceFault(String);

impl From<std::io::Error> for SourceFault {
    fn from(fault: std::io::Error) -> Self {
        SourceFault(format!("the connection broke: {fault}"))
    }
}

impl SourceFault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        SourceFault(text.into())
    }
}

/// A source that is not running yet.
type Planned = (Arc<SourceState>, MakeSource);

/// The sources of a gateway. The only place that knows the kinds.
pub(crate) struct Sources {
    planned: Vec<Planned>,
}

impl Sources {
    /// What is configured; nothing is connected yet.
    pub(crate) fn plan(config: &SourcesConfig, bus: &Bus) -> Self {
        let gearman = config
            .gearman
            .iter()
            .flat_map(|source| gearman::plan(source, bus.options()));
        let postgres = config
            .postgres
            .iter()
            .map(|source| postgres::plan(source, bus));
        Sources {
            planned: gearman.chain(postgres).collect(),
        }
    }

    /// How they are doing.
    pub(crate) fn states(&self) -> Arc<[Arc<SourceState>]> {
        self.planned
            .iter()
            .map(|(state, _)| state.clone())
            .collect()
    }

    /// Starts them; they end when the bus closes.
    pub(crate) fn start(self, bus: &Bus, tracker: &TaskTracker) {
        if self.planned.is_empty() {
            return;
        }
        let (bus, inner) = (bus.clone(), tracker.clone());
        tracker.spawn(async move {
            let known = Arc::new(KnownIds::read_back(&bus).await);
            for (state, make) in self.planned {
                inner.spawn(driver::drive(make, bus.clone(), state, known.clone()));
            }
        });
    }
}
