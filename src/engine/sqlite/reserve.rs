//! Space that is kept back for trimming.
//!
//! Deleting takes space in the write-ahead log before it gives any, and the log can begin anew only
//! after the database has grown by the new pages that are in it. On a full disk the reserve is
//! given up for both. Invariants:
//! - nothing is ever read from the file, so it may be missing or cut at any time;
//! - it takes no more than a part of the space that is left.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::files::{LogFiles, wal_bytes_of};
use super::frames::WalFrames;
use crate::limits;

const RESERVE: &str = "vidette.reserve";
/// Where it is tried whether the disk takes anything.
const TRIAL: &str = "vidette.trial";
/// What is kept back, in bytes: about what a write-ahead log adds to the database, …
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// … or as much as this part of what is left, …
const RESERVE_PART: u64 = 4;
/// … or at least as much, for deleting alone.
const SMALL_RESERVES_BYTES: [u64; 3] = [512 * 1024, 256 * 1024, 128 * 1024];

pub(super) struct Reserve {
    path: PathBuf,
    is_held: bool,
}

impl Reserve {
    /// The reserve of a data folder, taken at once if there is space for it.
    pub(super) fn take(data_dir: &Path) -> Self {
        let mut reserve = Reserve {
            path: data_dir.join(RESERVE),
            is_held: false,
        };
        reserve.take_again();
        reserve
    }

    /// Takes the space again, if it was given up and there is some.
    pub(super) fn take_again(&mut self) {
        if self.is_held {
            return;
        }
        self.is_held = self.is_there() || self.write();
        if !self.is_held {
            // A part of it would only be in the way.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Has an earlier run left it?
    fn is_there(&self) -> bool {
        let [.., smallest] = SMALL_RESERVES_BYTES;
        fs::metadata(&self.path).is_ok_and(|m| m.len() >= smallest)
    }

    /// Writes the largest reserve that there is space for. False when there is none even for the
    /// smallest.
    fn write(&self) -> bool {
        // Not more than a part of what is left, so that others have some, too.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let [small, ..] = SMALL_RESERVES_BYTES;
        let part = RESERVE_BYTES.min(free_bytes(folder) / RESERVE_PART);
        let mut sizes = [part.max(small)].into_iter().chain(SMALL_RESERVES_BYTES);
        sizes.any(|bytes| fills(&self.path, bytes).is_ok())
    }

    /// Gives the space up. False when there was none.
    pub(super) fn give_up(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        was_held && fs::remove_file(&self.path).is_ok()
    }
}

/// Gives up the reserve that an earlier run has left: opening a log needs a little, too. False when
/// there is none.
pub(super) fn give_up_in(data_dir: &Path) -> bool {
    fs::remove_file(data_dir.join(RESERVE)).is_ok()
}

/// Has the disk hardly any space left?
pub(super) fn is_low(data_dir: &Path) -> bool {
    free_bytes(data_dir) < limits::FULL_DISK_BYTES
}

/// Can the database grow by what is in the write-ahead log, and both by so many bytes more? The
/// reserve counts, as it is given up for that. Events that could not be copied are not taken, or
/// trimming them would never free any space.
pub(super) fn lets_copy(connection: &Connection, files: &LogFiles, more_bytes: u64) -> bool {
    let folder = files.folder();
    let free = free_bytes(folder);
    // As a rule; the rest is asked for only on a disk that is nearly full.
    if free > limits::NEARLY_FULL_BYTES {
        return true;
    }
    // What cannot be counted now is left to the commit to find out.
    let Ok(to_come) = bytes_to_come(connection, files, more_bytes) else {
        return true;
    };

    // Some of the reserve is for what trimming itself writes.
    let [of_trimming, ..] = SMALL_RESERVES_BYTES;
    let reserve = fs::metadata(folder.join(RESERVE)).map_or(0, |m| m.len());
    to_come <= free + reserve.saturating_sub(of_trimming)
}

/// By how much both files grow until so many bytes more are in the database.
fn bytes_to_come(
    connection: &Connection,
    files: &LogFiles,
    more_bytes: u64,
) -> rusqlite::Result<u64> {
    // What is logged already, beyond the length that the database has.
    let (grown, unused) = database_bytes(connection)?;

    // The log is written over from its begin, so a part of its length is free.
    let frames = WalFrames::of(connection)?;
    let used = wal_bytes_of(frames.logged.into(), frames.page_bytes);
    let slack = files.wal_bytes().saturating_sub(used);

    let logged = grown.saturating_sub(files.database_bytes());
    // The events come twice: into the log at once, into the database when it is copied.
    let in_database = more_bytes.saturating_sub(unused);
    let in_wal = more_bytes.saturating_sub(slack);
    Ok(logged + in_database + in_wal)
}

/// How long the database is with all that is in the write-ahead log, and how much of it is unused.
fn database_bytes(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let page_bytes = number(connection, "page_size")?;
    let pages = number(connection, "page_count")?;
    let unused = number(connection, "freelist_count")?;
    Ok((pages * page_bytes, unused * page_bytes))
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    let value = connection.pragma_query_value(None, pragma, |r| r.get::<_, i64>(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// Has the disk so little left that the write-ahead log is better copied at once?
pub(super) fn is_nearly_full(data_dir: &Path) -> bool {
    free_bytes(data_dir) < limits::NEARLY_FULL_BYTES
}

/// What the disk has left; as if there were enough where it does not say.
fn free_bytes(folder: &Path) -> u64 {
    let space = rustix::fs::statvfs(folder);
    space.map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

/// Does the disk take [`limits::FULL_DISK_BYTES`]? They are given back at once.
pub(super) fn can_write(data_dir: &Path) -> bool {
    let path = data_dir.join(TRIAL);
    // A file system may refuse space that it counts as free, or find some that it does not.
    let is_written = fills(&path, limits::FULL_DISK_BYTES).is_ok();
    let _ = fs::remove_file(&path);
    is_written
}

/// Makes a file that takes so many bytes of the disk; its length alone would take none.
fn fills(path: &Path, bytes: u64) -> io::Result<()> {
    // Where the file system cannot reserve it, it is written.
    let mut file = File::create(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            io::copy(&mut io::repeat(0).take(bytes), &mut file).map(drop)
        }
        done => Ok(done?),
    }
}
