//! A data folder: who holds it, and what has to lie in it.
//!
//! Invariant: the lock is held for as long as the log is open, and says by whom.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::refusal::{OpenResult, database_lost, held, unusable};
use crate::engine::OpenError;

/// The log.
pub(super) const DATABASE: &str = "vidette.db";
/// Held by the gateway that has the folder.
pub(super) const LOCK: &str = "vidette.lock";

/// Makes a folder and those above it, and syncs each name: a power cut must not take the folder
/// with its events.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    // From the top, so that each name is durable before what lies below it.
    let parent = parent_of(folder);
    make_folder(parent)?;
    fs::create_dir(folder)?;
    sync_folder(parent)
}

fn parent_of(folder: &Path) -> &Path {
    // That of a relative path of one name is empty.
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Makes the names in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes the lock of a data folder; it is held as long as the file is open.
pub(super) fn lock(data_dir: &Path) -> OpenResult<File> {
    // The operating system releases it when the process ends, however that is.
    let opened = open_lock(&data_dir.join(LOCK));
    let mut file = opened.map_err(|e| unusable(data_dir, "cannot be written", &e))?;

    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held_by(data_dir, &mut file)),
        Err(TryLockError::Error(e)) => return Err(unusable(data_dir, "cannot be locked", &e)),
    }

    // Only to help a person; the lock is what counts, so a full disk is no reason to stop here.
    let _ = write_holder(&mut file);
    Ok(file)
}

fn open_lock(path: &Path) -> io::Result<File> {
    // Not truncated before the lock is held: it names the process that holds it.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "pid {}", std::process::id())
}

fn held_by(data_dir: &Path, file: &mut File) -> OpenError {
    // Empty where the holder's disk was full.
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match holder.trim() {
        "" => held(data_dir, "another process"),
        holder => held(data_dir, &format!("another process ({holder})")),
    }
}

/// Refuses to make a new database where one has been lost.
pub(super) fn refuse_leftovers(data_dir: &Path) -> OpenResult<()> {
    let wal = data_dir.join(format!("{DATABASE}-wal"));
    if wal.exists() {
        return Err(database_lost(&wal));
    }
    Ok(())
}
