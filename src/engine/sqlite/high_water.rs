//! The newest vid that this folder has seen, written beside the database.
//!
//! A backup that is copied over the database keeps the database's file, so its identity shows
//! nothing. But the log goes back, and the mark beside it shows that. Each start gives the mark
//! another name: restoring a whole folder over itself brings the old mark back and leaves the newer
//! one.
//!
//! Invariants:
//! - a mark is never ahead of what is durable, so a log that is behind its mark has lost events;
//! - nothing else depends on a mark: it is not synced, and may be late, missing or unreadable.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cursor::{Cursor, Epoch, Vid};
use crate::lineage::Lineage;

/// How the names of marks begin; what follows is random.
const PREFIX: &str = "vidette.newest-";
/// A mark is one cursor, in bytes at most.
const MAX_BYTES: u64 = 64;

/// The mark of an open log.
pub(super) struct HighWaterMark {
    /// None where it cannot be written.
    file: Option<File>,
    epoch: Epoch,
    /// The vid that is written in it.
    noted: AtomicU64,
}

impl HighWaterMark {
    /// Begins a new mark, which replaces those that earlier runs have left.
    pub(super) fn begin(data_dir: &Path, epoch: &Epoch, last: Vid) -> Self {
        // A random name: a backup of the folder, copied over it, must not replace a newer mark.
        let path = data_dir.join(format!("{PREFIX}{}", Epoch::random()));
        let mut mark = HighWaterMark {
            file: File::create(&path).ok(),
            epoch: epoch.clone(),
            noted: AtomicU64::new(last),
        };
        if mark.write(last).is_ok() {
            remove_all_but(data_dir, Some(&path));
            return mark;
        }

        // On a full disk the old ones stay, which say as much.
        let _ = fs::remove_file(&path);
        mark.file = None;
        mark
    }

    /// Notes the newest durable vid, if it has changed.
    pub(super) fn note(&self, last: Vid) {
        // Called twice a second, mostly for nothing.
        if self.noted.swap(last, Ordering::Relaxed) == last {
            return;
        }
        if let Err(error) = self.write(last) {
            tracing::debug!(%error, "failed to note the newest vid beside the database");
        }
    }

    fn write(&self, last: Vid) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // Always as long, so that nothing is left of what was there before.
        file.write_all_at(format!("{last:016}-{}\n", self.epoch).as_bytes(), 0)
    }
}

/// Has the folder seen vids that the log in it does not have, or another log than this one?
pub(super) fn is_ahead_of(data_dir: &Path, lineage: &Lineage, last: Vid) -> bool {
    // One as a rule; two after a kill during a start, or after a restored folder.
    let marks = paths(data_dir).into_iter().filter_map(|path| read(&path));
    let mut marks = marks.filter_map(|mark| Some((mark.epoch?, mark.vid)));
    marks.any(|(epoch, vid)| is_mark_ahead(&epoch, vid, lineage, last))
}

fn is_mark_ahead(epoch: &Epoch, vid: Vid, lineage: &Lineage, last: Vid) -> bool {
    // A log leaves an earlier epoch behind, together with the vids that were beyond its copy.
    let is_current = epoch == lineage.epoch();
    let is_known = lineage.good_through(epoch).is_some();
    !is_known || is_current && vid > last
}

/// Removes what is left of a log that is not there any more.
pub(super) fn remove_all(data_dir: &Path) {
    remove_all_but(data_dir, None);
}

fn remove_all_but(data_dir: &Path, kept: Option<&Path>) {
    for path in paths(data_dir) {
        if kept != Some(&path) {
            let _ = fs::remove_file(path); // the next start tries again
        }
    }
}

fn paths(data_dir: &Path) -> Vec<PathBuf> {
    // A folder that cannot be listed is as one without marks.
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let marks = entries.filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
    marks.map(|e| e.path()).collect()
}

/// None where it was cut, by a power cut for one.
fn read(path: &Path) -> Option<Cursor> {
    // Anybody may have written it, so no more is read than a mark can be.
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(name: &str) -> Epoch {
        name.parse().expect("an epoch")
    }

    #[test]
    fn a_log_that_went_back_is_behind_its_mark() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let log = Lineage::new(epoch("epoch1"));
        assert!(!is_ahead_of(folder.path(), &log, 3), "no mark");

        let mark = HighWaterMark::begin(folder.path(), log.epoch(), 3);
        assert!(!is_ahead_of(folder.path(), &log, 3), "where it was");
        mark.note(6);
        assert!(!is_ahead_of(folder.path(), &log, 7), "a mark may be late");
        assert!(is_ahead_of(folder.path(), &log, 5));
    }

    #[test]
    fn a_mark_of_an_unknown_epoch_is_of_another_log_and_one_of_an_earlier_epoch_is_not() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let log = Lineage::new(epoch("epoch1"));
        HighWaterMark::begin(folder.path(), log.epoch(), 6);
        let other = Lineage::new(epoch("epoch2"));
        assert!(is_ahead_of(folder.path(), &other, 9));
        assert!(!is_ahead_of(
            folder.path(),
            &log.branch(3, epoch("epoch3")),
            3
        ));
    }

    #[test]
    fn each_start_has_a_mark_of_its_own_and_removes_those_before() {
        let folder = tempfile::TempDir::new().expect("a folder");
        HighWaterMark::begin(folder.path(), &epoch("epoch1"), 3);
        let before = paths(folder.path());
        HighWaterMark::begin(folder.path(), &epoch("epoch1"), 3);
        let now = paths(folder.path());
        assert_eq!((before.len(), now.len()), (1, 1));
        assert_ne!(before, now);
    }

    #[test]
    fn a_mark_that_was_cut_says_nothing() {
        let folder = tempfile::TempDir::new().expect("a folder");
        fs::write(folder.path().join(format!("{PREFIX}x")), "00000").expect("a file");
        let log = Lineage::new(epoch("epoch1"));
        assert!(!is_ahead_of(folder.path(), &log, 0));
    }
}
