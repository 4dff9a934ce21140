//! The index of topics trails the log.
//!
//! Newest vids and blocks of topics are scattered over the database, and a commit that kept them
//! would sync up to three pages more for each of its events. With 10,000 topics and 8 events a
//! commit that was 27 pages a commit; it is 2 when only the events are written, and the index once
//! for many.
//!
//! Invariants:
//! - `topics.newest_vid`, `topic_blocks` and the row of `bus` cover the same events: those up to
//!   `bus.last_vid`;
//! - no more than [`MOST_BEHIND`] events and one group are not covered, so that a reader may look
//!   at them one by one;
//! - no more than [`MOST_TOPICS_BEHIND`] topics and one group's have such events, so that whoever
//!   publishes meanwhile does not wait for long;
//! - every topic has its row from its first event on.

use rusqlite::{CachedStatement, Connection, params};

use super::topic_blocks::{MOST_PLACES, MOST_PLACES_BYTES, place_of};
use super::writer_state::WriterState;
use super::{block_of, from_sql, to_sql};
use crate::cursor::Vid;

/// Events that the index may be behind.
const MOST_BEHIND: u64 = 1024;
/// Topics that may have events behind it. Each is a change to two or three pages, wherever they
/// lie: 1,024 topics held publishers up for 5 ms and more.
const MOST_TOPICS_BEHIND: u64 = 128;

/// The columns stand before the data, which is not read for them.
const SELECT_NOT_INDEXED: &str =
    "SELECT vid, topic_id, bytes FROM events WHERE vid > ?1 AND vid <= ?2";

/// Adds the places of a topic's events within a block to those that it has there. Where they are
/// too many there are none from then on.
const ADD_PLACES: &str = "
INSERT INTO topic_blocks (topic_id, block, places) VALUES (?1, ?2, ?3)
ON CONFLICT (topic_id, block) DO UPDATE SET places =
    CASE WHEN length(places) + length(excluded.places) <= ?4
        THEN CAST(places || excluded.places AS BLOB) END
    WHERE places IS NOT NULL";

const UPDATE_NEWEST: &str = "UPDATE topics SET newest_vid = ?2 WHERE topic_id = ?1";

/// Brings the index up to the last event, if it is as far behind as it may be.
pub(super) fn catch_up_if_due(
    connection: &Connection,
    state: &mut WriterState,
) -> rusqlite::Result<()> {
    // Seldom, so that one write to the index serves many events of a topic.
    let is_due = state.last - state.indexed >= MOST_BEHIND;
    if is_due || state.topics_behind >= MOST_TOPICS_BEHIND {
        catch_up(connection, state, state.last)?;
    }
    Ok(())
}

/// Brings the index up to this vid, and the row of `bus` with it.
pub(super) fn catch_up(
    connection: &Connection,
    state: &mut WriterState,
    through: Vid,
) -> rusqlite::Result<()> {
    // From the events themselves, so that nothing has to be remembered between commits.
    let (mut events, bytes) = read_events(connection, state.indexed, through)?;

    // Topic by topic, in the order in which their rows lie.
    events.sort_unstable();
    let mut index = IndexStatements::prepare(connection)?;
    for of_topic in events.chunk_by(|(topic_id, _), (next, _)| topic_id == next) {
        index.add(of_topic)?;
    }

    // The row of `bus` describes the same events.
    state.indexed_bytes += bytes;
    state.indexed = through;
    state.indexed_ids = state.ids;
    state.topics_behind = 0;
    state.save(connection)
}

/// The topic and the vid of each event behind one vid up to another, and the bytes of them all.
fn read_events(
    connection: &Connection,
    after: Vid,
    through: Vid,
) -> rusqlite::Result<(Vec<(i64, Vid)>, u64)> {
    let mut select = connection.prepare_cached(SELECT_NOT_INDEXED)?;
    let mut rows = select.query([to_sql(after), to_sql(through)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        events.push((row.get(1)?, from_sql(row.get(0)?)));
        bytes += from_sql(row.get(2)?);
    }
    Ok((events, bytes))
}

struct IndexStatements<'c> {
    add_places: CachedStatement<'c>,
    update_newest: CachedStatement<'c>,
}

impl<'c> IndexStatements<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(IndexStatements {
            add_places: connection.prepare_cached(ADD_PLACES)?,
            update_newest: connection.prepare_cached(UPDATE_NEWEST)?,
        })
    }

    /// Adds events of one topic, in vid order.
    fn add(&mut self, of_topic: &[(i64, Vid)]) -> rusqlite::Result<()> {
        for of_block in of_topic.chunk_by(|(_, vid), (_, next)| block_of(*vid) == block_of(*next)) {
            let (topic_id, vid) = of_block[0];
            let places = (of_block.len() <= MOST_PLACES).then(|| {
                let places = of_block.iter().flat_map(|(_, vid)| place_of(*vid));
                places.collect::<Vec<u8>>()
            });
            let block = to_sql(block_of(vid));
            let row = params![topic_id, block, places, MOST_PLACES_BYTES];
            self.add_places.execute(row)?;
        }
        if let Some((topic_id, newest)) = of_topic.last() {
            self.update_newest
                .execute(params![topic_id, to_sql(*newest)])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::engine::sqlite::append::AppendTransaction;
    use crate::engine::sqlite::{schema, writer_state};
    use crate::event::{EventParts, NewEvent};

    /// How far the index is after so many events, one a commit, in turn on so many topics.
    fn indexed_after(events: u64, topics: u64) -> Vid {
        let connection = schema::new_in_memory();
        let (mut state, mut known) = (writer_state::EMPTY, HashMap::new());
        for n in 0..events {
            let (window, now) = (Duration::from_secs(60), 0.into());
            let append = AppendTransaction::new(&connection, &mut state, &mut known, window, now);
            let parts = EventParts {
                topic: &format!("thing.{}", n % topics),
                ..EventParts::default()
            };
            let event = NewEvent::check(parts, 100).expect("an event");
            append.expect("statements").append(event).expect("appended");
            catch_up_if_due(&connection, &mut state).expect("an index");
        }
        state.indexed
    }

    #[test]
    fn many_events_of_few_topics_are_indexed_together_and_those_of_many_topics_in_small_steps() {
        assert_eq!(indexed_after(MOST_BEHIND - 1, 100), 0);
        assert_eq!(indexed_after(MOST_BEHIND, 100), MOST_BEHIND);

        let few = MOST_TOPICS_BEHIND;
        assert_eq!(indexed_after(few - 1, 1000), 0);
        assert_eq!(indexed_after(2 * few, 1000), 2 * few);
        // Known ones count as well, once each.
        assert_eq!(indexed_after(3 * few, 2 * few), 3 * few);
        assert_eq!(indexed_after(3 * few, 2 * few - 1), 3 * few);
        assert_eq!(indexed_after(2 * few, few - 1), 0);
    }
}
