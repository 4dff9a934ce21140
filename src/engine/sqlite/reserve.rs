//! A little room that is kept back for trimming.
//!
//! Deleting takes room in the write-ahead log before it gives any. On a full disk the reserve is
//! given up for that. Invariant: nothing is ever read from the file, so it may be missing or cut at
//! any time.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::limits;

const RESERVE: &str = "vidette.reserve";
/// Where it is tried whether the disk takes anything.
const TRIAL: &str = "vidette.trial";
/// As much as possible is kept back, of these.
const RESERVE_BYTES: [usize; 3] = [512 * 1024, 256 * 1024, 128 * 1024];

pub(super) struct Reserve {
    path: PathBuf,
    is_held: bool,
}

impl Reserve {
    /// The reserve of a data folder, taken at once if there is room for it.
    pub(super) fn take(data_dir: &Path) -> Self {
        let mut reserve = Reserve {
            path: data_dir.join(RESERVE),
            is_held: false,
        };
        reserve.take_again();
        reserve
    }

    /// Takes the room again, if it was given up and there is some.
    pub(super) fn take_again(&mut self) {
        if self.is_held {
            return;
        }
        let smallest = RESERVE_BYTES[RESERVE_BYTES.len() - 1] as u64;
        let is_there = fs::metadata(&self.path).is_ok_and(|m| m.len() >= smallest);
        self.is_held = is_there
            || RESERVE_BYTES
                .iter()
                .any(|&bytes| fills(&self.path, bytes).is_ok());
        if !self.is_held {
            let _ = fs::remove_file(&self.path); // a part of it would only be in the way
        }
    }

    /// Gives the room up. False when there was none.
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
    let space = rustix::fs::statvfs(data_dir);
    space.is_ok_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < limits::FULL_DISK_BYTES)
}

/// Does the disk take [`limits::FULL_DISK_BYTES`]? They are given back at once.
pub(super) fn can_write(data_dir: &Path) -> bool {
    let path = data_dir.join(TRIAL);
    let bytes = usize::try_from(limits::FULL_DISK_BYTES).unwrap_or(usize::MAX);
    let is_written = fills(&path, bytes).is_ok();
    let _ = fs::remove_file(&path);
    is_written
}

fn fills(path: &Path, bytes: usize) -> std::io::Result<()> {
    // Written and not just set to a length, which would take no room.
    File::create(path)?.write_all(&vec![0; bytes])
}
