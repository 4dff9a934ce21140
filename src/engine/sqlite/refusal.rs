//! Why a log cannot be opened, and what to do about it.
//!
//! Invariant: every text names the folder or the file, and a remedy.

use std::path::Path;

use rusqlite::ErrorCode;

use super::folder::DATABASE;
use crate::engine::OpenError;

pub(super) type OpenResult<T> = Result<T, OpenError>;

pub(super) fn unusable(data_dir: &Path, what: &str, error: &std::io::Error) -> OpenError {
    OpenError::new(format!(
        "the data folder {} {what}: {error}. Check its path, its permissions and the room on its disk, or choose another --data-dir",
        data_dir.display()
    ))
}

pub(super) fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::new(format!(
        "{} is damaged: {what}. Nothing was changed. Restore the data folder from a copy, try `sqlite3 FILE .recover`, or move it away to begin a new log",
        path.display()
    ))
}

pub(super) fn full(data_dir: &Path) -> OpenError {
    OpenError::new(format!(
        "the disk with the data folder {} is full. Nothing was lost; make room, then start again",
        data_dir.display()
    ))
}

pub(super) fn of_opening(data_dir: &Path, fault: impl Into<OpenFault>) -> OpenError {
    let fault = match fault.into() {
        OpenFault::Refused(refused) => return refused,
        fault => fault,
    };
    let folder = data_dir.display();
    if fault.is_full_disk() {
        return full(data_dir);
    }
    match fault.sqlite_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            damaged(&data_dir.join(DATABASE), &fault.to_string())
        }
        Some(ErrorCode::DatabaseBusy) => OpenError::new(format!(
            "the database in {folder} is in use by another program: {fault}"
        )),
        _ => OpenError::new(format!(
            "the data folder {folder} cannot be used: {fault}. Check its permissions and the room on its disk"
        )),
    }
}

/// What can go wrong on the way, by where it comes from.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenFault {
    #[error("{0}")]
    Refused(#[from] OpenError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl OpenFault {
    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            OpenFault::Sqlite(fault) => fault.sqlite_error_code(),
            OpenFault::Io(_) | OpenFault::Refused(_) => None,
        }
    }

    /// The database itself is what is wrong.
    pub(super) fn is_damage(&self) -> bool {
        matches!(
            self.sqlite_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    fn is_full_disk(&self) -> bool {
        matches!(self, OpenFault::Io(e) if e.kind() == std::io::ErrorKind::StorageFull)
            || self.sqlite_code() == Some(ErrorCode::DiskFull)
    }
}

/// There is no space for what SQLite wanted to write.
pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
