//! Watching over the log while nobody publishes, and beside those who do.
//!
//! A thread of its own checks twice a second whether the log's files are those that were opened,
//! whether the disk is full and how long the write-ahead log is, and has the writer try the write
//! lock. So `/readyz`, gRPC health and the metrics are right without anybody publishing, and
//! recover by themselves. Invariant: a check costs the same whatever anybody has sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use rusqlite::Connection;

use super::checkpoint::{Checkpointer, DUE_PAGES};
use super::errors;
use super::files::wal_bytes_of;
use super::frames::WalFrames;
use super::health::Health;
use super::high_water::HighWaterMark;
use super::reserve;
use super::threads::spawn;
use super::wal_check::{before_closing, has_its_frames_at};
use super::writer::WriterObserver;
use crate::engine::OpenError;
use crate::limits;

/// Ends the thread when it is dropped.
pub(super) struct Probe(#[expect(dead_code, reason = "dropping it is the signal")] SyncSender<()>);

/// What the thread watches.
pub(super) struct Watched {
    pub(super) data_dir: PathBuf,
    pub(super) connection: Connection,
    pub(super) health: Arc<Health>,
    pub(super) checkpointer: Checkpointer,
    pub(super) writer: WriterObserver,
    pub(super) high_water: Arc<HighWaterMark>,
}

/// The thread, and what it has seen at its last check.
struct ProbeThread {
    watched: Watched,
    /// Times that the writer had had the write lock.
    locks_taken: u64,
    /// Where the write-ahead log ended.
    last_frame: u32,
    database: DatabaseLength,
    warned: Option<Instant>,
}

/// How long the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DatabaseLength {
    bytes: u64,
    pages: u64,
    page_bytes: u64,
    /// Another one after each `VACUUM`.
    schema_version: u64,
}

impl Probe {
    pub(super) fn start(watched: Watched) -> Result<Self, OpenError> {
        let (running, end) = sync_channel(1);
        let mut thread = ProbeThread::new(watched);
        spawn("sqlite-probe", move || thread.run(&end))?;
        Ok(Probe(running))
    }
}

impl ProbeThread {
    fn new(watched: Watched) -> Self {
        ProbeThread {
            database: DatabaseLength::of(&watched.connection, &watched.health),
            watched,
            locks_taken: 0,
            last_frame: 0,
            warned: None,
        }
    }

    fn run(&mut self, end: &Receiver<()>) {
        // The sender never sends; it is dropped when the engine is.
        while end.recv_timeout(limits::LOG_PROBE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.check();
        }
        before_closing(&self.watched.health, &self.watched.connection);
    }

    fn check(&mut self) {
        let Watched {
            health, connection, ..
        } = &self.watched;
        let wal_bytes = health.files().wal_bytes();
        health.note_wal_bytes(wal_bytes);
        // Of files that are no longer the log's nothing can be learned.
        if health.check_files().is_err() {
            return;
        }

        match WalFrames::of(connection) {
            Ok(frames) => self.check_wal(frames, wal_bytes),
            Err(error) => tracing::debug!(%error, "failed to count the write-ahead log"),
        }
        self.check_database();
        self.try_lock();
        self.note_newest_vid();
    }

    /// So that a backup which is copied over this database is noticed at the next start.
    fn note_newest_vid(&self) {
        self.watched.high_water.note(self.watched.writer.last_vid());
    }

    fn check_wal(&mut self, frames: WalFrames, wal_bytes: u64) {
        // What was cut must not be copied.
        if !self.has_its_frames(frames) {
            return;
        }

        self.check_disk(frames, wal_bytes);
        if self.is_checkpoint_due(frames, wal_bytes) {
            self.watched.checkpointer.wake();
        }

        // An operator can end the transaction that holds the log; nobody else can.
        if self.watched.checkpointer.is_held() && wal_bytes > limits::WAL_WARN_BYTES {
            self.warn_of_reader(wal_bytes);
        }
    }

    fn has_its_frames(&mut self, frames: WalFrames) -> bool {
        let Watched {
            health, connection, ..
        } = &self.watched;
        // A log that was cut and written again has a hole where it ended before.
        let same_place = self.last_frame.min(frames.logged);
        self.last_frame = frames.logged;
        has_its_frames_at(connection, health, frames, same_place)
    }

    /// On a nearly full disk the log is copied at once, as long as there is space for it.
    fn is_checkpoint_due(&self, frames: WalFrames, wal_bytes: u64) -> bool {
        // Copying gives space only as long as the database can grow.
        let is_long = frames.logged >= DUE_PAGES;
        let is_due = is_long || reserve::is_nearly_full(&self.watched.data_dir);
        is_due && frames.left() > 0 || wal_bytes > limits::WAL_KEPT_BYTES
    }

    fn check_disk(&self, frames: WalFrames, wal_bytes: u64) {
        let health = &self.watched.health;
        // Said once, when it becomes so.
        let is_full = self.cannot_commit(frames, wal_bytes) || self.cannot_copy();
        if is_full && !health.is_full() {
            let data_dir = self.watched.data_dir.display();
            tracing::warn!(
                %data_dir,
                "the disk with the data folder is full: nothing can be published until there is \
                 space"
            );
        }
        health.note_full(is_full);
    }

    /// A commit needs space in the write-ahead log: what is left of its length, or more of the
    /// disk. Writing a file is tried only where there is a doubt.
    fn cannot_commit(&self, frames: WalFrames, wal_bytes: u64) -> bool {
        let data_dir = &self.watched.data_dir;
        // The log is written over from its begin, so its length is space that it has already.
        let used = wal_bytes_of(frames.logged.into(), frames.page_bytes);
        let is_used_up = wal_bytes.saturating_sub(used) < limits::FULL_DISK_BYTES;
        let is_in_doubt = self.watched.health.is_full() || reserve::is_low(data_dir);
        is_used_up && is_in_doubt && !reserve::can_write(data_dir)
    }

    fn cannot_copy(&self) -> bool {
        let files = self.watched.health.files();
        !reserve::lets_copy(&self.watched.connection, files, limits::FULL_DISK_BYTES)
    }

    fn warn_of_reader(&mut self, wal_bytes: u64) {
        // It may last for hours.
        let interval = limits::WAL_WARN_INTERVAL;
        if self.warned.is_some_and(|at| at.elapsed() <= interval) {
            return;
        }
        self.warned = Some(Instant::now());
        let data_dir = self.watched.data_dir.display();
        tracing::warn!(
            wal_bytes,
            "another program reads the database in a transaction that has been open for long, so \
             the write-ahead log grows and cannot be begun anew: end that transaction; \
             `fuser {data_dir}/vidette.db` shows which program it is"
        );
    }

    /// A database that was cut is shorter than before though it has as many pages.
    fn check_database(&mut self) {
        let Watched {
            health, connection, ..
        } = &self.watched;
        let before = self.database;
        let now = DatabaseLength::of(connection, health);
        if now.is_cut_since(before) {
            // SQLite may be at work at this moment; then the next check says more.
            if DatabaseLength::of(connection, health) != now {
                return;
            }
            let what = was_cut(&self.watched.data_dir, before, now);
            health.break_with(errors::replaced(&what));
        }
        self.database = now;
    }

    /// While others publish, they try the lock.
    fn try_lock(&mut self) {
        let health = &self.watched.health;
        // Unchanged since the last check: nobody has written, so nobody knows.
        let taken = health.locks_taken();
        if taken == self.locks_taken || health.is_locked() {
            self.watched.writer.try_lock();
        }
        self.locks_taken = taken;
    }
}

fn was_cut(data_dir: &Path, before: DatabaseLength, now: DatabaseLength) -> String {
    format!(
        "{}/vidette.db was cut from {} to {} bytes",
        data_dir.display(),
        before.bytes,
        now.bytes
    )
}

impl DatabaseLength {
    fn of(connection: &Connection, health: &Health) -> Self {
        let number = |pragma: &str| {
            let number = connection.pragma_query_value(None, pragma, |r| r.get::<_, i64>(0));
            number.ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
        };
        DatabaseLength {
            bytes: health.files().database_bytes(),
            pages: number("page_count"),
            page_bytes: number("page_size"),
            schema_version: number("schema_version"),
        }
    }

    /// SQLite itself makes the file shorter after a `VACUUM` only: down to the pages that are left,
    /// and it may have grown again since, in the write-ahead log.
    fn is_cut_since(self, before: DatabaseLength) -> bool {
        let is_vacuumed = self.schema_version != before.schema_version;
        let needed_bytes = before.bytes.min(before.pages * before.page_bytes);
        let is_shorter = self.bytes < needed_bytes && self.pages >= before.pages;
        is_shorter && !is_vacuumed && before.pages > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(file_pages: u64, pages: u64, schema_version: u64) -> DatabaseLength {
        DatabaseLength {
            bytes: file_pages * 4096,
            pages,
            page_bytes: 4096,
            schema_version,
        }
    }

    #[test]
    fn a_database_is_cut_only_where_no_vacuum_has_made_it_shorter() {
        let whole = length(380, 380, 1);
        assert!(length(356, 380, 1).is_cut_since(whole));
        assert!(length(0, 400, 1).is_cut_since(whole));
        assert!(!length(380, 400, 1).is_cut_since(whole), "it grows");
        // Vacuumed, copied and grown again between two checks.
        assert!(!length(356, 381, 2).is_cut_since(whole));
        // Vacuumed before a check, and copied and grown behind it.
        let vacuumed = length(380, 356, 2);
        assert!(!vacuumed.is_cut_since(whole));
        assert!(!length(356, 381, 2).is_cut_since(vacuumed));
        assert!(length(300, 381, 2).is_cut_since(vacuumed));
    }
}
