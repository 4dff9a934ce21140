//! The files of a log, as they were when it was opened.
//!
//! A file that is removed or replaced goes on to be written by who has it open, and is gone when
//! that ends. Invariant: nothing here opens the database or its shared memory, for closing them
//! again would take the process's locks on them away.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::folder::{DATABASE, LOCK};
use super::identity::FileIdentity;

/// The header of a write-ahead log, in bytes.
const WAL_HEADER_BYTES: u64 = 32;
/// Where the salt is in it, which every frame of the log repeats.
const WAL_SALT_AT: u64 = 16;
/// The header of a frame, which has a page behind it, in bytes.
const FRAME_HEADER_BYTES: u64 = 24;
/// Where the salt is in it.
const FRAME_SALT_AT: u64 = 8;

/// A file by its name, and which one it was.
#[derive(Debug, Clone)]
struct KnownFile {
    path: PathBuf,
    identity: FileIdentity,
}

/// The files of an open log.
#[derive(Debug, Clone)]
pub(super) struct LogFiles {
    known: Vec<KnownFile>,
    database: PathBuf,
    wal: PathBuf,
}

impl LogFiles {
    /// Notes which files these are; the log has to be open, so that all of them are there.
    pub(super) fn note(data_dir: &Path) -> io::Result<Self> {
        // SQLite looks the last three up by the name of the first.
        let named = |end: &str| data_dir.join(format!("{DATABASE}{end}"));
        let paths = [named(""), named("-wal"), named("-shm"), data_dir.join(LOCK)];
        let known: io::Result<_> = paths.into_iter().map(KnownFile::note).collect();
        Ok(LogFiles {
            known: known?,
            database: named(""),
            wal: named("-wal"),
        })
    }

    /// Are they there still, and the same ones? What is wrong where not.
    pub(super) fn check(&self) -> Result<(), String> {
        self.known.iter().try_for_each(KnownFile::check)
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

impl KnownFile {
    fn note(path: PathBuf) -> io::Result<Self> {
        let identity = FileIdentity::of(&path)?;
        Ok(KnownFile { path, identity })
    }

    fn check(&self) -> Result<(), String> {
        match FileIdentity::of(&self.path) {
            Ok(now) if now.is_same_file(&self.identity) => Ok(()),
            Ok(_) => Err(self.was("has been replaced by another file")),
            Err(error) => Err(self.was_lost(&error)),
        }
    }

    fn was_lost(&self, error: &io::Error) -> String {
        if error.kind() == io::ErrorKind::NotFound {
            return self.was("has been removed");
        }
        self.was(&format!("cannot be checked any more: {error}"))
    }

    fn was(&self, changed: &str) -> String {
        format!("{} {changed}", self.path.display())
    }
}

/// How long a write-ahead log of so many frames is, in bytes.
pub(super) fn wal_bytes_of(frames: u64, page_bytes: u64) -> u64 {
    WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes)
}

/// Does the write-ahead log have the frames that SQLite says it has? Each of `frames` is checked,
/// which count from 1. A log that was cut has lost its end, or has a hole of zeros where that was
/// before it was written again; both the header and each frame carry the salt of their log.
pub(super) fn has_frames(wal: &Path, frames: &[u64], page_bytes: u64) -> io::Result<bool> {
    // It carries no locks, so opening and closing it takes none away.
    let file = File::open(wal)?;
    let bytes = file.metadata()?.len();
    if bytes < WAL_HEADER_BYTES {
        return Ok(frames.is_empty());
    }

    let salt = read_salt(&file, WAL_SALT_AT)?;
    for &frame in frames {
        // Either the end is missing, or what stands in its place is of no log.
        let is_cut = bytes < wal_bytes_of(frame, page_bytes);
        if is_cut || !has_salt(&file, frame, page_bytes, salt)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Is this frame of the log with this salt? Zeros are of none.
fn has_salt(wal: &File, frame: u64, page_bytes: u64, salt: [u8; 8]) -> io::Result<bool> {
    let at = wal_bytes_of(frame - 1, page_bytes) + FRAME_SALT_AT;
    Ok(read_salt(wal, at)? == salt && salt != [0; 8])
}

fn read_salt(wal: &File, at: u64) -> io::Result<[u8; 8]> {
    let mut salt = [0; 8];
    wal.read_exact_at(&mut salt, at)?;
    Ok(salt)
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
            let mut frame = vec![0; usize::try_from(FRAME_HEADER_BYTES).expect("small") + 512];
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
        let files = LogFiles::note(folder.path()).expect("they are there");
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
