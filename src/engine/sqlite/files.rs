//! The files of a log, as they were when it was opened.
//!
//! A file that is removed or replaced goes on to be written by who has it open, and is gone when
//! that ends. Invariant: nothing here opens the database or its shared memory, for closing them
//! again would take the process's locks on them away.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::folder::{DATABASE, LOCK};

/// The head of a write-ahead log, in bytes.
const WAL_HEAD: u64 = 32;
/// The head of a frame, which has a page behind it, in bytes.
const FRAME_HEAD: u64 = 24;

/// A file by its name, and which one it was.
#[derive(Debug, Clone)]
struct Known {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The files of an open log.
#[derive(Debug, Clone)]
pub(super) struct Files {
    known: Vec<Known>,
    database: PathBuf,
    wal: PathBuf,
}

impl Files {
    /// Notes which files these are; the log has to be open, so that all of them are there.
    pub(super) fn note(data_dir: &Path) -> io::Result<Self> {
        let named = |end: &str| data_dir.join(format!("{DATABASE}{end}"));
        let paths = [named(""), named("-wal"), named("-shm"), data_dir.join(LOCK)];
        let known: io::Result<_> = paths.into_iter().map(Known::note).collect();
        Ok(Files {
            known: known?,
            database: named(""),
            wal: named("-wal"),
        })
    }

    /// Are they there still, and the same ones? What is wrong where not.
    pub(super) fn check(&self) -> Result<(), String> {
        self.known.iter().try_for_each(Known::check)
    }

    pub(super) fn folder(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new("."))
    }

    pub(super) fn wal(&self) -> &Path {
        &self.wal
    }

    /// The length of the write-ahead log.
    pub(super) fn wal_bytes(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |m| m.len())
    }

    /// The length of the database.
    pub(super) fn database_bytes(&self) -> u64 {
        fs::metadata(&self.database).map_or(0, |m| m.len())
    }
}

impl Known {
    fn note(path: PathBuf) -> io::Result<Self> {
        let now = fs::metadata(&path)?;
        Ok(Known {
            path,
            device: now.dev(),
            inode: now.ino(),
        })
    }

    fn check(&self) -> Result<(), String> {
        let name = self.path.display();
        match fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(format!("{name} has been replaced by another file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{name} has been removed"))
            }
            Err(error) => Err(format!("{name} cannot be looked at any more: {error}")),
        }
    }
}

/// How long a write-ahead log of so many frames is, in bytes.
pub(super) fn wal_bytes_of(frames: u64, page_bytes: u64) -> u64 {
    WAL_HEAD + frames * (FRAME_HEAD + page_bytes)
}

/// Does the write-ahead log have the frames that SQLite says it has? Each of `frames` is looked at,
/// which count from 1. A log that was cut has lost its end, or a hole of zeros where that was
/// before it was written again; both the head and each frame carry the salt of their log.
pub(super) fn has_frames(wal: &Path, frames: &[u64], page_bytes: u64) -> io::Result<bool> {
    let file = File::open(wal)?;
    let bytes = file.metadata()?.len();
    let mut salt = [0; 8];
    if bytes < WAL_HEAD {
        return Ok(frames.is_empty());
    }
    file.read_exact_at(&mut salt, 16)?;
    for &frame in frames {
        let mut of_frame = [0; 8];
        if bytes < wal_bytes_of(frame, page_bytes) {
            return Ok(false);
        }
        file.read_exact_at(&mut of_frame, wal_bytes_of(frame - 1, page_bytes) + 8)?;
        if of_frame != salt || salt == [0; 8] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write-ahead log with these salts: of its head, then of each frame.
    fn wal(salts: &[u64]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut bytes = vec![0; usize::try_from(wal_bytes_of(0, 0)).expect("small")];
        bytes[16..24].copy_from_slice(&salts[0].to_be_bytes());
        for salt in &salts[1..] {
            let mut frame = vec![0; usize::try_from(FRAME_HEAD).expect("small") + 512];
            frame[8..16].copy_from_slice(&salt.to_be_bytes());
            bytes.extend(frame);
        }
        fs::write(file.path(), bytes).expect("it is written");
        file
    }

    #[test]
    fn a_whole_log_has_its_frames_and_one_with_a_hole_or_without_its_end_has_not() {
        let has = |salts: &[u64], frames: &[u64]| {
            has_frames(wal(salts).path(), frames, 512).expect("it is read")
        };
        assert!(has(&[7, 7, 7, 7], &[1, 3]));
        assert!(
            has(&[7, 7, 7, 6], &[2]),
            "what is behind is of an older log"
        );
        assert!(!has(&[7, 7, 7], &[3]), "cut");
        assert!(!has(&[7, 0, 7], &[1, 2]), "a hole");
        assert!(!has(&[0, 0, 7], &[2]), "a hole at the head");
        assert!(!has(&[0, 0, 0], &[2]), "nothing but zeros");
    }

    #[test]
    fn a_file_that_is_removed_or_replaced_is_not_the_known_one() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in [
            "vidette.db",
            "vidette.db-wal",
            "vidette.db-shm",
            LOCK,
            "new",
        ] {
            fs::write(path(name), "").expect("a file");
        }
        let files = Files::note(folder.path()).expect("they are there");
        assert_eq!(files.check(), Ok(()));
        fs::rename(path("new"), path("vidette.db-wal")).expect("it is replaced");
        assert!(
            files
                .check()
                .expect_err("replaced")
                .contains("-wal has been replaced")
        );
        fs::remove_dir_all(folder.path()).expect("it is removed");
        assert!(
            files
                .check()
                .expect_err("removed")
                .contains("vidette.db has been removed")
        );
    }
}
