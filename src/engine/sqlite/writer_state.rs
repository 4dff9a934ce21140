//! What is known of the log without asking the database.
//!
//! Invariant: it describes the last transaction that has committed.

use rusqlite::{Connection, Row, params};

use super::{from_sql, to_sql};
use crate::cursor::Vid;
use crate::engine::{Bounds, LogState, Moment, Sizes};
use crate::lineage::Lineage;

/// The log, and how far its index goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriterState {
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
    /// Ids of events up to there.
    pub(super) indexed_ids: u64,
    /// Topics that have events behind the index, of those that came since the start.
    pub(super) topics_behind: u64,
}

/// An empty log.
#[cfg(test)]
pub(super) const EMPTY: WriterState = WriterState {
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
    indexed_ids: 0,
    topics_behind: 0,
};

const SELECT_BUS: &str = "
SELECT first_vid, last_vid, last_time_ms, events, bytes, noted_time_ms, noted_counted_ms, ids,
    ids + (SELECT count(*) FROM dedupe WHERE vid > last_vid)
FROM bus";

/// What the log has behind its index.
const SELECT_NOT_INDEXED: &str = "
SELECT count(*), ifnull(sum(bytes), 0), max(vid), max(time_ms), max(time_ms - skew_ms)
FROM events WHERE vid > ?1";

const UPDATE_BUS: &str = "
UPDATE bus SET first_vid = ?1, last_vid = ?2, last_time_ms = ?3, events = ?4, bytes = ?5,
    noted_time_ms = ?6, noted_counted_ms = ?7, ids = ?8";

impl WriterState {
    /// Reads it from the database.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        // The row of `bus` goes as far as the index; events behind it are counted.
        let mut state = connection.query_row(SELECT_BUS, [], Self::from_bus)?;
        let indexed = [to_sql(state.indexed)];
        connection.query_row(SELECT_NOT_INDEXED, indexed, |r| state.add_not_indexed(r))?;
        Ok(state)
    }

    fn from_bus(row: &Row<'_>) -> rusqlite::Result<Self> {
        // SQLite's integers are signed, none of these is below 0.
        let number = |column| row.get::<_, i64>(column).map(from_sql);
        let (indexed, indexed_bytes) = (number(1)?, number(4)?);
        Ok(WriterState {
            first: number(0)?,
            last: indexed,
            last_time_ms: row.get(2)?,
            noted: Moment {
                time_ms: row.get(5)?,
                counted_ms: row.get(6)?,
            },
            events: number(3)?,
            bytes: indexed_bytes,
            ids: number(8)?,
            indexed,
            indexed_bytes,
            indexed_ids: number(7)?,
            topics_behind: 0,
        })
    }

    fn add_not_indexed(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.events += from_sql(row.get(0)?);
        self.bytes += from_sql(row.get(1)?);
        // NULL where nothing is behind the index.
        let newest: (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
        let (Some(last), Some(time_ms)) = newest else {
            return Ok(());
        };

        let counted_ms = row.get(4)?;
        self.last = from_sql(last);
        self.last_time_ms = self.last_time_ms.max(time_ms);
        // A moment noted without an event may be later than the newest event.
        self.noted = self.noted.max(Moment {
            time_ms,
            counted_ms,
        });
        Ok(())
    }

    /// What anyone may know of the log, with these epochs.
    pub(super) fn log_state(&self, lineage: &Lineage) -> LogState {
        LogState {
            lineage: lineage.clone(),
            bounds: self.bounds(),
            sizes: self.sizes(),
            live: true,
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            first: self.first,
            last: self.last,
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            events: self.events,
            bytes: self.bytes,
        }
    }

    /// The latest moment that the log knows of, where it knows one.
    pub(super) fn newest_moment(&self) -> Option<Moment> {
        // 0 is what a new log begins with, before it has seen any moment.
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
        // Events and bytes of the indexed part only: what is behind it is counted at a start.
        let mut statement = connection.prepare_cached(UPDATE_BUS)?;
        statement.execute(params![
            to_sql(self.first),
            to_sql(self.indexed),
            self.last_time_ms,
            to_sql(self.events - (self.last - self.indexed)),
            to_sql(self.indexed_bytes),
            self.noted.time_ms,
            self.noted.counted_ms,
            to_sql(self.indexed_ids)
        ])?;
        Ok(())
    }
}
