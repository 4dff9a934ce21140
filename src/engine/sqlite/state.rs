//! What is known of the log without asking the database.
//!
//! Invariant: it describes the last transaction that has committed.

use rusqlite::{Connection, params};

use super::to_sql;
use crate::cursor::Vid;
use crate::engine::{Bounds, Sizes};

/// What anyone may know of the log at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    pub(super) bounds: Bounds,
    pub(super) sizes: Sizes,
}

/// The log, and how far its index goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) first: Vid,
    pub(super) last: Vid,
    pub(super) last_time_ms: i64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Publishers' ids that are remembered.
    pub(super) ids: u64,
    /// The row of `bus` and the index of topics go up to this vid.
    pub(super) indexed: Vid,
    /// Of the retained events up to there.
    pub(super) indexed_bytes: u64,
}

impl State {
    pub(super) fn status(&self) -> Status {
        Status {
            bounds: Bounds {
                first: self.first,
                last: self.last,
            },
            sizes: Sizes {
                events: self.events,
                bytes: self.bytes,
            },
        }
    }

    /// Writes the row of `bus`, which describes the log as far as it is indexed.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE bus SET first_vid = ?1, last_vid = ?2, last_time_ms = ?3, events = ?4, bytes = ?5",
        )?;
        statement.execute(params![
            to_sql(self.first),
            to_sql(self.indexed),
            self.last_time_ms,
            to_sql(self.events - (self.last - self.indexed)),
            to_sql(self.indexed_bytes)
        ])?;
        Ok(())
    }
}
