//! Copying one log into another: what a source gives and what a target takes.
//!
//! Invariants:
//! - a part of a log is written as a whole or not at all, and is durable when it has been taken;
//! - the target itself says how far a copy has come, so that one which was killed goes on;
//! - under its own vid an event is only written behind the vids that both logs have in common.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Bounds, LogState, OpenError, Page, Sizes};
use crate::cursor::Vid;
use crate::error::Error;
use crate::event::Event;
use crate::lineage::Lineage;

/// Why a log cannot be copied, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CopyError(String);

impl CopyError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        CopyError(text.into())
    }
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        CopyError(error.to_string())
    }
}

impl From<OpenError> for CopyError {
    fn from(error: OpenError) -> Self {
        CopyError(error.to_string())
    }
}

/// Which vids events get on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopiedVids {
    /// Those that they have on the source; those that are missing there are missing here.
    Kept,
    /// The next ones of the target.
    New,
}

/// A part of a log: what the source has after one vid and up to another.
#[derive(Debug, Clone)]
pub(crate) struct CopiedPart {
    /// The epochs of the source.
    pub(crate) source: Lineage,
    pub(crate) vids: CopiedVids,
    /// In vid order.
    pub(crate) events: Vec<Arc<Event>>,
    /// Vids of the source.
    pub(crate) after: Vid,
    pub(crate) through: Vid,
}

/// How a target is related to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) bounds: Bounds,
    pub(crate) sizes: Sizes,
    /// Both have the same events under the same vids up to this one.
    pub(crate) same_through: Option<Vid>,
    /// Events of the source up to this one are here under other vids.
    pub(crate) renumbered_through: Option<Vid>,
    /// What the target keeps at most, where it knows that itself.
    pub(crate) max_events: u64,
    pub(crate) max_bytes: u64,
    /// About as many bytes more than on the source an event takes here.
    pub(crate) overhead_bytes: u64,
}

/// A log that is copied.
#[async_trait]
pub(crate) trait CopySource: Send + Sync {
    /// What it is now.
    async fn state(&self) -> Result<LogState, CopyError>;

    /// Its events after a vid, up to another one or less far.
    async fn read(&self, after: Vid, through: Vid) -> Result<Page, CopyError>;
}

/// A log that another one is copied into.
#[async_trait]
pub(crate) trait CopyTarget: Send + Sync {
    /// How it is related to this source.
    async fn standing(&self, source: &LogState) -> Result<Standing, CopyError>;

    /// Vids that it can leave out, other than before its first event.
    fn most_holes(&self) -> u64 {
        u64::MAX
    }

    /// Makes ready for parts, the first of which begins after this vid of the source.
    async fn begin(
        &self,
        _source: &Lineage,
        _vids: CopiedVids,
        _after: Vid,
    ) -> Result<(), CopyError> {
        Ok(())
    }

    /// Takes the next part.
    async fn take(&self, part: CopiedPart) -> Result<(), CopyError>;

    /// Remembers what it has got, after the last part.
    async fn end(
        &self,
        _source: &Lineage,
        _vids: CopiedVids,
        _through: Vid,
    ) -> Result<(), CopyError> {
        Ok(())
    }
}
