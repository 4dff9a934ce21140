//! Looking after the log while nobody publishes, and beside those who do.
//!
//! A thread of its own looks twice a second whether the log's files are those that were opened,
//! whether the disk is full and how long the write-ahead log is, and has the writer try the write
//! lock. So `/readyz`, gRPC health and the metrics tell the truth without anybody publishing, and
//! recover by themselves. Invariants:
//! - a look costs the same whatever anybody has sent;
//! - what is only seen once while others change the log is no damage: it has to be seen again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::checkpoint::{Copier, DUE_PAGES};
use super::fault;
use super::files::{has_frames, wal_bytes_of};
use super::frames::Frames;
use super::health::Health;
use super::reserve;
use super::writer::LockTrial;
use crate::engine::OpenError;
use crate::limits;

/// Damage has to be seen so often in a row, a little apart.
const LOOKS_AT_DAMAGE: u32 = 3;
const BETWEEN_LOOKS_AT_DAMAGE: Duration = Duration::from_millis(20);

/// Ends the thread when it is dropped.
pub(super) struct Probe(#[expect(dead_code, reason = "dropping it is the signal")] SyncSender<()>);

/// The thread.
struct ProbeThread {
    data_dir: PathBuf,
    connection: Connection,
    health: Arc<Health>,
    copier: Copier,
    lock_trial: LockTrial,
    /// Times that the writer had had the write lock at the last look.
    locks_taken: u64,
    /// Where the write-ahead log ended at the last look.
    last_frame: u32,
    database: DatabaseLength,
    warned: Option<Instant>,
}

/// How long the database was at the last look.
#[derive(Debug, Clone, Copy)]
struct DatabaseLength {
    bytes: u64,
    pages: u64,
}

impl Probe {
    pub(super) fn start(
        data_dir: &Path,
        connection: Connection,
        health: Arc<Health>,
        copier: Copier,
        lock_trial: LockTrial,
    ) -> Result<Self, OpenError> {
        let (running, end) = sync_channel(1);
        let mut thread = ProbeThread {
            data_dir: data_dir.to_owned(),
            database: DatabaseLength::of(&connection, &health),
            connection,
            health,
            copier,
            lock_trial,
            locks_taken: 0,
            last_frame: 0,
            warned: None,
        };
        std::thread::Builder::new()
            .name("sqlite-probe".into())
            .spawn(move || thread.run(&end))
            .map_err(|e| OpenError::new(format!("the probe thread cannot start: {e}")))?;
        Ok(Probe(running))
    }
}

impl ProbeThread {
    fn run(&mut self, end: &Receiver<()>) {
        while end.recv_timeout(limits::LOG_PROBE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
        self.health.before_closing(&self.connection);
    }

    fn look(&mut self) {
        let wal_bytes = self.health.files().wal_bytes();
        self.health.note_wal_bytes(wal_bytes);
        if self.health.check_files().is_err() {
            return;
        }
        match Frames::of(&self.connection) {
            Ok(frames) => self.look_at_log(frames, wal_bytes),
            Err(error) => tracing::debug!(%error, "the write-ahead log could not be looked at"),
        }
        self.look_at_database();
        self.try_lock();
    }

    fn look_at_log(&mut self, frames: Frames, wal_bytes: u64) {
        let same_place = self.last_frame.min(frames.logged);
        let has_all = has_its_frames_at(&self.connection, &self.health, frames, same_place);
        self.last_frame = frames.logged;
        if !has_all {
            return;
        }
        self.look_at_disk(frames, wal_bytes);
        // On a nearly full disk at once, as long as there is space for it.
        let is_due = frames.logged >= DUE_PAGES || reserve::is_nearly_full(&self.data_dir);
        if is_due && frames.left() > 0 || wal_bytes > limits::WAL_KEPT_BYTES {
            self.copier.wake();
        }
        if self.copier.is_held() && wal_bytes > limits::WAL_WARN_BYTES {
            self.warn_of_reader(wal_bytes);
        }
    }

    /// A commit needs space in the write-ahead log: what is left of its length, or more of the
    /// disk. Writing a file is tried only where there is a doubt.
    fn look_at_disk(&self, frames: Frames, wal_bytes: u64) {
        let used = wal_bytes_of(frames.logged.into(), frames.page_bytes);
        let is_used_up = wal_bytes.saturating_sub(used) < limits::FULL_DISK_BYTES;
        let is_in_doubt = self.health.is_full() || reserve::is_low(&self.data_dir);
        let is_full = is_used_up && is_in_doubt && !reserve::can_write(&self.data_dir)
            || !reserve::lets_copy(
                &self.connection,
                self.health.files(),
                limits::FULL_DISK_BYTES,
            );
        if is_full && !self.health.is_full() {
            tracing::warn!(data_dir = %self.data_dir.display(), "the disk with the data folder is full: nothing can be published until there is space");
        }
        self.health.note_full(is_full);
    }

    fn warn_of_reader(&mut self, wal_bytes: u64) {
        let is_due = self
            .warned
            .is_none_or(|at| at.elapsed() > limits::WAL_WARN_INTERVAL);
        if is_due {
            self.warned = Some(Instant::now());
            tracing::warn!(
                wal_bytes,
                "another program reads the database in a transaction that has been open for long, so the write-ahead log grows and cannot be begun anew: end that transaction; `fuser {}/vidette.db` tells who has it open",
                self.data_dir.display()
            );
        }
    }

    /// A database that was cut is shorter than before though it has as many pages.
    fn look_at_database(&mut self) {
        let now = DatabaseLength::of(&self.connection, &self.health);
        if now.is_cut_since(self.database) {
            let what = format!(
                "{}/vidette.db was cut from {} to {} bytes",
                self.data_dir.display(),
                self.database.bytes,
                now.bytes
            );
            self.health.break_with(fault::replaced(&what));
        }
        self.database = now;
    }

    /// While others publish, they try the lock.
    fn try_lock(&mut self) {
        let taken = self.health.locks_taken();
        if taken == self.locks_taken || self.health.is_locked() {
            self.lock_trial.ask();
        }
        self.locks_taken = taken;
    }
}

impl DatabaseLength {
    fn of(connection: &Connection, health: &Health) -> Self {
        let pages = connection.pragma_query_value(None, "page_count", |r| r.get::<_, i64>(0));
        let bytes = health.files().database_bytes();
        DatabaseLength {
            bytes,
            pages: pages.ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        }
    }

    fn is_cut_since(self, before: DatabaseLength) -> bool {
        self.bytes < before.bytes && self.pages >= before.pages && before.pages > 0
    }
}

/// Are the frames there that SQLite counts? Breaks the log where not.
pub(super) fn has_its_frames(connection: &Connection, health: &Health, frames: Frames) -> bool {
    has_its_frames_at(connection, health, frames, 0)
}

/// The same, with one frame more to look at (0 for none). The log may be begun anew or cut by
/// SQLite itself meanwhile; its counts change before its bytes do, so they are counted again then.
fn has_its_frames_at(
    connection: &Connection,
    health: &Health,
    mut frames: Frames,
    also: u32,
) -> bool {
    let wal = health.files().wal();
    for look in 1..=LOOKS_AT_DAMAGE {
        let places = [1, also.min(frames.logged), frames.logged].map(u64::from);
        let places = places.iter().copied().filter(|_| frames.logged > 0);
        let places: Vec<u64> = places.filter(|&frame| frame > 0).collect();
        // What cannot be read is for those to tell who need it.
        if has_frames(wal, &places, frames.page_bytes).unwrap_or(true) {
            return true;
        }
        if look < LOOKS_AT_DAMAGE {
            std::thread::sleep(BETWEEN_LOOKS_AT_DAMAGE);
            let Ok(counted) = Frames::of(connection) else {
                return true;
            };
            frames = counted;
        }
    }
    health.break_with(fault::replaced(&format!(
        "{} was cut or written by another program",
        wal.display()
    )));
    false
}
