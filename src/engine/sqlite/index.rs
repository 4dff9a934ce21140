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
//! - every topic has its row from its first event on.

use rusqlite::{CachedStatement, Connection, params};

use super::topic_blocks::{MOST_PLACES, MOST_PLACES_BYTES, place_of};
use super::writer_state::WriterState;
use super::{block_of, from_sql, to_sql};
use crate::cursor::Vid;

/// Events that the index may be behind. Catching up with so many takes about 5 ms when they have as
/// many topics.
const MOST_BEHIND: u64 = 1024;

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
    if state.last - state.indexed < MOST_BEHIND {
        return Ok(());
    }
    catch_up(connection, state, state.last)
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
