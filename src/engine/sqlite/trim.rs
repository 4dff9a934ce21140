//! One step of retention.
//!
//! Invariants:
//! - a step is bounded in what it deletes, by its [`Budget`]: events and their bytes, rows of the
//!   index, topics, and publishers' ids; nothing is scanned for it. What is beyond is left to the
//!   next step, and publishers have their turn in between;
//! - the oldest go first, and a step is one transaction;
//! - a topic without events, and a block without events of a topic, leave no row behind once no
//!   step has more to do. Until then nobody sees them: they lie before the first vid.

use rusqlite::{Connection, OptionalExtension, params};

use super::state::State;
use super::{block_of, from_sql, index, to_sql};
use crate::cursor::Vid;
use crate::engine::{Retention, TrimStep};
use crate::limits;
use crate::topic::Topic;

/// How much one step may delete.
pub(super) struct Budget {
    events: u32,
    /// Of events; a single larger one is a step of its own.
    bytes: u64,
    /// Of each other kind: rows of the index, topics, ids.
    rows: u32,
}

impl Budget {
    pub(super) const USUAL: Budget = Budget {
        events: limits::TRIM_STEP_EVENTS,
        bytes: limits::TRIM_STEP_BYTES,
        rows: limits::TRIM_STEP_ROWS,
    };

    /// On a full disk each deletion needs some of a small reserve.
    pub(super) const IF_FULL: Budget = Budget {
        events: limits::TRIM_STEP_EVENTS_IF_FULL,
        bytes: limits::TRIM_STEP_BYTES,
        rows: limits::TRIM_STEP_EVENTS_IF_FULL,
    };
}

/// What a step has to delete.
pub(super) struct Due<'b> {
    budget: &'b Budget,
    events: u32,
    /// Events up to this vid are deleted.
    through: Vid,
    bytes: u64,
    /// More events are due than the budget has.
    more_events: bool,
    /// Ids that are older are forgotten.
    oldest_id_ms: i64,
    has_other_rows: bool,
}

/// What a step did, and the topics that have gone with it.
pub(super) struct Done {
    pub(super) step: TrimStep,
    pub(super) topics: Vec<Topic>,
}

impl<'b> Due<'b> {
    /// Looks for what is due; none when nothing is.
    pub(super) fn find(
        connection: &Connection,
        state: &State,
        retention: &Retention,
        counted_ms: i64,
        budget: &'b Budget,
    ) -> rusqlite::Result<Option<Self>> {
        let mut due = Due {
            budget,
            events: 0,
            through: state.first.saturating_sub(1),
            bytes: 0,
            more_events: false,
            oldest_id_ms: retention.oldest_id_ms(counted_ms),
            has_other_rows: false,
        };
        due.find_events(connection, state, retention, counted_ms)?;
        due.has_other_rows = due.events == 0 && due.find_other_rows(connection)?;
        Ok((due.events > 0 || due.has_other_rows).then_some(due))
    }

    fn find_events(
        &mut self,
        connection: &Connection,
        state: &State,
        retention: &Retention,
        counted_ms: i64,
    ) -> rusqlite::Result<()> {
        let oldest_ms = retention.oldest_event_ms(counted_ms);
        let mut statement = connection.prepare_cached(
            "SELECT vid, time_ms - skew_ms, bytes FROM events ORDER BY vid LIMIT ?1",
        )?;
        let mut rows = statement.query([self.budget.events + 1])?;
        while let Some(row) = rows.next()? {
            let is_over = state.events - u64::from(self.events) > retention.max_events
                || state.bytes - self.bytes > retention.max_bytes;
            if !is_over && row.get::<_, i64>(1)? >= oldest_ms {
                break;
            }
            let bytes = self.bytes + from_sql(row.get(2)?);
            if self.events == self.budget.events || (self.events > 0 && bytes > self.budget.bytes) {
                self.more_events = true;
                break;
            }
            self.through = from_sql(row.get(0)?);
            self.bytes = bytes;
            self.events += 1;
        }
        Ok(())
    }

    /// Are there ids that have left the dedupe window, or rows that earlier steps have left?
    fn find_other_rows(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "SELECT (SELECT time_ms FROM dedupe ORDER BY vid LIMIT 1) < ?1
                 OR EXISTS (SELECT 1 FROM topics WHERE newest_vid < ?2)
                 OR EXISTS (SELECT 1 FROM topic_blocks WHERE block < ?3)",
        )?;
        let first = self.through + 1;
        let found: Option<Option<bool>> = statement
            .query_row(
                params![self.oldest_id_ms, to_sql(first), to_sql(block_of(first))],
                |r| r.get(0),
            )
            .optional()?;
        Ok(found.flatten().unwrap_or(false))
    }

    pub(super) fn delete(
        self,
        connection: &Connection,
        state: &mut State,
    ) -> rusqlite::Result<Done> {
        // Only an index that is not behind knows which topics have no event any more.
        if state.indexed < state.last {
            index::catch_up(connection, state, state.last)?;
        }
        self.delete_events(connection, state)?;
        let (topics, blocks) = (
            self.delete_topics(connection)?,
            self.delete_blocks(connection)?,
        );
        let ids = self.forget_ids(connection)?;
        state.ids = state.ids.saturating_sub(ids as u64);
        state.save(connection)?;
        let most = self.budget.rows as usize;
        let step = TrimStep {
            trimmed: self.events,
            more: self.more_events || topics.len() == most || blocks == most || ids == most,
        };
        Ok(Done { step, topics })
    }

    fn delete_events(&self, connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
        if self.events == 0 {
            return Ok(());
        }
        connection
            .prepare_cached("DELETE FROM events WHERE vid <= ?1")?
            .execute([to_sql(self.through)])?;
        state.events -= u64::from(self.events);
        state.bytes -= self.bytes;
        state.indexed_bytes -= self.bytes;
        state.first = self.through + 1;
        Ok(())
    }

    /// Topics whose newest event has gone, each with its place in the block that is still there.
    fn delete_topics(&self, connection: &Connection) -> rusqlite::Result<Vec<Topic>> {
        let first = self.through + 1;
        let mut delete_block = connection
            .prepare_cached("DELETE FROM topic_blocks WHERE topic_id = ?1 AND block = ?2")?;
        let mut delete = connection.prepare_cached(
            "DELETE FROM topics WHERE topic_id IN
                 (SELECT topic_id FROM topics WHERE newest_vid < ?1 ORDER BY newest_vid LIMIT ?2)
             RETURNING topic_id, topic",
        )?;
        let mut rows = delete.query(params![to_sql(first), self.budget.rows])?;
        let mut topics = Vec::new();
        while let Some(row) = rows.next()? {
            delete_block.execute([row.get(0)?, to_sql(block_of(first))])?;
            topics.push(Topic::trusted(row.get_ref(1)?.as_str()?));
        }
        Ok(topics)
    }

    fn delete_blocks(&self, connection: &Connection) -> rusqlite::Result<usize> {
        connection
            .prepare_cached(
                "DELETE FROM topic_blocks WHERE (topic_id, block) IN
                     (SELECT topic_id, block FROM topic_blocks WHERE block < ?1 ORDER BY block LIMIT ?2)",
            )?
            .execute(params![to_sql(block_of(self.through + 1)), self.budget.rows])
    }

    fn forget_ids(&self, connection: &Connection) -> rusqlite::Result<usize> {
        connection
            .prepare_cached(
                "DELETE FROM dedupe WHERE time_ms < ?1
                     AND vid IN (SELECT vid FROM dedupe ORDER BY vid LIMIT ?2)",
            )?
            .execute(params![self.oldest_id_ms, self.budget.rows])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::engine::sqlite::append::Appending;
    use crate::engine::sqlite::{schema, state};
    use crate::event::{EventParts, NewEvent};

    /// A log of so many events, each with an id and on a topic of its own.
    fn log(events: u64) -> (Connection, State) {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(schema::CREATE).expect("tables");
        connection
            .execute(schema::INSERT_BUS, ["epoch1"])
            .expect("a log");
        let mut state = state::EMPTY;
        let mut topics = HashMap::new();
        let minute = Duration::from_secs(60);
        let transaction = connection.unchecked_transaction().expect("a transaction");
        let mut appending = Appending::new(&transaction, &mut state, &mut topics, minute, 0.into())
            .expect("statements");
        for n in 0..events {
            let parts = EventParts {
                topic: &format!("thing.{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                id: Some(&n.to_string()),
                ..EventParts::default()
            };
            let event = NewEvent::check(parts, 100).expect("an event");
            appending.append(event).expect("it is appended");
        }
        drop(appending);
        index::catch_up(&transaction, &mut state, events).expect("an index");
        transaction.commit().expect("a commit");
        (connection, state)
    }

    /// Steps of SQLite's machine that one step of retention takes.
    fn work_of_a_step(events: u64) -> u64 {
        let (mut connection, mut state) = log(events);
        let count = Arc::new(AtomicU64::new(0));
        let counter = count.clone();
        let handler = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection
            .progress_handler(1, Some(handler))
            .expect("a handler");
        let none = Retention {
            max_age: Duration::ZERO,
            max_events: 0,
            max_bytes: 0,
            dedupe_window: Duration::ZERO,
        };
        let budget = Budget {
            events: 100,
            bytes: u64::MAX,
            rows: 100,
        };
        let due = Due::find(&connection, &state, &none, 1, &budget).expect("no error");
        let done = due
            .expect("something")
            .delete(&connection, &mut state)
            .expect("no error");
        assert_eq!(
            (done.step.trimmed, done.topics.len(), state.ids),
            (100, 100, events - 100)
        );
        assert!(done.step.more);
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn a_step_takes_no_more_work_in_a_large_log_than_in_a_small_one() {
        let (small, large) = (work_of_a_step(1000), work_of_a_step(16_000));
        assert!(
            large < small * 2,
            "{small} and {large} steps of SQLite's machine"
        );
    }
}
