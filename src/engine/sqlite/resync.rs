//! Making durable what a start has found, before anybody sees it.
//!
//! After a kill or a failed sync SQLite may recover commits from the page cache that the disk does
//! not have, and a power cut could take away what a reader has seen by then. A mere sync of the
//! write-ahead log does not help: after a failed one the kernel takes the pages for clean and
//! writes nothing. So the log's bytes are written again, the same ones in the same places. That
//! makes the pages dirty, and the sync behind it real.
//!
//! Why this is enough: what a reader sees is in the frames of the write-ahead log and, for pages
//! that have none there, in the database. The frames are durable once they have been written again
//! and synced. The database was synced before the log that its pages came from was begun anew.
//!
//! Why it is safe: the write lock is held meanwhile. Nobody appends, or begins the log anew, so the
//! bytes are the same before, during and after; readers of other programs read on, and copying into
//! the database only reads them. Nothing here waits for a reader: how far the log can be copied is
//! not asked.
//!
//! Another program that keeps the write lock does not keep the gateway from starting. Then the log
//! is synced as it is. It is as durable as it can be unless a sync has failed before, and that
//! program has recovered what came of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::errors::is_busy;
use super::files::wal_bytes_of;
use super::frames::WalFrames;
use super::refusal::OpenCause;
use crate::limits;

/// Bytes that are read and written again together.
const PIECE_BYTES: usize = 1024 * 1024;

/// Makes durable what the connections see. `observer` is another connection than the writer.
pub(super) fn resync(
    writer: &Connection,
    observer: &Connection,
    database: &Path,
) -> Result<(), OpenCause> {
    // Without the lock the log may grow and begin anew meanwhile, so it is only synced.
    let wal = wal_of(database);
    if !take_write_lock(writer, database)? {
        warn_of_lock(database);
        return Ok(sync(&wal)?);
    }

    // Another connection counts, as the writer is in a transaction.
    let written = WalFrames::of(observer).map(|frames| write_again(&wal, frames));
    writer.execute_batch("ROLLBACK")?;
    Ok(written??)
}

fn wal_of(database: &Path) -> PathBuf {
    database.with_extension("db-wal")
}

fn warn_of_lock(database: &Path) {
    tracing::warn!(
        database = %database.display(),
        "another program keeps the write lock of the database: nothing can be published until its \
         transaction ends"
    );
}

/// Waits for the write lock, for a bounded time. False when another program keeps it.
fn take_write_lock(writer: &Connection, database: &Path) -> rusqlite::Result<bool> {
    // As a rule it is free, and nothing has to be said.
    if begin_within(writer, Duration::ZERO)? {
        return Ok(true);
    }
    tracing::warn!(
        database = %database.display(),
        wait_s = limits::START_LOCK_WAIT.as_secs(),
        "another program holds the write lock of the database; the start waits for it"
    );
    begin_within(writer, limits::START_LOCK_WAIT)
}

fn begin_within(writer: &Connection, wait: Duration) -> rusqlite::Result<bool> {
    writer.busy_timeout(wait)?;
    match writer.execute_batch("BEGIN IMMEDIATE") {
        Ok(()) => Ok(true),
        Err(error) if is_busy(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes all frames again as they are, and syncs them. The write lock has to be held.
fn write_again(wal: &Path, frames: WalFrames) -> io::Result<()> {
    if frames.logged == 0 {
        return Ok(()); // everything is in the database
    }

    // It may take seconds, and the start waits for it.
    let bytes = wal_bytes_of(frames.logged.into(), frames.page_bytes);
    if bytes > limits::WAL_WARN_BYTES {
        tracing::info!(bytes, "a large write-ahead log is made durable");
    }

    match overwrite_with_itself(wal, bytes) {
        // A file system that writes to new places has none left.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!("the disk with the data folder is full; the log is synced as it is");
            sync(wal)
        }
        done => done,
    }
}

fn overwrite_with_itself(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // Piece by piece: the log may be larger than memory.
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let left = usize::try_from(bytes - at).unwrap_or(PIECE_BYTES);
        let part = &mut piece[..left.min(PIECE_BYTES)];
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    file.sync_all()
}

fn sync(wal: &Path) -> io::Result<()> {
    File::open(wal)?.sync_all()
}
