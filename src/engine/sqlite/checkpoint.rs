//! Copying the write-ahead log into the database, beside the writer.
//!
//! SQLite does it in the commit that makes the log long enough, and that commit's publishers wait
//! for two syncs and all the copying: 40 to 75 ms. Here a thread of its own copies nearly all of
//! it, while commits go on. What they have added meanwhile is little; the writer copies that after
//! its next commit, and can begin the log anew.
//!
//! Invariants:
//! - who commits and who reads waits for no lock of the copier (`PASSIVE`);
//! - one thread copies at a time; from [`MOST_PAGES`] on the writer waits for its turn, so the log
//!   is bounded;
//! - a copy that fails leaves the log as it was, to be copied again: nothing is lost by it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};

use super::open::{self, OpenError};

/// Pages of the write-ahead log from which on it is copied: 8 MiB.
const DUE_PAGES: u32 = 2048;
/// Pages from which on the writer copies it itself: 32 MiB.
const MOST_PAGES: u32 = 4 * DUE_PAGES;

/// SQLite's pages by default.
const PAGE_BYTES: u32 = 4096;
/// The writer's cache, as by default.
const CACHE_PAGES: i64 = -2000;

/// What the copier and the writer share.
#[derive(Default)]
struct Copying {
    /// Held by who copies.
    turn: Mutex<()>,
    /// The copier has copied, and the rest is the writer's.
    is_nearly_done: AtomicBool,
}

/// What the writer does after a commit.
struct AfterCommit {
    copying: Arc<Copying>,
    /// Wakes the copier.
    due: SyncSender<()>,
    /// Pages at which it is woken the next time.
    due_at: u32,
}

/// Writes a write-ahead log as long as it gets before it is copied, and has it begun anew. A sync
/// of a file that does not grow has no length to write: a commit takes 0.13 ms instead of 0.23.
///
/// The pages come from a transaction that is rolled back, so there is nothing in them. Without room
/// there is none.
pub(super) fn lengthen(writer: &Connection) -> rusqlite::Result<()> {
    let spilled = "PRAGMA cache_size = 16; BEGIN IMMEDIATE; CREATE TABLE filler (bytes BLOB);";
    writer.execute_batch(spilled)?;
    let filled = writer.execute(
        "INSERT INTO filler VALUES (zeroblob(?1))",
        [DUE_PAGES * PAGE_BYTES],
    );
    if !writer.is_autocommit() {
        writer.execute_batch("ROLLBACK")?; // a full disk has done so itself
    }
    writer.execute_batch(&format!("PRAGMA cache_size = {CACHE_PAGES}"))?;
    if filled.is_err() {
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?; // leaves the room to others
    }
    Ok(())
}

/// Starts the copier, which ends with the writer's connection.
pub(super) fn start(writer: &mut Connection, database: &Path) -> Result<(), OpenError> {
    let failed = |fault: &dyn std::fmt::Display| {
        OpenError::new(format!("the checkpoint thread cannot start: {fault}"))
    };
    let (due, wakes) = sync_channel(1);
    let copying = Arc::new(Copying::default());
    let connection = open::connect_copier(database).map_err(|e| failed(&e))?;
    let shared = copying.clone();
    let thread = std::thread::Builder::new().name("sqlite-checkpoint".into());
    thread
        .spawn(move || copy_when_due(&connection, &wakes, &shared))
        .map_err(|e| failed(&e))?;

    let mut after_commit = AfterCommit {
        copying,
        due,
        due_at: DUE_PAGES,
    };
    let hook = move |wal: &mut Wal, pages: std::ffi::c_int| {
        after_commit.committed(wal, u32::try_from(pages).unwrap_or(0));
        Ok(()) // the commit has succeeded, whatever became of the copying
    };
    writer.wal_hook(Some(hook)).map_err(|e| failed(&e))
}

fn copy_when_due(connection: &Connection, wakes: &Receiver<()>, copying: &Copying) {
    while wakes.recv().is_ok() {
        let _turn = copying.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        copying
            .is_nearly_done
            .store(copied.is_ok(), Ordering::Release);
        report(copied);
    }
}

impl AfterCommit {
    fn committed(&mut self, wal: &mut Wal, pages: u32) {
        let is_nearly_done = self.copying.is_nearly_done.swap(false, Ordering::Acquire);
        if is_nearly_done || pages >= MOST_PAGES {
            let _turn = self
                .copying
                .turn
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            report(wal.checkpoint()); // PASSIVE
        } else if pages < DUE_PAGES {
            self.due_at = DUE_PAGES; // it has begun anew
        } else if pages >= self.due_at && self.due.try_send(()).is_ok() {
            // Where a reader keeps it from beginning anew, it is not copied with each commit.
            self.due_at = pages + DUE_PAGES;
        }
    }
}

/// Somebody else may be copying, with sqlite3 for one; then it is not ours to do.
fn report<T>(copied: rusqlite::Result<T>) {
    if let Err(fault) = copied
        && fault.sqlite_error_code() != Some(ErrorCode::DatabaseBusy)
    {
        tracing::warn!(fault = %fault, "the write-ahead log could not be copied into the database; it is tried again");
    }
}
