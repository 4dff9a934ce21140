//! Taking events out of the log at an operator's word.
//!
//! The index keeps the places of events that are gone: whoever reads finds no row there.
//! Invariants:
//! - the index has caught up before anything is removed, so that what is counted behind it has no
//!   holes;
//! - a step is one transaction, bounded in events, bytes and blocks;
//! - the newest vid of a topic is that of an event, or 0 where none is left: such a topic goes with
//!   the next step of retention.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::writer_state::WriterState;
use super::{BLOCK_VIDS, block_of, from_sql, index, to_sql};
use crate::cursor::Vid;
use crate::engine::{Removal, RemovalStep};
use crate::limits;
use crate::topic::Topic;

const SELECT_EVENT: &str = "
SELECT topic_id, bytes, (SELECT topic FROM topics WHERE topics.topic_id = events.topic_id)
FROM events WHERE vid = ?1";
const SELECT_OF_TOPIC: &str = "
SELECT vid, bytes FROM events WHERE topic_id = ?1 AND vid >= ?2 AND vid <= ?3 ORDER BY vid";
const DELETE_OF_TOPIC: &str = "DELETE FROM events WHERE topic_id = ?1 AND vid >= ?2 AND vid <= ?3";
const SELECT_NEXT_BLOCK: &str = "
SELECT block FROM topic_blocks WHERE topic_id = ?1 AND block >= ?2 ORDER BY block LIMIT 1";
const SELECT_LAST_BLOCK: &str = "
SELECT block FROM topic_blocks WHERE topic_id = ?1 AND block <= ?2 ORDER BY block DESC LIMIT 1";
const SELECT_NEWEST_IN: &str =
    "SELECT max(vid) FROM events WHERE topic_id = ?1 AND vid >= ?2 AND vid <= ?3";
const DELETE_BLOCK: &str = "DELETE FROM topic_blocks WHERE topic_id = ?1 AND block = ?2";
const SELECT_FIRST: &str = "SELECT vid FROM events ORDER BY vid LIMIT 1";

/// Removes a step's worth of events.
pub(super) fn remove(
    connection: &Connection,
    state: &mut WriterState,
    what: &Removal,
) -> rusqlite::Result<RemovalStep> {
    if state.indexed < state.last {
        index::catch_up(connection, state, state.last)?;
    }
    let mut removing = Removing { connection, state };
    let step = match what {
        Removal::Event(vid) => removing.event(*vid)?,
        Removal::Topic { topic, through } => removing.topic(topic, *through)?,
    };

    // A cursor before the oldest event is a gap, as after retention.
    removing.find_first(&step)?;
    state.save(connection)?;
    Ok(step)
}

struct Removing<'r> {
    connection: &'r Connection,
    state: &'r mut WriterState,
}

/// An event as it is counted.
struct Counted {
    vid: Vid,
    bytes: u64,
}

impl Removing<'_> {
    fn event(&mut self, vid: Vid) -> rusqlite::Result<RemovalStep> {
        let mut select = self.connection.prepare_cached(SELECT_EVENT)?;
        let found = select.query_row([to_sql(vid)], |row| {
            let bytes = from_sql(row.get(1)?);
            Ok((row.get(0)?, bytes, row.get::<_, Option<String>>(2)?))
        });
        let Some((topic_id, bytes, topic)) = found.optional()? else {
            return Ok(RemovalStep::default());
        };

        self.delete(topic_id, &[Counted { vid, bytes }])?;
        self.find_newest(topic_id, vid)?;
        Ok(RemovalStep {
            vids: vec![vid],
            topic: topic.as_deref().map(Topic::trusted),
            more: false,
        })
    }

    fn topic(&mut self, topic: &Topic, through: Vid) -> rusqlite::Result<RemovalStep> {
        let select = "SELECT topic_id FROM topics WHERE topic = ?1";
        let mut select = self.connection.prepare_cached(select)?;
        let topic_id = select.query_row([topic.as_str()], |row| row.get(0));
        let Some(topic_id) = topic_id.optional()? else {
            return Ok(RemovalStep::default());
        };

        let step = self.blocks_of(topic_id, topic, through)?;
        if !step.more {
            self.find_newest(topic_id, through)?;
        }
        Ok(step)
    }

    /// Block by block, as far as a step goes.
    fn blocks_of(
        &mut self,
        topic_id: i64,
        topic: &Topic,
        through: Vid,
    ) -> rusqlite::Result<RemovalStep> {
        let mut step = RemovalStep {
            topic: Some(topic.clone()),
            ..RemovalStep::default()
        };
        let (mut from, mut left) = (0, StepBudget::default());
        while let Some(block) = self.next_block(topic_id, from, block_of(through))? {
            let (events, has_all) = self.events_in(topic_id, block, through, &mut left)?;
            self.delete(topic_id, &events)?;
            step.vids.extend(events.iter().map(|event| event.vid));
            if has_all && block < block_of(through) {
                self.delete_block(topic_id, block)?;
            }
            if !has_all || left.blocks == 0 {
                step.more = true;
                break;
            }
            from = block + 1;
        }
        Ok(step)
    }

    fn next_block(&self, topic_id: i64, from: u64, last: u64) -> rusqlite::Result<Option<u64>> {
        let mut select = self.connection.prepare_cached(SELECT_NEXT_BLOCK)?;
        let found = select.query_row(params![topic_id, to_sql(from)], |row| row.get(0));
        let found = found.optional()?.map(from_sql);
        Ok(found.filter(|block| *block <= last))
    }

    /// The events of a topic in a block, as many as the step has left; and whether that is all.
    fn events_in(
        &self,
        topic_id: i64,
        block: u64,
        through: Vid,
        left: &mut StepBudget,
    ) -> rusqlite::Result<(Vec<Counted>, bool)> {
        left.blocks -= 1;
        let (first, last) = vids_of(block);
        let range = params![topic_id, to_sql(first), to_sql(last.min(through))];
        let mut select = self.connection.prepare_cached(SELECT_OF_TOPIC)?;
        let mut rows = select.query(range)?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let event = Counted {
                vid: from_sql(row.get(0)?),
                bytes: from_sql(row.get(1)?),
            };
            if !left.takes(&event) {
                return Ok((events, false));
            }
            events.push(event);
        }
        Ok((events, true))
    }

    /// Deletes events that are neighbours among those of their topic.
    fn delete(&mut self, topic_id: i64, events: &[Counted]) -> rusqlite::Result<()> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let mut delete = self.connection.prepare_cached(DELETE_OF_TOPIC)?;
        delete.execute(params![topic_id, to_sql(first.vid), to_sql(last.vid)])?;

        // The index has caught up, so they were counted in it as well.
        let bytes: u64 = events.iter().map(|event| event.bytes).sum();
        self.state.events -= events.len() as u64;
        self.state.bytes -= bytes;
        self.state.indexed_bytes -= bytes;
        Ok(())
    }

    fn delete_block(&self, topic_id: i64, block: u64) -> rusqlite::Result<()> {
        let mut delete = self.connection.prepare_cached(DELETE_BLOCK)?;
        delete.execute(params![topic_id, to_sql(block)]).map(drop)
    }

    /// Finds the newest event of a topic again, where all behind this vid are as before.
    fn find_newest(&self, topic_id: i64, removed: Vid) -> rusqlite::Result<()> {
        let select = "SELECT newest_vid FROM topics WHERE topic_id = ?1";
        let mut select = self.connection.prepare_cached(select)?;
        let newest: i64 = select.query_row([topic_id], |row| row.get(0))?;
        if from_sql(newest) > removed {
            return Ok(());
        }

        let newest = self.newest_before(topic_id, removed)?.unwrap_or(0);
        let update = "UPDATE topics SET newest_vid = ?2 WHERE topic_id = ?1";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![topic_id, to_sql(newest)]).map(drop)
    }

    fn newest_before(&self, topic_id: i64, removed: Vid) -> rusqlite::Result<Option<Vid>> {
        let mut select = self.connection.prepare_cached(SELECT_LAST_BLOCK)?;
        let mut newest_in = self.connection.prepare_cached(SELECT_NEWEST_IN)?;
        let (mut last, oldest) = (block_of(removed), block_of(self.state.first));
        loop {
            let found = select.query_row(params![topic_id, to_sql(last)], |row| row.get(0));
            let block = found.optional()?.map(from_sql);
            let Some(block) = block.filter(|block| *block >= oldest) else {
                return Ok(None);
            };
            let (first_vid, last_vid) = vids_of(block);
            let range = params![topic_id, to_sql(first_vid), to_sql(last_vid)];
            let newest: Option<i64> = newest_in.query_row(range, |row| row.get(0))?;
            if let Some(newest) = newest {
                return Ok(Some(from_sql(newest)));
            }

            // Nothing is left there, so nobody has to look there again.
            self.delete_block(topic_id, block)?;
            if block == 0 {
                return Ok(None);
            }
            last = block - 1;
        }
    }

    /// The oldest event that is retained, where the oldest one was removed.
    fn find_first(&mut self, step: &RemovalStep) -> rusqlite::Result<()> {
        if step.vids.first() != Some(&self.state.first) {
            return Ok(());
        }
        let mut select = self.connection.prepare_cached(SELECT_FIRST)?;
        let first = select.query_row([], |row| row.get(0)).optional()?;
        self.state.first = first.map_or(self.state.last + 1, from_sql);
        Ok(())
    }
}

/// The first and the last vid of a block.
fn vids_of(block: u64) -> (Vid, Vid) {
    let first = block * BLOCK_VIDS;
    (first, first + BLOCK_VIDS - 1)
}

/// What a step has left.
struct StepBudget {
    events: u32,
    bytes: u64,
    blocks: u32,
    is_fresh: bool,
}

impl Default for StepBudget {
    fn default() -> Self {
        StepBudget {
            events: limits::TRIM_STEP_EVENTS,
            bytes: limits::TRIM_STEP_BYTES,
            blocks: limits::REMOVAL_STEP_BLOCKS,
            is_fresh: true,
        }
    }
}

impl StepBudget {
    /// A single event may be larger than a step.
    fn takes(&mut self, event: &Counted) -> bool {
        let fits = self.events > 0 && (self.is_fresh || event.bytes <= self.bytes);
        if fits {
            self.events -= 1;
            self.bytes = self.bytes.saturating_sub(event.bytes);
            self.is_fresh = false;
        }
        fits
    }
}
