//! Copying the write-ahead log into the database, beside the writer.
//!
//! SQLite does it in the commit that makes the log long enough, and that commit's publishers wait
//! for two syncs and all the copying: 40 to 75 ms, and seconds after an outside reader has kept the
//! log from being copied for long. Here a thread of its own copies, pass by pass, while commits go
//! on. The writer copies only the small rest, after its next commit, and can begin the log anew.
//!
//! SQLite syncs the database only after a pass during which nobody has committed; else the writer
//! would have to sync what the copier has copied. So there is a small pass at the end for which the
//! writer is held at a gate, for as long as some pages are copied in memory; it has passed the gate
//! when the sync is done.
//!
//! Invariants:
//! - who reads waits for no lock of the copier (`PASSIVE`), and who commits never for all of a copy;
//! - the writer copies no more than [`limits::WRITER_COPIES_PAGES`] itself. Beyond
//!   [`limits::WRITER_AHEAD_PAGES`] it may get ahead of a pass by half of what the one before had to
//!   copy, and then waits for the copier, for a bounded time a commit: so the passes come to their
//!   end, and the log is bounded;
//! - a log that has become large, because somebody kept an old state of it open, is cut as soon as
//!   they have gone;
//! - a copy that fails leaves the log as it was, to be copied again: nothing is lost by it. From a
//!   log that is broken nothing is copied.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};

use super::frames::Frames;
use super::health::Health;
use super::open;
use super::probe::has_its_frames;
use super::refusal::is_disk_full;
use crate::engine::OpenError;
use crate::limits;

/// Pages of the write-ahead log from which on it is copied: 8 MiB.
pub(super) const DUE_PAGES: u32 = 2048;

/// As long as the log is then, in bytes.
pub(super) const LENGTH_BYTES: u64 = DUE_PAGES as u64 * PAGE_BYTES as u64;

/// Passes in a row, at most; each has at most half as much to do as the one before.
const PASSES: u32 = 16;

/// SQLite's pages by default.
const PAGE_BYTES: u32 = 4096;
/// The writer's cache, as by default.
const CACHE_PAGES: i64 = -2000;

/// What the copier and the writer share.
#[derive(Default)]
struct Copying {
    pass: Mutex<Pass>,
    /// Something of the pass has changed.
    changed: Condvar,
    /// A reader needs an older state than the copier would copy.
    is_held: AtomicBool,
}

#[derive(Default)]
struct Pass {
    is_running: bool,
    gate: Gate,
    /// Pages of the log from which on the writer waits for the copier.
    writer_waits_at: u32,
    /// So much of the log has been copied and synced, and the rest is the writer's.
    copied: Option<u32>,
}

/// Holds the writer for a moment, once a pass.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    Closed,
    /// The writer waits at it.
    Waiting,
    /// The writer has waited for long enough.
    Passed,
}

/// How others have the log copied.
#[derive(Clone)]
pub(super) struct Copier {
    copying: Arc<Copying>,
    due: SyncSender<()>,
}

/// What the writer does after a commit.
struct AfterCommit {
    copier: Copier,
    /// Pages at which the copier is woken the next time.
    due_at: u32,
}

/// Writes a write-ahead log as long as it gets before it is copied, and has it begun anew. A sync
/// of a file that does not grow has no length to write: a commit takes 0.13 ms instead of 0.23.
///
/// The pages come from a transaction that is rolled back, so there is nothing in them. Without
/// space, or while another program has the write lock, there are none, and commits are slower.
pub(super) fn lengthen(writer: &Connection) -> rusqlite::Result<()> {
    let spilled = "PRAGMA cache_size = 16; BEGIN IMMEDIATE; CREATE TABLE filler (bytes BLOB);";
    let begun = writer.execute_batch(spilled);
    let filled = begun.and_then(|()| {
        writer.execute(
            "INSERT INTO filler VALUES (zeroblob(?1))",
            [DUE_PAGES * PAGE_BYTES],
        )
    });
    if !writer.is_autocommit() {
        writer.execute_batch("ROLLBACK")?; // a full disk has done so itself
    }
    writer.execute_batch(&format!("PRAGMA cache_size = {CACHE_PAGES}"))?;
    if filled.as_ref().is_err_and(is_disk_full) {
        Frames::cut(writer)?; // leaves the space to others
    }
    filled.map(drop)
}

/// Starts the copier, which ends with the writer's connection and the last [`Copier`].
pub(super) fn start(
    writer: &mut Connection,
    database: &Path,
    health: Arc<Health>,
) -> Result<Copier, OpenError> {
    let failed = |error: &dyn std::fmt::Display| {
        OpenError::new(format!("the checkpoint thread cannot start: {error}"))
    };
    let (due, wakes) = sync_channel(1);
    let copying = Arc::new(Copying::default());
    let thread = CopierThread {
        connection: open::connect_copier(database).map_err(|e| failed(&e))?,
        copying: copying.clone(),
        health,
    };
    std::thread::Builder::new()
        .name("sqlite-checkpoint".into())
        .spawn(move || thread.run(&wakes))
        .map_err(|e| failed(&e))?;

    let copier = Copier { copying, due };
    let mut after_commit = AfterCommit {
        copier: copier.clone(),
        due_at: DUE_PAGES,
    };
    let hook = move |wal: &mut Wal, pages: std::ffi::c_int| {
        after_commit.committed(wal, u32::try_from(pages).unwrap_or(0));
        Ok(()) // the commit has succeeded, whatever became of the copying
    };
    writer.wal_hook(Some(hook)).map_err(|e| failed(&e))?;
    Ok(copier)
}

impl Copier {
    /// Has the log copied, as far as readers allow. False when the copier is to do so already.
    pub(super) fn wake(&self) -> bool {
        self.due.try_send(()).is_ok()
    }

    /// Does a reader keep the log from being copied?
    pub(super) fn is_held(&self) -> bool {
        self.copying.is_held.load(Ordering::Relaxed)
    }
}

impl Copying {
    /// Held for a look, by the writer also for its small part of the copying.
    fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Pass)) {
        change(&mut self.pass());
        self.changed.notify_all();
    }

    /// Waits while this holds, for a bounded time.
    fn wait_while<'p>(
        &'p self,
        pass: MutexGuard<'p, Pass>,
        at_most: Duration,
        holds: impl Fn(&Pass) -> bool,
    ) -> MutexGuard<'p, Pass> {
        let waited = self
            .changed
            .wait_timeout_while(pass, at_most, |pass| holds(pass));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct CopierThread {
    connection: Connection,
    copying: Arc<Copying>,
    health: Arc<Health>,
}

impl CopierThread {
    fn run(self, wakes: &Receiver<()>) {
        while wakes.recv().is_ok() {
            let copied = self.copy();
            let is_full = copied.as_ref().is_err_and(is_disk_full);
            self.health.note_cannot_copy(is_full);
            report(copied);
            self.copying.change(|pass| pass.is_running = false);
        }
        self.health.before_closing(&self.connection);
    }

    /// Copies until the rest is small enough for the writer, or a reader needs it as it is.
    fn copy(&self) -> rusqlite::Result<()> {
        let begun = Frames::of(&self.connection)?;
        let free_until = begun.logged.saturating_add(limits::WRITER_AHEAD_PAGES);
        let mut ahead = begun.left();
        for _ in 0..PASSES {
            let before = Frames::of(&self.connection)?;
            if !self.is_whole(before) {
                return Ok(());
            }
            ahead = (ahead / 2).max(limits::WRITER_COPIES_PAGES);
            let writer_waits_at = before.logged.saturating_add(ahead);
            let is_gated = self.begin_pass(before, writer_waits_at.max(free_until));
            let Some(done) = Frames::copy(&self.connection)? else {
                return Ok(());
            };
            let is_held = done.left() > 0;
            self.copying.is_held.store(is_held, Ordering::Relaxed);
            if is_held {
                return Ok(());
            }
            if let Some(rest) = self.rest_for_writer(done, is_gated)? {
                return self.cut_if_large(rest);
            }
        }
        Ok(())
    }

    /// Lets the writer know of a pass, and has it wait at the gate for a small one. True when it
    /// does.
    fn begin_pass(&self, before: Frames, writer_waits_at: u32) -> bool {
        let is_small = before.left() <= limits::WRITER_COPIES_PAGES;
        let mut pass = self.copying.pass();
        *pass = Pass {
            is_running: true,
            gate: if is_small { Gate::Closed } else { Gate::Open },
            writer_waits_at,
            copied: None,
        };
        pass = self
            .copying
            .wait_while(pass, limits::COPY_GATE, |pass| pass.gate == Gate::Closed);
        pass.gate == Gate::Waiting
    }

    /// After a pass: the rest that is left to the writer, if it is small and the pass was synced.
    fn rest_for_writer(&self, done: Frames, is_gated: bool) -> rusqlite::Result<Option<u32>> {
        let now = Frames::of(&self.connection)?;
        // Less than before, and it has begun anew already.
        let rest = now.logged.saturating_sub(done.logged);
        let is_synced = is_gated || rest == 0;
        if !is_synced || rest > limits::WRITER_COPIES_PAGES {
            return Ok(None);
        }
        self.copying.pass().copied = Some(done.copied);
        Ok(Some(rest))
    }

    /// What was cut by hand must not be copied: it would be zeros over good pages.
    fn is_whole(&self, frames: Frames) -> bool {
        self.health.check_files().is_ok() && has_its_frames(&self.connection, &self.health, frames)
    }

    /// Where nothing is published the writer does not come to begin the log anew, which cuts it.
    fn cut_if_large(&self, rest: u32) -> rusqlite::Result<()> {
        if rest > 0 || self.health.files().wal_bytes() <= limits::WAL_KEPT_BYTES {
            return Ok(());
        }
        Frames::cut(&self.connection)
    }
}

impl AfterCommit {
    fn committed(&mut self, wal: &mut Wal, pages: u32) {
        let copying = self.copier.copying.clone();
        let mut pass = copying.pass();
        if pass.is_running {
            wait_for_copier(&copying, pass, pages);
            return;
        }
        let rest = pass
            .copied
            .take()
            .and_then(|copied| pages.checked_sub(copied));
        if rest.is_some_and(|rest| rest <= limits::WRITER_COPIES_PAGES) {
            report(wal.checkpoint()); // PASSIVE
        } else if pages < DUE_PAGES {
            self.due_at = DUE_PAGES; // it has begun anew
        } else if (rest.is_some() || pages >= self.due_at) && self.copier.wake() {
            // Where a reader keeps it from beginning anew, it is not copied with each commit.
            self.due_at = pages.saturating_add(DUE_PAGES);
        }
    }
}

/// The writer after a commit, while the copier is at work.
fn wait_for_copier<'p>(copying: &'p Copying, mut pass: MutexGuard<'p, Pass>, pages: u32) {
    if pass.gate == Gate::Closed {
        pass.gate = Gate::Waiting;
        copying.changed.notify_all();
        pass = copying.wait_while(pass, limits::COPY_GATE, |pass| {
            pass.is_running && pass.gate == Gate::Waiting
        });
        if pass.gate == Gate::Waiting {
            pass.gate = Gate::Passed;
        }
    }
    if pages >= pass.writer_waits_at {
        let is_running = |pass: &Pass| pass.is_running;
        drop(copying.wait_while(pass, limits::COPY_MAX_WAIT, is_running));
    }
}

/// Somebody else may be copying, with sqlite3 for one; then it is not ours to do.
fn report<T>(copied: rusqlite::Result<T>) {
    if let Err(error) = copied
        && error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy)
    {
        tracing::warn!(%error, "the write-ahead log could not be copied into the database; it is tried again");
    }
}
