//! A little room that is kept back for trimming.
//!
//! Deleting takes room in the write-ahead log before it gives any. On a full disk the reserve is
//! given up for that. Invariant: nothing is ever read from the file, so it may be missing or cut at
//! any time.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const RESERVE: &str = "vidette.reserve";
const RESERVE_BYTES: usize = 512 * 1024;

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

    /// The reserve that an earlier gateway has left.
    pub(super) fn held(data_dir: &Path) -> Self {
        Reserve {
            path: data_dir.join(RESERVE),
            is_held: true,
        }
    }

    /// Takes the room again, if it was given up and there is some.
    pub(super) fn take_again(&mut self) {
        if self.is_held {
            return;
        }
        let is_whole = fs::metadata(&self.path).is_ok_and(|m| m.len() == RESERVE_BYTES as u64);
        self.is_held = is_whole || self.write().is_ok();
        if !self.is_held {
            let _ = fs::remove_file(&self.path); // a part of it would only be in the way
        }
    }

    /// Gives the room up. False when there was none.
    pub(super) fn give_up(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        was_held && fs::remove_file(&self.path).is_ok()
    }

    fn write(&self) -> std::io::Result<()> {
        // Written and not just set to a length, which would take no room.
        File::create(&self.path)?.write_all(&vec![0; RESERVE_BYTES])
    }
}
