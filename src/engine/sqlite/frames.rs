//! How much is in the write-ahead log, as SQLite counts it.

use rusqlite::{Connection, Row};

/// Frames of the write-ahead log; a frame is a page with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalFrames {
    /// Committed since the log was begun anew.
    pub(super) logged: u32,
    /// Of those, copied into the database.
    pub(super) copied: u32,
    /// Bytes of a page.
    pub(super) page_bytes: u64,
}

impl WalFrames {
    /// Counts them and does nothing else. Not within a transaction of this connection.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let counted = Self::after("NOOP", connection)?;
        counted.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// Copies what no reader needs any more as it was, and waits for nobody. None when another
    /// program is copying.
    pub(super) fn copy(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        Self::after("PASSIVE", connection)
    }

    /// Copies all and cuts the log to nothing, if nobody reads or writes at this moment.
    pub(super) fn cut(connection: &Connection) -> rusqlite::Result<()> {
        Self::after("TRUNCATE", connection).map(drop)
    }

    /// The frames after a checkpoint of this mode.
    fn after(mode: &str, connection: &Connection) -> rusqlite::Result<Option<Self>> {
        // Outside of the checkpoint, which gives counts of pages only.
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |r| r.get(0))?;
        let page_bytes = u64::try_from(page_bytes).unwrap_or(0);
        let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&checkpoint, [], |row| Self::read(row, page_bytes))
    }

    fn read(row: &Row<'_>, page_bytes: u64) -> rusqlite::Result<Option<Self>> {
        // Both are -1 where it could not begin.
        let (logged, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(u32::try_from(logged).ok().map(|logged| WalFrames {
            logged,
            copied: u32::try_from(copied).unwrap_or(0),
            page_bytes,
        }))
    }

    /// Frames that are not in the database yet.
    pub(super) fn left(self) -> u32 {
        self.logged.saturating_sub(self.copied)
    }
}
