//! Where are events kept?
//!
//! An engine keeps one log. Its promises, which the conformance suite checks on each:
//! - vids strictly rise, and one that was returned by [`Engine::append`] is never given again in
//!   its epoch;
//! - `append` returns once the events are as durable as the engine says, and either all of them are
//!   or none;
//! - `read` never returns an event that `append` has not returned, and tells the oldest vid of the
//!   very moment it read;
//! - nothing here waits for an event: that is the bus's part.

mod memory;
pub(crate) mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cursor::{Epoch, Vid};
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::limits;
use crate::topic::{Filter, Topic};

pub use memory::MemoryEngine;
pub use sqlite::{OpenError, SqliteEngine};

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
        let vids = || receipts.iter().map(|r| r.vid);
        (vids().min().unwrap_or(0), vids().max().unwrap_or(0))
    }
}

/// What an append did.
#[derive(Debug)]
pub struct Appended {
    /// The events that are new on the log, in vid order.
    pub events: Vec<Arc<Event>>,
    /// One receipt an event, batch by batch, as they were given.
    pub receipts: Vec<Vec<Receipt>>,
}

/// How much one page may hold.
#[derive(Debug, Clone, Copy)]
pub struct PageBudget {
    /// Matching events.
    pub events: usize,
    /// Bytes of matching events; one event is returned however large it is.
    pub bytes: usize,
    /// Events looked at.
    pub scan: usize,
}

impl PageBudget {
    /// A page of at most so many events, within the bounds of [`limits`].
    pub fn of_events(events: usize) -> Self {
        PageBudget {
            events: events.clamp(1, limits::PAGE_EVENTS),
            bytes: limits::PAGE_BYTES,
            scan: limits::PAGE_SCAN_EVENTS,
        }
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Events after this vid …
    pub after: Vid,
    /// … up to and with this one …
    pub through: Vid,
    /// … that match this.
    pub filter: Filter,
    /// How much at once.
    pub budget: PageBudget,
}

/// A part of the log.
#[derive(Debug)]
pub struct Page {
    /// Matching events in vid order.
    pub events: Vec<Arc<Event>>,
    /// Everything that matches up to this vid is in `events`.
    pub through: Vid,
    /// The oldest retained vid at the moment of reading.
    pub first: Vid,
}

impl Page {
    /// A page of events that are in memory: those after `request.after` that are wanted, within the
    /// budget. `events` are in vid order, and have everything from there up to `through`.
    pub(crate) fn fill<'e>(
        events: impl Iterator<Item = &'e Arc<Event>>,
        request: &ReadRequest,
        through: Vid,
        first: Vid,
        wanted: impl Fn(&Event) -> bool,
    ) -> Page {
        let (budget, through) = (&request.budget, through.min(request.through));
        let mut page = Page {
            events: Vec::new(),
            through,
            first,
        };
        let mut bytes = 0;
        let range = events
            .skip_while(|e| e.vid <= request.after)
            .take_while(|e| e.vid <= through);
        for (looked_at, event) in range.enumerate() {
            if looked_at == budget.scan
                || page.events.len() == budget.events
                || bytes >= budget.bytes
            {
                page.through = event.vid - 1;
                break;
            }
            if wanted(event) {
                bytes += event.size_bytes();
                page.events.push(event.clone());
            }
        }
        page
    }
}

/// When events leave the log: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Older events are trimmed.
    pub max_age: Duration,
    /// More events than this are trimmed, the oldest first.
    pub max_events: u64,
    /// More bytes than this are trimmed, the oldest events first.
    pub max_bytes: u64,
    /// Publishers' ids are remembered for this long.
    pub dedupe_window: Duration,
}

impl Retention {
    /// Events that came before this are too old; see [`Moment::counted_ms`].
    fn oldest_event_ms(&self, counted_ms: i64) -> i64 {
        counted_ms.saturating_sub(millis(self.max_age))
    }

    /// Ids that came before this are forgotten.
    fn oldest_id_ms(&self, counted_ms: i64) -> i64 {
        counted_ms.saturating_sub(millis(self.dedupe_window))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A moment, by both clocks of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Milliseconds since 1970, as events show it. It may jump, and events never follow it back.
    pub time_ms: i64,
    /// Milliseconds on a clock that never jumps and only goes on while the log is open: ages are
    /// differences of this one.
    pub counted_ms: i64,
}

impl Moment {
    /// The later one, by each of the clocks.
    pub(crate) fn max(self, other: Moment) -> Moment {
        Moment {
            time_ms: self.time_ms.max(other.time_ms),
            counted_ms: self.counted_ms.max(other.counted_ms),
        }
    }
}

impl From<i64> for Moment {
    /// A moment at which both clocks say the same.
    fn from(ms: i64) -> Self {
        Moment {
            time_ms: ms,
            counted_ms: ms,
        }
    }
}

/// What one step of trimming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimStep {
    /// Events deleted.
    pub trimmed: u32,
    /// There is more to trim.
    pub more: bool,
}

impl TrimStep {
    /// A step that found nothing due.
    pub(crate) const NOTHING: TrimStep = TrimStep {
        trimmed: 0,
        more: false,
    };
}

/// A log of events.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its kind, as configured.
    fn kind(&self) -> &'static str;

    /// What an acknowledged event survives, for a person to read.
    fn durability(&self) -> &'static str;

    /// The epoch of the log.
    fn epoch(&self) -> &Epoch;

    /// Oldest and newest vid.
    fn bounds(&self) -> Bounds;

    /// How much it holds.
    fn sizes(&self) -> Sizes;

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

    /// Appends batches, each with neighbouring vids in its order; all of them or none. Events get
    /// the time of the last event or of now, whichever is later; where nothing is new on the log,
    /// its time is as before.
    ///
    /// # Errors
    /// Storage full or locked by another program (nothing was written, later appends may succeed),
    /// busy (too many ids to remember), or broken (nothing will be written any more).
    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended>;

    /// Reads a page.
    async fn read(&self, request: ReadRequest) -> Result<Page>;

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

    /// Deletes some of what is due, the oldest first: at most [`limits::TRIM_STEP_EVENTS`] events,
    /// and no more of anything else than that takes along. An event larger than
    /// [`limits::TRIM_STEP_BYTES`] is a step of its own. Ages are up to this [`Moment::counted_ms`].
    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep>;
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
}

/// Opens the engine.
///
/// # Errors
/// When the data folder cannot be used; the text says why and what to do.
pub fn open(
    kind: &EngineKind,
    dedupe_window: Duration,
) -> std::result::Result<Arc<dyn Engine>, OpenError> {
    Ok(match kind {
        EngineKind::Sqlite { data_dir } => Arc::new(SqliteEngine::open(data_dir, dedupe_window)?),
        EngineKind::Memory => Arc::new(MemoryEngine::new(dedupe_window)),
    })
}
