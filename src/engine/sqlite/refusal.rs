//! Why a log cannot be opened, and what to do about it.
//!
//! Invariant: every text names the folder or the file, and a remedy.

use std::fmt::Display;
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use super::errors::is_disk_full;
use super::folder::DATABASE;
use crate::engine::OpenError;

const CHECK_FOLDER: &str = "Check its path, its permissions and the space on its disk, or choose \
                            another --data-dir";

const REPAIR: &str = "Nothing was changed. Restore the data folder from a backup, try \
                      `sqlite3 FILE .recover`, or move it away to begin a new log";

const FREE_SPACE: &str = "Nothing was lost; free some space, then start again";

const END_OTHER: &str = "End its transaction, then start again; `fuser FILE` shows which one it is";

const STOP_OTHER: &str = "One gateway at a time may use it: stop the other one, or give this one \
                          its own --data-dir";

const RESTORE: &str = "Nothing was changed. Restore the whole data folder from a backup, or move \
                       it away to begin a new log";

const USE_OTHER_VERSION: &str = "Use the vidette that wrote it, or a newer one";

const CHECK_LIMITS: &str = "Check the limits of threads and memory, then start again";

pub(super) type OpenResult<T> = Result<T, OpenError>;

/// What can go wrong while a log is opened, by where it comes from.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenCause {
    #[error("{0}")]
    Refused(#[from] OpenError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl OpenCause {
    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            OpenCause::Sqlite(error) => error.sqlite_error_code(),
            OpenCause::Io(_) | OpenCause::Refused(_) => None,
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
        match self {
            OpenCause::Io(error) => error.kind() == io::ErrorKind::StorageFull,
            OpenCause::Sqlite(error) => is_disk_full(error),
            OpenCause::Refused(_) => false,
        }
    }
}

/// The refusal of a data folder in which a step failed.
pub(super) fn of_opening(data_dir: &Path, cause: impl Into<OpenCause>) -> OpenError {
    // Causes with a remedy of their own come before the general one.
    match cause.into() {
        OpenCause::Refused(refused) => refused,
        cause if cause.is_full_disk() => full(data_dir),
        cause if cause.is_damage() => damaged(&data_dir.join(DATABASE), &cause),
        cause if cause.sqlite_code() == Some(ErrorCode::DatabaseBusy) => in_use(data_dir, &cause),
        cause => unusable(data_dir, "cannot be used", &cause),
    }
}

pub(super) fn unusable(data_dir: &Path, what: &str, error: &dyn Display) -> OpenError {
    let data_dir = data_dir.display();
    OpenError::new(format!(
        "the data folder {data_dir} {what}: {error}. {CHECK_FOLDER}"
    ))
}

pub(super) fn unreadable(file: &Path, error: &io::Error) -> OpenError {
    OpenError::new(format!(
        "{} cannot be read: {error}. Check its permissions",
        file.display()
    ))
}

pub(super) fn damaged(file: &Path, what: &dyn Display) -> OpenError {
    let file = file.display();
    OpenError::new(format!("{file} is damaged: {what}. {REPAIR}"))
}

pub(super) fn full(data_dir: &Path) -> OpenError {
    let data_dir = data_dir.display();
    OpenError::new(format!(
        "the disk with the data folder {data_dir} is full. {FREE_SPACE}"
    ))
}

fn in_use(data_dir: &Path, error: &dyn Display) -> OpenError {
    let database = data_dir.join(DATABASE);
    let database = database.display();
    OpenError::new(format!(
        "{database} is in use by another program: {error}. {END_OTHER}"
    ))
}

pub(super) fn held(data_dir: &Path, holder: &str) -> OpenError {
    let data_dir = data_dir.display();
    OpenError::new(format!(
        "the data folder {data_dir} is held by {holder}. {STOP_OTHER}"
    ))
}

/// A write-ahead log without its database means that the database has been lost.
pub(super) fn database_lost(wal: &Path) -> OpenError {
    let wal = wal.display();
    OpenError::new(format!(
        "{wal} is there but its database {DATABASE} is not. {RESTORE}"
    ))
}

pub(super) fn of_another_program(database: &Path) -> OpenError {
    OpenError::new(format!(
        "{} is a database of another program. Choose another --data-dir",
        database.display()
    ))
}

pub(super) fn other_version(database: &Path, found: i64, known: i64) -> OpenError {
    let database = database.display();
    OpenError::new(format!(
        "{database} has schema version {found}, this vidette knows {known}. {USE_OTHER_VERSION}"
    ))
}

pub(super) fn no_thread(name: &str, error: &dyn Display) -> OpenError {
    OpenError::new(format!(
        "failed to start the thread {name}: {error}. {CHECK_LIMITS}"
    ))
}
