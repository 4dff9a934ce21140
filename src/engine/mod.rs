//! Storage of the log. What every engine promises, and the conformance suite checks on each:
//! - vids strictly rise, and one that was returned by [`Engine::append`] is never given again in
//!   its epoch;
//! - `append` returns once the events are as durable as the engine says, and of each batch either
//!   all of them are or none;
//! - `read` never returns an event that is not durable yet, and says which vid was the oldest at
//!   the very moment it read;
//! - epoch, bounds and sizes are replaced together, as one [`LogState`];
//! - nothing here waits for an event: that is the bus's part.

mod group_source;
pub(crate) mod import;
mod jetstream;
mod lease;
mod log;
mod memory;
mod page;
mod removal;
mod retention;
pub(crate) mod sqlite;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::cursor::{Epoch, Vid};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, NewEvent};
use crate::metrics::Histogram;
use crate::topic::{Filter, Topic};

pub use group_source::{Group, GroupSource, GroupThread};
pub use jetstream::{JetStreamEngine, JetStreamOptions, NatsCredentials, NatsTls};
pub(crate) use jetstream::{JetStreamTarget, StreamReport, inspect, renew_epoch};
pub use lease::SourceLease;
pub use log::{BatchBounds, Bounds, LogState, Sizes, Tail, TailStep};
pub use memory::MemoryEngine;
pub use page::{Page, PageBudget, ReadRequest};
pub use removal::{Removal, RemovalStep};
use retention::millis;
pub use retention::{Moment, Retention, TrimStep};
pub use sqlite::SqliteEngine;
pub(crate) use sqlite::SqliteSource;

/// Where a published event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its vid; that of the first one when it is a duplicate.
    pub vid: Vid,
    /// An event with this id was published within the dedupe window.
    pub duplicate: bool,
}

impl Receipt {
    /// The lowest and the highest vid of a batch, which has at least one event. A known id may
    /// stand anywhere in it.
    pub fn range(receipts: &[Receipt]) -> (Vid, Vid) {
        // Of a batch with a known id the first receipt need not be the lowest.
        let vids = || receipts.iter().map(|r| r.vid);
        (vids().min().unwrap_or(0), vids().max().unwrap_or(0))
    }
}

/// What an append did.
#[derive(Debug, Default)]
pub struct Appended {
    /// The events that are new on the log, in vid order; none where they come by the tail.
    pub events: Vec<Arc<Event>>,
    /// One answer a batch, in the given order: one receipt an event, or why nothing of this batch
    /// was written. On a shared log one batch may fail and the next one not.
    pub batches: Vec<Result<Vec<Receipt>>>,
    /// Where the engine syncs by itself: from when to when, in nanoseconds of a clock that only
    /// advances.
    pub synced_ns: Option<Range<u64>>,
}

/// A log of events.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its kind, as configured.
    fn kind(&self) -> &'static str;

    /// What an acknowledged event survives, for a person to read.
    fn durability(&self) -> String;

    /// What the log says of itself, as of one moment.
    fn state(&self) -> Arc<LogState>;

    /// The oldest vid that is retained, if this is the epoch of the log. Each subscription asks, so
    /// an engine that makes its state anew each time answers without it.
    fn first_vid_of(&self, epoch: &Epoch) -> Option<Vid> {
        let state = self.state();
        (state.lineage.epoch() == epoch).then_some(state.bounds.first)
    }

    /// How much one atomic batch may hold.
    fn batch_bounds(&self) -> BatchBounds {
        BatchBounds::default()
    }

    /// The end of the log behind this vid, where others append as well. Then only what comes here
    /// becomes visible, and [`Appended::events`] is empty. It can be taken once.
    fn take_tail(&self, _after: Vid) -> Option<Box<dyn Tail>> {
        None
    }

    /// The newest vid of the log, confirmed by whoever decides on it: asked before a reader is
    /// notified that its cursor is ahead.
    ///
    /// # Errors
    /// When it cannot be confirmed now.
    async fn confirmed_last(&self) -> Result<Vid> {
        Ok(self.state().bounds.last)
    }

    /// A new contender for the right to pull from sources, where other gateways use this log as
    /// well; none where this one is alone and has that right anyway.
    fn source_lease(&self) -> Option<Arc<SourceLease>> {
        None
    }

    /// Can events be appended? The reason where not.
    fn writable(&self) -> Result<()> {
        Ok(())
    }

    /// The newest moment that the log knows of, to go on from after a restart; none where there is
    /// nothing to go on from. Its `time_ms` is the clock's, which an event may be ahead of.
    fn newest_moment(&self) -> Option<Moment> {
        None
    }

    /// Remembers a moment at which nothing was appended, so that a restart goes on from there.
    async fn note_moment(&self, _now: Moment) -> Result<()> {
        Ok(())
    }

    /// Bytes of the write-ahead log, which are not in [`Engine::sizes`]; 0 where there is none.
    fn wal_bytes(&self) -> u64 {
        0
    }

    /// How long its syncs take; none where it does not sync.
    fn sync_durations(&self) -> Option<Arc<Histogram>> {
        None
    }

    /// Messages that others have appended and that are no events, met so far; 0 where only gateways
    /// append.
    fn skipped_messages(&self) -> u64 {
        0
    }

    /// Appends batches in the given order, each with neighbouring vids in its order, and each all
    /// or none. Events get the time of the last event or of now, whichever is later; where nothing
    /// is new on the log, its time is as before.
    ///
    /// # Errors
    /// Storage full or locked by another program (nothing was written, later appends may succeed),
    /// busy (too many ids to remember), or broken (nothing will be written any more).
    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended>;

    /// The thread on which groups are appended one after the other, where the engine has one; then
    /// its own appends are in the order of the log, and need no tail.
    fn group_thread(&self) -> Option<&dyn GroupThread> {
        None
    }

    /// Reads a page. It is complete up to its `through`, which may be before the requested one; an
    /// engine that cannot say so now returns an error, or a page that ends earlier.
    async fn read(&self, request: ReadRequest) -> Result<Page>;

    /// Does [`Engine::read`] find what this filter takes in, without reading the rest of the log?
    /// It may, of topics that are few, however the patterns begin.
    ///
    /// # Errors
    /// As [`Engine::read`].
    async fn finds_topics(&self, filter: &Filter) -> Result<bool> {
        Ok(!filter.is_broad())
    }

    /// Reads a page of those events that are the newest retained of their topic.
    async fn read_newest(&self, request: ReadRequest) -> Result<Page>;

    /// The vid after which reading yields all retained events of this time or later.
    async fn vid_before(&self, time_ms: i64) -> Result<Vid>;

    /// Topics that match, after this one, in byte order, with their newest vid.
    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>>;

    /// Deletes some of what is due, the oldest first: at most
    /// [`crate::limits::TRIM_STEP_EVENTS`] events, and no more of anything else than that takes
    /// along. An event larger than [`crate::limits::TRIM_STEP_BYTES`] is a step of its own. Ages
    /// are up to this [`Moment::counted_ms`].
    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep>;

    /// Removes events at an operator's word, a step's worth of them. What is reported is gone for
    /// good: no read that begins afterwards finds it.
    ///
    /// # Errors
    /// Unsupported where the engine cannot, and what [`Engine::append`] says of a log that cannot
    /// be written.
    async fn remove(&self, _what: &Removal) -> Result<RemovalStep> {
        let kind = self.kind();
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("the engine {kind} cannot remove single events; they leave by retention"),
        ))
    }
}

/// Which engine to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineKind {
    /// One machine, on disk.
    Sqlite {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// Tests and throw-away runs.
    Memory,
    /// Any number of gateways on one stream of NATS JetStream.
    JetStream(Box<JetStreamOptions>),
}

/// What the log of a gateway has to keep, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct LogRequirements {
    /// When events leave it.
    pub retention: Retention,
    /// The largest event data, in bytes.
    pub max_event_bytes: usize,
}

/// Why a log cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct OpenError {
    text: String,
    may_pass: bool,
}

impl OpenError {
    /// The text names what was to be opened, and a remedy.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        OpenError {
            text: text.into(),
            may_pass: false,
        }
    }

    /// The same, where it may pass by itself: what was to be opened may be starting.
    pub(crate) fn passing(mut self) -> Self {
        self.may_pass = true;
        self
    }

    /// Is it worth a second try?
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }
}

/// Opens the engine.
///
/// # Errors
/// When the log cannot be used; the text says why and what to do.
pub async fn open(
    kind: &EngineKind,
    required: LogRequirements,
) -> std::result::Result<Arc<dyn Engine>, OpenError> {
    let dedupe_window = required.retention.dedupe_window;
    match kind.clone() {
        EngineKind::JetStream(options) => {
            Ok(Arc::new(JetStreamEngine::open(*options, required).await?))
        }
        EngineKind::Memory => Ok(Arc::new(MemoryEngine::new(dedupe_window))),
        EngineKind::Sqlite { data_dir } => {
            // It checks the files of the log, which can take a while, and sqlite only blocks.
            let opening =
                tokio::task::spawn_blocking(move || SqliteEngine::open(&data_dir, dedupe_window));
            let opened = opening.await.map_err(|error| {
                OpenError::new(format!("opening the log was broken off: {error}"))
            })?;
            Ok(Arc::new(opened?))
        }
    }
}
