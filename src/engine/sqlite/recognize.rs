//! Whether a file is a log of this vidette, and whole.
//!
//! Invariant: the file is looked at before SQLite opens it, which would take an empty one for a new
//! database.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};

use super::errors::is_disk_full;
use super::refusal::{OpenResult, damaged, of_another_program, other_version, unreadable};
use super::schema;
use crate::limits;

/// How each database of SQLite begins.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// Where `PRAGMA user_version` is in the header.
const VERSION_AT: usize = 60;
/// Where `PRAGMA application_id` is.
const APPLICATION_ID_AT: usize = 68;
/// So much of the header is read.
const HEADER_BYTES: usize = 72;

/// Refuses a file that is no log of this vidette.
pub(super) fn recognize(path: &Path) -> OpenResult<()> {
    let header = read_header(path).map_err(|e| unreadable(path, &e))?;
    // An empty file is damage as well: a new database has its name only when it is complete.
    if header.len() < HEADER_BYTES || !header.starts_with(SQLITE_MAGIC) {
        return Err(damaged(path, &"it is not a SQLite database"));
    }

    // Before the version, which means nothing in a database of another program.
    if number_at(&header, APPLICATION_ID_AT) != schema::APPLICATION_ID {
        return Err(of_another_program(path));
    }
    check_version(path, number_at(&header, VERSION_AT))
}

fn read_header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    let file = File::open(path)?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    Ok(header)
}

fn number_at(header: &[u8], at: usize) -> i64 {
    let bytes = header[at..].first_chunk().expect("the header is longer");
    u32::from_be_bytes(*bytes).into()
}

/// Refuses a schema version that cannot be migrated.
pub(super) fn check_version(path: &Path, version: i64) -> OpenResult<()> {
    if (schema::OLDEST_VERSION..=schema::VERSION).contains(&version) {
        return Ok(());
    }
    Err(other_version(path, version, schema::VERSION))
}

/// Has SQLite check the whole database, where that takes no more than moments.
pub(super) fn check(connection: &Connection, path: &Path) -> OpenResult<()> {
    // A start must not take minutes.
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    if bytes > limits::FULL_CHECK_BYTES {
        report_not_checked(path, bytes);
        return Ok(());
    }

    let begun = Instant::now();
    let verdict = quick_check(connection);
    let elapsed_ms = begun.elapsed().as_millis();
    tracing::debug!(elapsed_ms, ?verdict, "the database has been checked");
    judge(verdict, path)
}

fn judge(verdict: rusqlite::Result<String>, path: &Path) -> OpenResult<()> {
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(damaged(path, &verdict)),
        // What SQLite could not do now says nothing of the database.
        Err(error) if is_passing(&error) => {
            tracing::warn!(%error, "the database could not be checked");
            Ok(())
        }
        Err(error) => Err(damaged(path, &error)),
    }
}

fn quick_check(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))
}

fn report_not_checked(path: &Path, bytes: u64) {
    tracing::info!(
        path = %path.display(),
        bytes,
        "the database is large, so only parts of it are checked; \
         `sqlite3 FILE 'PRAGMA quick_check'` checks all of it"
    );
}

fn is_passing(error: &rusqlite::Error) -> bool {
    // Nothing of this is damage.
    let code = error.sqlite_error_code();
    is_disk_full(error)
        || matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory)
        )
}
