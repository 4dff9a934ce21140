//! One step of retention.
//!
//! Invariants:
//! - a step is bounded in what it deletes, by its [`TrimBudget`]: events and their bytes, rows of
//!   the index, topics, and publishers' ids; nothing is scanned for it. What is beyond is left to
//!   the next step, and publishers have their turn in between;
//! - the oldest go first, and a step is one transaction;
//! - a topic without events, and a block without events of a topic, leave no row behind once no
//!   step has more to do, but for the newest topic. Until then nobody sees them: they lie before
//!   the first vid;
//! - the number of a topic is never given to another one.

use rusqlite::{CachedStatement, Connection, Row, params};

use super::writer_state::WriterState;
use super::{block_of, from_sql, index, to_sql};
use crate::cursor::Vid;
use crate::engine::{Retention, TrimStep};
use crate::limits;
use crate::topic::Topic;

const SELECT_OLDEST: &str =
    "SELECT vid, time_ms - skew_ms, bytes FROM events ORDER BY vid LIMIT ?1";

/// Are there ids that have left the dedupe window, or rows that earlier steps have left?
const HAS_OTHER_ROWS: &str = "
SELECT ifnull((SELECT time_ms FROM dedupe ORDER BY vid LIMIT 1) < ?1, FALSE)
    OR EXISTS (
        SELECT 1 FROM topics
        WHERE newest_vid < ?2 AND topic_id < (SELECT max(topic_id) FROM topics)
    )
    OR EXISTS (SELECT 1 FROM topic_blocks WHERE block < ?3)";

/// The topic that came last stays, so that its number is not given again: readers know up to which
/// number they have seen topics.
const DELETE_TOPICS: &str = "
DELETE FROM topics WHERE topic_id IN (
    SELECT topic_id FROM topics
    WHERE newest_vid < ?1 AND topic_id < (SELECT max(topic_id) FROM topics)
    ORDER BY newest_vid LIMIT ?2
)
RETURNING topic_id, topic";

const DELETE_BLOCKS: &str = "
DELETE FROM topic_blocks WHERE (topic_id, block) IN
    (SELECT topic_id, block FROM topic_blocks WHERE block < ?1 ORDER BY block LIMIT ?2)";

const DELETE_IDS: &str = "
DELETE FROM dedupe
WHERE time_ms < ?1 AND vid IN (SELECT vid FROM dedupe ORDER BY vid LIMIT ?2)";

/// How much one step may delete.
pub(super) struct TrimBudget {
    events: u32,
    /// Of events; a single larger one is a step of its own.
    bytes: u64,
    /// Of each other kind: rows of the index, topics, ids.
    rows: u32,
}

impl TrimBudget {
    pub(super) const USUAL: TrimBudget = TrimBudget {
        events: limits::TRIM_STEP_EVENTS,
        bytes: limits::TRIM_STEP_BYTES,
        rows: limits::TRIM_STEP_ROWS,
    };

    /// On a full disk each deletion needs some of a small reserve.
    pub(super) const IF_FULL: TrimBudget = TrimBudget {
        events: limits::TRIM_STEP_EVENTS_IF_FULL,
        bytes: limits::TRIM_STEP_BYTES,
        rows: limits::TRIM_STEP_EVENTS_IF_FULL,
    };
}

/// What a step has to delete.
pub(super) struct TrimPlan<'b> {
    budget: &'b TrimBudget,
    events: u32,
    /// Events up to this vid are deleted.
    through: Vid,
    bytes: u64,
    /// More events are due than the budget has.
    more_events: bool,
    /// Ids that are older are forgotten.
    oldest_id_ms: i64,
}

/// What a step did, and the topics that have gone with it.
pub(super) struct TrimOutcome {
    pub(super) step: TrimStep,
    pub(super) topics: Vec<Topic>,
}

/// One of the oldest events, as retention sees it.
struct OldEvent {
    vid: Vid,
    came_at_ms: i64,
    bytes: u64,
}

impl OldEvent {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(OldEvent {
            vid: from_sql(row.get(0)?),
            came_at_ms: row.get(1)?,
            bytes: from_sql(row.get(2)?),
        })
    }
}

impl<'b> TrimPlan<'b> {
    /// Finds what is due; none when nothing is.
    pub(super) fn find(
        connection: &Connection,
        state: &WriterState,
        retention: &Retention,
        counted_ms: i64,
        budget: &'b TrimBudget,
    ) -> rusqlite::Result<Option<Self>> {
        let mut plan = TrimPlan {
            budget,
            events: 0,
            through: state.first.saturating_sub(1),
            bytes: 0,
            more_events: false,
            oldest_id_ms: retention.oldest_id_ms(counted_ms),
        };
        // Other rows are looked for only when no events are due, since they go along with events.
        plan.find_events(connection, state, retention, counted_ms)?;
        let is_due = plan.events > 0 || plan.has_other_rows(connection)?;
        Ok(is_due.then_some(plan))
    }

    fn find_events(
        &mut self,
        connection: &Connection,
        state: &WriterState,
        retention: &Retention,
        counted_ms: i64,
    ) -> rusqlite::Result<()> {
        let oldest_ms = retention.oldest_event_ms(counted_ms);
        let mut statement = connection.prepare_cached(SELECT_OLDEST)?;
        // One more than the budget, to know whether there are more.
        let mut rows = statement.query([self.budget.events + 1])?;
        while let Some(row) = rows.next()? {
            // In vid order, which is the order of their ages.
            let event = OldEvent::read(row)?;
            if event.came_at_ms >= oldest_ms && !self.leaves_too_much(state, retention) {
                break;
            }
            if !self.add(&event) {
                self.more_events = true;
                break;
            }
        }
        Ok(())
    }

    /// Is more retained than may be, after what is in the plan?
    fn leaves_too_much(&self, state: &WriterState, retention: &Retention) -> bool {
        state.events - u64::from(self.events) > retention.max_events
            || state.bytes - self.bytes > retention.max_bytes
    }

    /// False when the budget is used up.
    fn add(&mut self, event: &OldEvent) -> bool {
        // A single event may be larger than the budget.
        let bytes = self.bytes + event.bytes;
        let has_enough = self.events > 0 && bytes > self.budget.bytes;
        if self.events == self.budget.events || has_enough {
            return false;
        }
        self.through = event.vid;
        self.bytes = bytes;
        self.events += 1;
        true
    }

    fn has_other_rows(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let first = self.first();
        let block = block_of(first);
        let below = params![self.oldest_id_ms, to_sql(first), to_sql(block)];
        let mut statement = connection.prepare_cached(HAS_OTHER_ROWS)?;
        statement.query_row(below, |r| r.get(0))
    }

    /// The oldest vid that is retained after this step.
    fn first(&self) -> Vid {
        self.through + 1
    }

    pub(super) fn delete(
        self,
        connection: &Connection,
        state: &mut WriterState,
    ) -> rusqlite::Result<TrimOutcome> {
        // Only an index that is not behind knows which topics have no event any more.
        if state.indexed < state.last {
            index::catch_up(connection, state, state.last)?;
        }

        // Events first: topics and blocks are found by the oldest vid that is left.
        self.delete_events(connection, state)?;
        let topics = self.delete_topics(connection)?;
        let blocks = self.delete_blocks(connection)?;
        let ids = self.forget_ids(connection)?;
        state.ids = state.ids.saturating_sub(ids as u64);
        state.indexed_ids = state.ids; // the index has caught up

        // In the same transaction, so that a crash leaves all of the step or none of it.
        state.save(connection)?;

        // Where a part of the budget was used up there may be more of that kind.
        let most = self.budget.rows as usize;
        let step = TrimStep {
            trimmed: self.events,
            more: self.more_events || [topics.len(), blocks, ids].contains(&most),
        };
        Ok(TrimOutcome { step, topics })
    }

    fn delete_events(
        &self,
        connection: &Connection,
        state: &mut WriterState,
    ) -> rusqlite::Result<()> {
        if self.events == 0 {
            return Ok(());
        }
        // All below a vid, as the oldest go first.
        let mut delete = connection.prepare_cached("DELETE FROM events WHERE vid <= ?1")?;
        delete.execute([to_sql(self.through)])?;
        state.events -= u64::from(self.events);
        state.bytes -= self.bytes;
        // The index has caught up before, so these events were counted in it as well.
        state.indexed_bytes -= self.bytes;
        state.first = self.first();
        Ok(())
    }

    /// Topics whose newest event has gone, each with its row in the block that is still retained.
    fn delete_topics(&self, connection: &Connection) -> rusqlite::Result<Vec<Topic>> {
        let block = to_sql(block_of(self.first()));
        let mut delete_block = delete_block(connection)?;
        let mut delete = connection.prepare_cached(DELETE_TOPICS)?;
        let mut rows = delete.query(params![to_sql(self.first()), self.budget.rows])?;
        let mut topics = Vec::new();
        while let Some(row) = rows.next()? {
            // Its older blocks go with those of all topics.
            delete_block.execute([row.get(0)?, block])?;
            topics.push(Topic::trusted(row.get_ref(1)?.as_str()?));
        }
        Ok(topics)
    }

    fn delete_blocks(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let block = to_sql(block_of(self.first()));
        let mut delete = connection.prepare_cached(DELETE_BLOCKS)?;
        delete.execute(params![block, self.budget.rows])
    }

    fn forget_ids(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let mut delete = connection.prepare_cached(DELETE_IDS)?;
        delete.execute(params![self.oldest_id_ms, self.budget.rows])
    }
}

fn delete_block(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached("DELETE FROM topic_blocks WHERE topic_id = ?1 AND block = ?2")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::engine::sqlite::append::AppendTransaction;
    use crate::engine::sqlite::{schema, writer_state};
    use crate::event::{EventParts, NewEvent};

    /// A log of so many events, each with an id and on a topic of its own.
    fn log(events: u64) -> (Connection, WriterState) {
        let connection = schema::new_in_memory();
        let mut state = writer_state::EMPTY;
        let mut topics = HashMap::new();
        let minute = Duration::from_secs(60);
        let transaction = connection.unchecked_transaction().expect("a transaction");
        let mut appending =
            AppendTransaction::new(&transaction, &mut state, &mut topics, minute, 0.into())
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
        let budget = TrimBudget {
            events: 100,
            bytes: u64::MAX,
            rows: 100,
        };
        let due = TrimPlan::find(&connection, &state, &none, 1, &budget).expect("no error");
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
