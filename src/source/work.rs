//! What a source is, what it pulls, and how it is answered.
//!
//! Invariant: this module knows no source and no driver; both of them know it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::Receipt;
use crate::event::NewEvent;

/// One connection to where events come from. It is dropped at its first error, and a new one is
/// made in its place.
#[async_trait]
pub(crate) trait Source: Send {
    /// Waits for work: at most [`SOURCE_BATCH_EVENTS`](crate::limits::SOURCE_BATCH_EVENTS) pieces,
    /// in the order in which they are to be published. An empty answer is allowed when nothing came
    /// in a while. Success also means that the previous acknowledgement has arrived. The future is
    /// dropped before it completes only when the source ends.
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceError>;

    /// Reports the outcome of each piece, in the order pulled. Called once all of them are durable.
    async fn acknowledge(&mut self, outcomes: Vec<WorkOutcome>) -> Result<(), SourceError>;

    /// How many pieces wait outside, where that is known.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// Makes a source that is not connected yet.
pub(crate) type MakeSource = Arc<dyn Fn() -> Box<dyn Source> + Send + Sync>;

/// One piece of work.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// It is an event.
    Event(NewEvent),
    /// It cannot become an event.
    Refused(DeadLetter),
}

/// A piece of work that is published on `vidette.dead.KIND` instead of its own topic.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// Why it cannot become an event, and what to do.
    pub(crate) reason: String,
    /// The bytes as they came, or as many of them as were kept.
    pub(crate) content: Bytes,
    /// What else is known about it.
    pub(crate) headers: Vec<(String, String)>,
    /// Identifies it when it comes again.
    pub(crate) id: Option<Arc<str>>,
}

/// What became of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkOutcome {
    /// It is an event, or it was one already.
    Published(Receipt),
    /// It is a dead letter, for this reason.
    Refused(String),
}

/// Why a source cannot go on for now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceError(String);

impl From<std::io::Error> for SourceError {
    fn from(error: std::io::Error) -> Self {
        SourceError(format!("connection lost: {error}"))
    }
}

impl SourceError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        SourceError(text.into())
    }
}
