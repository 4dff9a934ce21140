//! A data folder: who holds it, and what has to lie in it.
//!
//! Invariant: the lock is held for as long as the log is open, and says by whom.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::refusal::{OpenResult, unusable};
use crate::engine::OpenError;

/// The log.
pub(super) const DATABASE: &str = "vidette.db";
/// Held by the gateway that has the folder.
pub(super) const LOCK: &str = "vidette.lock";

/// Makes a folder and those above it, and syncs each name: a power cut must not take the folder
/// with its events.
pub(super) fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_folder(parent)?;
    fs::create_dir(folder)?;
    File::open(parent)?.sync_all()
}

pub(super) fn lock(data_dir: &Path) -> OpenResult<File> {
    let path = data_dir.join(LOCK);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = opened.map_err(|e| unusable(data_dir, "cannot be written", &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let by = if holder.is_empty() {
                "another process".to_owned()
            } else {
                format!("another process ({holder})")
            };
            return Err(OpenError::new(format!(
                "the data folder {} is held by {by}. One gateway at a time may use it: stop the other one, or give this one its own --data-dir",
                data_dir.display()
            )));
        }
        Err(TryLockError::Error(e)) => return Err(unusable(data_dir, "cannot be locked", &e)),
    }
    // Only to help a person; the lock is what counts, so a full disk is no reason to stop here.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "pid {}", std::process::id()));
    Ok(file)
}

/// A write-ahead log without its database means that the database has been lost.
pub(super) fn refuse_leftovers(data_dir: &Path) -> OpenResult<()> {
    let wal = data_dir.join(format!("{DATABASE}-wal"));
    if wal.exists() {
        return Err(OpenError::new(format!(
            "{} is there but its database {DATABASE} is not. Nothing was changed. Restore the whole data folder from a copy, or move it away to begin a new log",
            wal.display()
        )));
    }
    Ok(())
}
