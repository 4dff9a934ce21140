//! The connections to the database, and how each is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::refusal::OpenCause;
use crate::limits;

/// Statements that the writer keeps prepared.
const WRITER_STATEMENTS: usize = 32;
/// How long a reader waits for another program that holds a lock.
const READER_LOCK_WAIT: Duration = Duration::from_secs(5);

/// The connection that writes. Until the database is known to be good, closing it leaves the
/// write-ahead log alone.
pub(super) fn connect_writer(path: &Path) -> Result<Connection, OpenCause> {
    let connection = connect(path)?;
    // Another program may read it just now, sqlite3 for one.
    connection.busy_timeout(limits::START_LOCK_WAIT)?;
    set_checkpoint_on_close(&connection, false)?;
    set_wal_mode(&connection)?;
    set_durability(&connection)?;
    connection.set_prepared_statement_cache_capacity(WRITER_STATEMENTS);
    Ok(connection)
}

fn set_durability(connection: &Connection) -> rusqlite::Result<()> {
    // A commit returns once the write-ahead log is synced.
    connection.pragma_update(None, "synchronous", "FULL")?;

    // The checkpoint thread copies the log, and cuts what is longer than this.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let kept_bytes = limits::WAL_KEPT_BYTES.cast_signed();
    connection.pragma_update(None, "journal_size_limit", kept_bytes)?;

    // On by default in this build of SQLite; no table has any.
    connection.pragma_update(None, "foreign_keys", false)
}

fn set_wal_mode(connection: &Connection) -> Result<(), OpenCause> {
    // SQLite answers with the mode that it has, also where it cannot change it.
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    let error = format!("its journal mode is {mode} and cannot be changed to WAL");
    Err(std::io::Error::other(error).into())
}

/// Does closing the last connection copy the write-ahead log into the database and delete it?
pub(super) fn set_checkpoint_on_close(
    connection: &Connection,
    is_on: bool,
) -> rusqlite::Result<bool> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_on)
}

/// A connection that only copies the write-ahead log into the database.
pub(super) fn connect_checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    // Syncs the log before it is copied, and the database after.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.busy_timeout(READER_LOCK_WAIT)?;
    // So that no mistake in a statement can change the log.
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Also readers open it for writing: they take part in the shared memory of the write-ahead log.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}
