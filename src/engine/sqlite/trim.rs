//! One step of trimming.
//!
//! Invariants:
//! - a step deletes at most [`limits::TRIM_STEP_EVENTS`] events, the oldest first;
//! - a topic without events, and a block without events of a topic, leave no row behind.

use rusqlite::{Connection, OptionalExtension, params};

use super::state::State;
use super::{block_of, from_sql, index, to_sql};
use crate::cursor::Vid;
use crate::engine::{Retention, TrimStep};
use crate::limits;

/// The oldest events, as far as they are due.
pub(super) struct Due {
    pub(super) step: TrimStep,
    /// Events up to this vid are deleted.
    through: Vid,
    bytes: u64,
}

impl Due {
    pub(super) fn find(
        connection: &Connection,
        state: &State,
        retention: &Retention,
        now_ms: i64,
        at_most: u32,
    ) -> rusqlite::Result<Self> {
        let oldest_ms = retention.oldest_time_ms(now_ms);
        let mut due = Due {
            step: TrimStep {
                trimmed: 0,
                more: false,
            },
            through: state.first.saturating_sub(1),
            bytes: 0,
        };
        let mut statement = connection
            .prepare_cached("SELECT vid, time_ms, bytes FROM events ORDER BY vid LIMIT ?1")?;
        let mut rows = statement.query([at_most + 1])?;
        while let Some(row) = rows.next()? {
            let is_over = state.events - u64::from(due.step.trimmed) > retention.max_events
                || state.bytes - due.bytes > retention.max_bytes;
            if !is_over && row.get::<_, i64>(1)? >= oldest_ms {
                break;
            }
            if due.step.trimmed == at_most {
                due.step.more = true;
                break;
            }
            due.through = from_sql(row.get(0)?);
            due.bytes += from_sql(row.get(2)?);
            due.step.trimmed += 1;
        }
        Ok(due)
    }

    pub(super) fn delete(
        &mut self,
        connection: &Connection,
        state: &mut State,
        retention: &Retention,
        now_ms: i64,
    ) -> rusqlite::Result<()> {
        if self.through > state.indexed {
            index::catch_up(connection, state, self.through)?;
        }
        let through = to_sql(self.through);
        let first_block = to_sql(block_of(self.through + 1));
        connection
            .prepare_cached("DELETE FROM events WHERE vid <= ?1")?
            .execute([through])?;
        connection
            .prepare_cached("DELETE FROM topic_blocks WHERE block < ?1")?
            .execute([first_block])?;
        // What is not indexed yet has not moved its topic's newest vid.
        let trimmed =
            "newest_vid <= ?1 AND topic_id NOT IN (SELECT topic_id FROM events WHERE vid > ?2)";
        for delete in [
            format!(
                "DELETE FROM topic_blocks WHERE topic_id IN (SELECT topic_id FROM topics WHERE {trimmed})"
            ),
            format!("DELETE FROM topics WHERE {trimmed}"),
        ] {
            connection
                .prepare_cached(&delete)?
                .execute([through, to_sql(state.indexed)])?;
        }
        let ids = connection
            .prepare_cached(
                "DELETE FROM dedupe WHERE time_ms < ?1 AND vid IN (SELECT vid FROM dedupe ORDER BY vid LIMIT ?2)",
            )?
            .execute(params![retention.oldest_id_ms(now_ms), limits::TRIM_STEP_EVENTS])?;
        self.step.more |= ids == limits::TRIM_STEP_EVENTS as usize;
        state.events -= u64::from(self.step.trimmed);
        state.bytes -= self.bytes;
        state.indexed_bytes -= self.bytes;
        state.ids = state.ids.saturating_sub(ids as u64);
        if self.step.trimmed > 0 {
            state.first = self.through + 1;
        }
        state.save(connection)
    }
}

/// Are there ids that have left the dedupe window?
pub(super) fn ids_expired(
    connection: &Connection,
    retention: &Retention,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT time_ms FROM dedupe ORDER BY vid LIMIT 1")?
        .query_row([], |r| r.get(0))
        .optional()?;
    Ok(oldest.is_some_and(|time_ms| time_ms < retention.oldest_id_ms(now_ms)))
}
