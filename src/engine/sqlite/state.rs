//! What is known of the log without asking the database.
//!
//! Invariant: it describes the last transaction that has committed.

use rusqlite::{Connection, params};

use super::to_sql;
use crate::cursor::Vid;
use crate::engine::{Bounds, LogState, Moment, Sizes};
use crate::lineage::Lineage;

/// The log, and how far its index goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) first: Vid,
    pub(super) last: Vid,
    /// Of the last event; times never fall.
    pub(super) last_time_ms: i64,
    /// The latest moment by the clock at which an event came, or that was to be noted.
    pub(super) noted: Moment,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Publishers' ids that are remembered.
    pub(super) ids: u64,
    /// The row of `bus` and the index of topics go up to this vid.
    pub(super) indexed: Vid,
    /// Of the retained events up to there.
    pub(super) indexed_bytes: u64,
}

/// An empty log.
#[cfg(test)]
pub(super) const EMPTY: State = State {
    first: 1,
    last: 0,
    last_time_ms: 0,
    noted: Moment {
        time_ms: 0,
        counted_ms: 0,
    },
    events: 0,
    bytes: 0,
    ids: 0,
    indexed: 0,
    indexed_bytes: 0,
};

impl State {
    /// What anyone may know of the log, with these epochs.
    pub(super) fn log_state(&self, lineage: &Lineage) -> LogState {
        LogState {
            lineage: lineage.clone(),
            bounds: Bounds {
                first: self.first,
                last: self.last,
            },
            sizes: Sizes {
                events: self.events,
                bytes: self.bytes,
            },
            live: true,
        }
    }

    /// The latest moment that the log knows of, where it knows one.
    pub(super) fn newest_moment(&self) -> Option<Moment> {
        (self.noted.counted_ms > 0).then_some(self.noted)
    }

    /// Notes what the clock says. The time may have been set back; what is counted never is.
    pub(super) fn note(&mut self, now: Moment) {
        self.noted = Moment {
            time_ms: now.time_ms,
            counted_ms: now.counted_ms.max(self.noted.counted_ms),
        };
    }

    /// Writes the row of `bus`, which describes the log as far as it is indexed.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE bus SET first_vid = ?1, last_vid = ?2, last_time_ms = ?3, events = ?4, bytes = ?5,
                 noted_time_ms = ?6, noted_counted_ms = ?7",
        )?;
        statement.execute(params![
            to_sql(self.first),
            to_sql(self.indexed),
            self.last_time_ms,
            to_sql(self.events - (self.last - self.indexed)),
            to_sql(self.indexed_bytes),
            self.noted.time_ms,
            self.noted.counted_ms
        ])?;
        Ok(())
    }
}
