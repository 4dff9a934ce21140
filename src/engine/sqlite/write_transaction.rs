//! One transaction of the writer.
//!
//! SQLite parses the statements that begin and end a transaction each time they are given as text,
//! so they are kept prepared like all others. Invariant: a transaction that is dropped before it
//! has committed is rolled back.

use std::ops::Deref;

use rusqlite::Connection;

/// Takes the write lock.
const BEGIN: &str = "BEGIN IMMEDIATE";

pub(super) struct WriteTransaction<'c>(&'c Connection);

impl<'c> WriteTransaction<'c> {
    pub(super) fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached(BEGIN)?.execute([])?;
        Ok(WriteTransaction(connection))
    }

    /// Makes it durable. Where that fails it is rolled back.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Deref for WriteTransaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        // Over already: it has committed, or SQLite has rolled it back itself, as on a full disk.
        if self.0.is_autocommit() {
            return;
        }
        if let Err(error) = self.0.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "a transaction was not rolled back");
        }
    }
}
