//! A log in SQLite, for one machine.
//!
//! Invariants:
//! - one gateway at a time holds a data folder, by a lock on `vidette.lock`;
//! - all writes go through one thread, which commits with `synchronous=FULL`: the write-ahead log
//!   is synced before an append returns;
//! - a commit writes its events, and the index of topics trails behind them;
//! - readers have connections of their own and never wait for the writer;
//! - after a failed sync, or when the log's files have been changed by others, nothing is written
//!   any more until a restart has read back what the disk really holds;
//! - no other program decides whether the log can be opened, or how long publishers wait: it may
//!   only make them be refused. The exceptions are a log of an older version and a copy, which have
//!   to be written before they can be opened;
//! - a log that is found to be a copy begins a new epoch before anything is published.

mod append;
mod checkpoint;
mod checkpoint_pass;
mod connect;
mod copy_source;
mod epochs;
mod errors;
mod files;
mod folder;
mod frames;
mod health;
mod high_water;
mod identity;
mod import;
mod index;
mod open;
mod page_builder;
mod probe;
mod published;
mod reader;
mod readers;
mod recognize;
mod refusal;
mod removal;
mod reserve;
mod resync;
mod row;
mod schema;
mod threads;
mod topic_blocks;
mod topic_list;
mod topic_scan;
mod topic_search;
mod topic_sets;
mod trim;
mod wal_check;
mod write_transaction;
mod writer;
mod writer_command;
mod writer_state;
mod writer_thread;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Appended, Engine, GroupThread, LogState, Moment, OpenError, Page, ReadRequest, Removal,
    RemovalStep, Retention, TrimStep,
};
use crate::cursor::Vid;
use crate::error::Result;
use crate::event::NewEvent;
use crate::limits;
use crate::metrics::Histogram;
use crate::topic::{Filter, Topic};

pub(crate) use copy_source::SqliteSource;
use health::Health;
use probe::{Probe, Watched};
use readers::Readers;
use reserve::Reserve;
use rusqlite::Connection;
use topic_list::TopicList;
use topic_sets::TopicSets;
use writer::Writer;
use writer_thread::WriterSetup;

/// A log in SQLite.
pub struct SqliteEngine {
    writer: Writer,
    readers: Readers,
    topic_sets: TopicSets,
    health: Arc<Health>,
    sync_durations: Arc<Histogram>,
    _probe: Probe,
    /// Held for as long as the engine lives.
    _lock: std::fs::File,
}

impl SqliteEngine {
    /// Opens the log in a data folder, or makes a new one where there is none. A log that is found
    /// to be a copy begins a new epoch.
    ///
    /// # Errors
    /// When another process holds the folder, or it cannot be written, has no space, or is damaged.
    pub fn open(data_dir: &Path, dedupe_window: Duration) -> std::result::Result<Self, OpenError> {
        let log = open::open(data_dir)?;
        let reserve = Reserve::take(data_dir);
        let sync_durations = Arc::new(Histogram::of_seconds());
        let writer = Writer::start(WriterSetup {
            connection: log.writer,
            state: log.state,
            lineage: log.lineage,
            reserve,
            health: log.health.clone(),
            high_water: log.high_water.clone(),
            dedupe_window,
            sync_durations: sync_durations.clone(),
        })?;

        // It watches the writer without keeping it from ending.
        let probe = Probe::start(Watched {
            data_dir: data_dir.to_owned(),
            connection: log.observer,
            health: log.health.clone(),
            checkpointer: log.checkpointer,
            writer: writer.observer(),
            high_water: log.high_water,
        })?;
        Ok(SqliteEngine {
            writer,
            readers: Readers::new(log.readers, log.health.clone()),
            topic_sets: TopicSets::new(),
            health: log.health,
            sync_durations,
            _probe: probe,
            _lock: log.lock,
        })
    }

    /// Has the log in a data folder, which nobody has open, begin a new epoch at its last vid. For
    /// a copy that cannot be noticed: the snapshot of a machine or of a disk.
    ///
    /// # Errors
    /// As [`SqliteEngine::open`], and when another program holds the write lock.
    pub fn begin_new_epoch(data_dir: &Path) -> std::result::Result<(), OpenError> {
        open::begin_new_epoch(data_dir)
    }

    /// Searches for the topics of a filter, step by step, so that others have the connections in
    /// between, and reads in the snapshot in which the search ends. A read is given the topics, or
    /// none where they are many.
    async fn read_by_topics<T: Send + 'static>(
        &self,
        filter: &Filter,
        read: impl Fn(&Connection, Option<&[i64]>) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let mut search = self.topic_sets.begin(filter, self.state().bounds);
        let read = Arc::new(read);
        loop {
            let read = read.clone();
            let step = move |connection: &Connection| {
                // One transaction, so that nothing is trimmed between two of its statements.
                let snapshot = connection.unchecked_transaction()?;
                search.step(&snapshot)?;
                let found = search.found().map(|found| found.ids.as_deref());
                let done = found
                    .map(|topic_ids| read(&snapshot, topic_ids))
                    .transpose()?;
                Ok((search, done))
            };
            let (stepped, done) = self.readers.run(step).await?;
            if let Some(done) = done {
                self.topic_sets.keep(&stepped);
                return Ok(done);
            }
            search = stepped;
        }
    }
}

#[async_trait]
impl Engine for SqliteEngine {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn durability(&self) -> String {
        "on disk: an acknowledged event has been synced and survives a power cut".into()
    }

    fn state(&self) -> Arc<LogState> {
        self.writer.log_state()
    }

    fn writable(&self) -> Result<()> {
        self.health.writable()
    }

    fn sync_durations(&self) -> Option<Arc<Histogram>> {
        Some(self.sync_durations.clone())
    }

    fn wal_bytes(&self) -> u64 {
        self.health.wal_bytes()
    }

    fn newest_moment(&self) -> Option<Moment> {
        self.writer.newest_moment()
    }

    async fn note_moment(&self, now: Moment) -> Result<()> {
        self.writer.note(now).await
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        self.writer.append(batches, now).await
    }

    fn group_thread(&self) -> Option<&dyn GroupThread> {
        Some(&self.writer)
    }

    async fn finds_topics(&self, filter: &Filter) -> Result<bool> {
        // What is known need not be up to date for this: who reads looks for what has come since.
        if let Some(are_few) = self.topic_sets.are_few(filter, self.state().bounds) {
            return Ok(are_few);
        }
        self.read_by_topics(filter, |_, topic_ids| Ok(topic_ids.is_some()))
            .await
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        let filter = request.filter.clone();
        let read = move |snapshot: &Connection, topic_ids: Option<&[i64]>| {
            reader::read(snapshot, &request, topic_ids)
        };
        self.read_by_topics(&filter, read).await
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        let filter = request.filter.clone();
        let read = move |snapshot: &Connection, topic_ids: Option<&[i64]>| {
            reader::read_newest(snapshot, &request, topic_ids)
        };
        self.read_by_topics(&filter, read).await
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        self.readers
            .run(move |connection| reader::vid_before(connection, time_ms))
            .await
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        let mut list = TopicList::new(filter, after.as_ref(), limit);
        // Step by step, so that others have the connections in between.
        while !list.is_done() {
            let step = move |connection: &Connection| {
                list.step(connection)?;
                Ok(list)
            };
            list = self.readers.run(step).await?;
        }
        Ok(list.topics)
    }

    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.writer.trim(retention, counted_ms).await
    }

    async fn remove(&self, what: &Removal) -> Result<RemovalStep> {
        self.writer.remove(what.clone()).await
    }
}

/// Blocks of vids by which topics are indexed: one index row a topic and block, not one an event.
const BLOCK_VIDS: u64 = 4096;

fn block_of(vid: Vid) -> u64 {
    vid / BLOCK_VIDS
}

/// SQLite's integers are signed; a vid is at most 2^53-1, so it always fits.
fn to_sql(vid: Vid) -> i64 {
    i64::try_from(vid).expect("a vid is at most 2^53-1")
}

fn from_sql(value: i64) -> Vid {
    u64::try_from(value).unwrap_or(0)
}

const _: () = assert!(limits::MAX_VID <= i64::MAX as u64);
