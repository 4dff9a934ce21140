//! Copying the write-ahead log into the database (a checkpoint), beside the writer.
//!
//! SQLite does it in the commit that makes the log long enough, and that commit's publishers wait
//! for two syncs and all the copying: 40 to 75 ms, and seconds after an outside reader has kept the
//! log from being copied for long. Here a thread of its own copies, pass by pass, while commits go
//! on. The writer copies only the small rest, after its next commit, and can begin the log anew.
//!
//! SQLite syncs the database only after a pass during which nobody has committed; else the writer
//! would have to sync what the thread has copied. So there is a small pass at the end for which the
//! writer is held at a gate, for as long as some pages are copied in memory; it has passed the gate
//! when the sync is done.
//!
//! Invariants:
//! - a reader waits for no lock of the thread (`PASSIVE`), and a commit never for all of a copy;
//! - the writer copies no more than [`limits::WRITER_COPIES_PAGES`] itself. Beyond
//!   [`limits::WRITER_AHEAD_PAGES`] it may get ahead of a pass by half of what the one before had
//!   to copy, and then waits for the thread, for a bounded time a commit: so the passes come to
//!   their end, and the log is bounded;
//! - a log that has become large, because somebody kept an old state of it open, is cut as soon as
//!   they have gone;
//! - a copy that fails leaves the log as it was, to be copied again: nothing is lost by it. From a
//!   log that is broken nothing is copied.

use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::checkpoint_pass::{CheckpointProgress, Gate, Pass};
use super::connect::connect_checkpointer;
use super::errors::{is_busy, is_disk_full};
use super::frames::WalFrames;
use super::health::Health;
use super::refusal::OpenCause;
use super::threads::spawn;
use super::wal_check::{before_closing, has_its_frames};
use crate::limits;

/// Pages of the write-ahead log from which on it is copied: 8 MiB.
pub(super) const DUE_PAGES: u32 = 2048;

/// As long as the log is then, in bytes.
pub(super) const LENGTH_BYTES: u64 = DUE_PAGES as u64 * PAGE_BYTES as u64;

/// Passes in a row, at most; each has at most half as much to do as the one before.
const MAX_PASSES: u32 = 16;

/// SQLite's pages by default.
const PAGE_BYTES: u32 = 4096;
/// The writer's cache, as by default.
const CACHE_PAGES: i64 = -2000;

/// Writes pages into the write-ahead log before they are committed, as they do not fit the cache.
const BEGIN_SPILLING: &str = "
PRAGMA cache_size = 16; BEGIN IMMEDIATE; CREATE TABLE filler (bytes BLOB);";

/// Writes a write-ahead log as long as it gets before it is copied, and has it begun anew. A sync
/// of a file that does not grow has no length to write: a commit takes 0.13 ms instead of 0.23.
///
/// The pages come from a transaction that is rolled back, so there is nothing in them. Without
/// space, or while another program has the write lock, there are none, and commits are slower.
pub(super) fn lengthen(writer: &Connection) -> rusqlite::Result<()> {
    let filled = spill_pages(writer);
    if !writer.is_autocommit() {
        // A full disk has done so itself.
        writer.execute_batch("ROLLBACK")?;
    }
    writer.execute_batch(&format!("PRAGMA cache_size = {CACHE_PAGES}"))?;
    if filled.as_ref().is_err_and(is_disk_full) {
        // Leaves the space to others.
        WalFrames::cut(writer)?;
    }
    filled
}

fn spill_pages(writer: &Connection) -> rusqlite::Result<()> {
    // More than the small cache holds, so SQLite writes it to the log before any commit.
    writer.execute_batch(BEGIN_SPILLING)?;
    let insert = "INSERT INTO filler VALUES (zeroblob(?1))";
    writer.execute(insert, [DUE_PAGES * PAGE_BYTES]).map(drop)
}

/// Has the thread copy the log.
#[derive(Clone)]
pub(super) struct Checkpointer {
    progress: Arc<CheckpointProgress>,
    wake_ups: SyncSender<()>,
}

/// Starts the thread, which ends with the writer's connection and the last [`Checkpointer`].
pub(super) fn start(
    writer: &mut Connection,
    database: &Path,
    health: Arc<Health>,
) -> Result<Checkpointer, OpenCause> {
    let (wake_ups, woken) = sync_channel(1);
    let progress = Arc::new(CheckpointProgress::default());
    let thread = CheckpointThread {
        connection: connect_checkpointer(database)?,
        progress: progress.clone(),
        health,
    };
    spawn("sqlite-checkpoint", move || thread.run(&woken))?;

    let checkpointer = Checkpointer { progress, wake_ups };
    call_after_commits(writer, AfterCommit::new(checkpointer.clone()))?;
    Ok(checkpointer)
}

fn call_after_commits(
    writer: &mut Connection,
    mut after_commit: AfterCommit,
) -> rusqlite::Result<()> {
    let hook = move |wal: &mut Wal, pages: c_int| {
        after_commit.committed(wal, u32::try_from(pages).unwrap_or(0));
        // The commit has succeeded, whatever became of the copying.
        Ok(())
    };
    writer.wal_hook(Some(hook))
}

impl Checkpointer {
    /// Has the log copied, as far as readers allow. False when that is to be done already.
    pub(super) fn wake(&self) -> bool {
        self.wake_ups.try_send(()).is_ok()
    }

    /// Does a reader keep the log from being copied?
    pub(super) fn is_held(&self) -> bool {
        self.progress.is_held.load(Ordering::Relaxed)
    }
}

struct CheckpointThread {
    connection: Connection,
    progress: Arc<CheckpointProgress>,
    health: Arc<Health>,
}

impl CheckpointThread {
    fn run(self, woken: &Receiver<()>) {
        // Ends when nobody can wake it any more.
        while woken.recv().is_ok() {
            let copied = self.copy();
            let is_full = copied.as_ref().is_err_and(is_disk_full);
            self.health.note_cannot_copy(is_full);
            report(copied);
            self.progress.end_pass();
        }
        before_closing(&self.health, &self.connection);
    }

    /// Copies until the rest is small enough for the writer, or a reader needs it as it is.
    fn copy(&self) -> rusqlite::Result<()> {
        let begun = WalFrames::of(&self.connection)?;
        let free_until = begun.logged.saturating_add(limits::WRITER_AHEAD_PAGES);
        let mut ahead = begun.left();
        for _ in 0..MAX_PASSES {
            // Checked before each pass: a log that was cut meanwhile must not be copied.
            let before = WalFrames::of(&self.connection)?;
            if !self.is_whole(before) {
                return Ok(());
            }

            // Each pass allows the writer half the lead of the one before, so they come to an end.
            ahead = (ahead / 2).max(limits::WRITER_COPIES_PAGES);
            let writer_waits_at = before.logged.saturating_add(ahead).max(free_until);
            if self.run_pass(before, writer_waits_at)?.is_last() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn run_pass(&self, before: WalFrames, writer_waits_at: u32) -> rusqlite::Result<PassOutcome> {
        let is_gated = self.begin_pass(before, writer_waits_at);
        let Some(done) = WalFrames::copy(&self.connection)? else {
            return Ok(PassOutcome::OthersCopy);
        };
        // A reader of an old state keeps SQLite from copying what came later.
        let is_held = done.left() > 0;
        self.progress.is_held.store(is_held, Ordering::Relaxed);
        if is_held {
            return Ok(PassOutcome::HeldByReader);
        }

        let Some(rest) = self.rest_for_writer(done, is_gated)? else {
            return Ok(PassOutcome::TooMuchLeft);
        };
        self.cut_if_large(rest)?;
        Ok(PassOutcome::Copied)
    }

    /// Lets the writer know of a pass, and has it wait at the gate for a small one. True when it
    /// does.
    fn begin_pass(&self, before: WalFrames, writer_waits_at: u32) -> bool {
        // The writer is held only for as long as a few pages take.
        let is_small = before.left() <= limits::WRITER_COPIES_PAGES;
        let gate = if is_small { Gate::Closed } else { Gate::Open };
        self.progress.begin_pass(Pass {
            is_running: true,
            gate,
            writer_waits_at,
            copied: None,
        })
    }

    /// After a pass: the rest that is left to the writer, if it is small and the pass was synced.
    fn rest_for_writer(&self, done: WalFrames, is_gated: bool) -> rusqlite::Result<Option<u32>> {
        let now = WalFrames::of(&self.connection)?;
        // Less than before, and it has begun anew already.
        let rest = now.logged.saturating_sub(done.logged);
        // SQLite has synced the database if nobody committed during the pass.
        let is_synced = is_gated || rest == 0;
        if !is_synced || rest > limits::WRITER_COPIES_PAGES {
            return Ok(None);
        }
        self.progress.pass().copied = Some(done.copied);
        Ok(Some(rest))
    }

    /// What was cut by hand must not be copied: it would be zeros over good pages.
    fn is_whole(&self, frames: WalFrames) -> bool {
        self.health.check_files().is_ok() && has_its_frames(&self.connection, &self.health, frames)
    }

    /// Where nothing is published the writer does not come to begin the log anew, which cuts it.
    fn cut_if_large(&self, rest: u32) -> rusqlite::Result<()> {
        if rest > 0 || self.health.files().wal_bytes() <= limits::WAL_KEPT_BYTES {
            return Ok(());
        }
        WalFrames::cut(&self.connection)
    }
}

/// How a pass ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PassOutcome {
    /// All but a small rest, which is the writer's.
    Copied,
    /// The writer has committed so much meanwhile that another pass is needed.
    TooMuchLeft,
    /// A reader needs an older state than would be copied.
    HeldByReader,
    /// Another program is copying.
    OthersCopy,
}

impl PassOutcome {
    fn is_last(self) -> bool {
        self != PassOutcome::TooMuchLeft
    }
}

/// What the writer does after a commit.
struct AfterCommit {
    checkpointer: Checkpointer,
    /// Pages at which the thread is woken the next time.
    due_at: u32,
}

impl AfterCommit {
    fn new(checkpointer: Checkpointer) -> Self {
        AfterCommit {
            checkpointer,
            due_at: DUE_PAGES,
        }
    }

    fn committed(&mut self, wal: &mut Wal, pages: u32) {
        // Held to the end: no pass begins while the writer copies its rest.
        let progress = self.checkpointer.progress.clone();
        let mut pass = progress.pass();
        if pass.is_running {
            progress.wait_for_pass(pass, pages);
            return;
        }

        let copied = pass.copied.take();
        let rest = copied.and_then(|copied| pages.checked_sub(copied));
        if rest.is_some_and(|rest| rest <= limits::WRITER_COPIES_PAGES) {
            // PASSIVE: it waits for nobody.
            report(wal.checkpoint());
        } else {
            self.wake_if_due(pages, rest.is_some());
        }
    }

    /// Wakes the thread when the log is long, or when more than a small rest was left.
    fn wake_if_due(&mut self, pages: u32, has_large_rest: bool) {
        if pages < DUE_PAGES {
            // It has begun anew.
            self.due_at = DUE_PAGES;
        } else if has_large_rest || pages >= self.due_at {
            self.wake(pages);
        }
    }

    /// Where a reader keeps the log from beginning anew, it is not copied with each commit.
    fn wake(&mut self, pages: u32) {
        if self.checkpointer.wake() {
            self.due_at = pages.saturating_add(DUE_PAGES);
        }
    }
}

/// Somebody else may be copying, with sqlite3 for one; then it is not ours to do.
fn report<T>(copied: rusqlite::Result<T>) {
    let Err(error) = copied else { return };
    if !is_busy(&error) {
        tracing::warn!(
            %error,
            "failed to copy the write-ahead log into the database; it is tried again"
        );
    }
}
