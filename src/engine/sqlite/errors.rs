//! What SQLite's errors mean for clients.
//!
//! Invariant: only an error after which the database is known to be as before lets later appends go
//! on.

use rusqlite::ErrorCode;
use rusqlite::types::Type;

use crate::error::{Error, ErrorKind};

const DAMAGED: &str = "the log on disk is damaged here; the gateway's own log says where. Restore \
                       the data folder from a backup";

const BROKEN: &str = "the log failed to sync, so nothing is written until the gateway has been \
                      restarted; reading goes on";

const STORAGE_FULL: &str = "the disk with the data folder is full; nothing was written. Free some \
                            space or shorten retention, then publish again";

const LOCKED: &str = "another program holds the write lock of the database; nothing was written. \
                      End its transaction, then publish again";

/// Why an append or a trim failed, and whether the log can still be trusted with writes.
pub(super) struct WriteError {
    pub(super) error: Error,
    pub(super) breaks_log: bool,
}

impl WriteError {
    /// Nothing was written; the next write may succeed.
    fn passing(error: Error) -> Self {
        WriteError {
            error,
            breaks_log: false,
        }
    }

    /// Nobody knows what was written.
    fn breaking(error: Error) -> Self {
        WriteError {
            error,
            breaks_log: true,
        }
    }
}

/// What a failed write means.
pub(super) fn of_writing(error: &rusqlite::Error) -> WriteError {
    match error.sqlite_error_code() {
        // Raised before the commit record is complete; SQLite has rolled back.
        Some(ErrorCode::DiskFull) => WriteError::passing(storage_full()),
        // Another program holds the write lock, sqlite3 for one; nothing was begun.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => WriteError::passing(locked()),
        Some(ErrorCode::TooBig) => WriteError::passing(too_large()),
        _ => {
            tracing::error!(%error, "failed to write the log; nothing more is written to it");
            WriteError::breaking(broken())
        }
    }
}

/// What a failed read means.
pub(super) fn of_reading(error: &rusqlite::Error) -> Error {
    tracing::error!(%error, "failed to read the log");
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::internal(DAMAGED),
        _ => Error::internal(format!("failed to read the log: {error}")),
    }
}

fn too_large() -> Error {
    Error::too_large("the event is larger than SQLite can store")
}

pub(super) fn broken() -> Error {
    Error::new(ErrorKind::Broken, BROKEN)
}

pub(super) fn storage_full() -> Error {
    Error::new(ErrorKind::StorageFull, STORAGE_FULL)
}

pub(super) fn locked() -> Error {
    Error::new(ErrorKind::Locked, LOCKED)
}

/// The log's files are no longer those that were opened, or not whole.
pub(super) fn replaced(what: &str) -> Error {
    let detail = format!(
        "the log was changed while the gateway runs: {what}. Nothing is written until the gateway \
         has been restarted on a whole data folder; reading goes on from memory"
    );
    Error::new(ErrorKind::Broken, detail)
}

/// There is no space for what SQLite wanted to write.
pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Another program has the lock that SQLite wanted.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// A text in the database that cannot be what it should be.
pub(super) fn of_text(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
