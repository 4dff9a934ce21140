//! What the thread that writes is asked for.

use tokio::sync::oneshot;

use crate::engine::import::CopiedPart;
use crate::engine::{Appended, GroupSource, Moment, Removal, RemovalStep, Retention, TrimStep};
use crate::error::Result;
use crate::event::NewEvent;

/// Batches of events, each with neighbouring vids.
pub(super) type Batches = Vec<Vec<NewEvent>>;

/// One transaction and whom to answer, or many of them.
pub(super) enum WriterCommand {
    Append {
        batches: Batches,
        now: Moment,
        reply: oneshot::Sender<Result<Appended>>,
    },
    /// Append groups of this source until it ends, a transaction for each.
    AppendGroups(Box<dyn GroupSource>),
    /// Write a part of another log.
    Import {
        part: CopiedPart,
        reply: oneshot::Sender<Result<()>>,
    },
    Note {
        now: Moment,
        reply: oneshot::Sender<Result<()>>,
    },
    Trim {
        retention: Retention,
        counted_ms: i64,
        reply: oneshot::Sender<Result<TrimStep>>,
    },
    /// Take events out of the log.
    Remove {
        what: Removal,
        reply: oneshot::Sender<Result<RemovalStep>>,
    },
    /// Take the write lock for a moment, to learn whether it is free.
    TryLock,
}
