//! What SQLite's errors mean for clients.
//!
//! Invariant: only an error after which the database is known to be as before lets later appends go
//! on.

use rusqlite::ErrorCode;

use crate::error::{Error, ErrorKind};

/// A failed append or trim, and whether the log can still be trusted with writes.
pub(super) struct WriteFault {
    pub(super) error: Error,
    pub(super) breaks: bool,
}

/// What a failed write means.
pub(super) fn of_writing(fault: &rusqlite::Error) -> WriteFault {
    match fault.sqlite_error_code() {
        // Raised before the commit record is complete; SQLite has rolled back.
        Some(ErrorCode::DiskFull) => WriteFault {
            error: storage_full(),
            breaks: false,
        },
        // Somebody holds the write lock, with sqlite3 for one; nothing was begun.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => WriteFault {
            error: locked(),
            breaks: false,
        },
        Some(ErrorCode::TooBig) => WriteFault {
            error: Error::too_large("the event is larger than SQLite can keep"),
            breaks: false,
        },
        _ => {
            tracing::error!(fault = %fault, "the log cannot be written any more");
            WriteFault {
                error: broken(),
                breaks: true,
            }
        }
    }
}

/// What a failed read means.
pub(super) fn of_reading(fault: &rusqlite::Error) -> Error {
    tracing::error!(fault = %fault, "the log could not be read");
    match fault.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::internal(
            "the log on disk is damaged here; the gateway's own log says where, and a copy of the data folder may be restored",
        ),
        _ => Error::internal(format!("the log could not be read: {fault}")),
    }
}

pub(super) fn broken() -> Error {
    Error::new(
        ErrorKind::Broken,
        "the log failed to sync, so nothing is written until the gateway has been restarted; reading goes on",
    )
}

/// The log's files are no longer those that were opened, or not whole.
pub(super) fn replaced(what: &str) -> Error {
    let detail = format!(
        "the log was changed while the gateway runs: {what}. Nothing is written until the gateway has been restarted on a whole data folder; reading goes on from what is in memory"
    );
    Error::new(ErrorKind::Broken, detail)
}

pub(super) fn storage_full() -> Error {
    Error::new(
        ErrorKind::StorageFull,
        "the disk with the data folder is full; nothing was written. Make room or shorten retention, then publish again",
    )
}

pub(super) fn locked() -> Error {
    Error::new(
        ErrorKind::Locked,
        "another program holds the write lock of the database; nothing was written. End its transaction, then publish again",
    )
}
