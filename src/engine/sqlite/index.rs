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

use rusqlite::Connection;

use super::writer_state::WriterState;
use super::{from_sql, to_sql};
use crate::cursor::Vid;

/// Events that the index may be behind. Catching up with so many takes about 5 ms when they have as
/// many topics.
const MOST_BEHIND: u64 = 1024;

/// A block is 4096 vids, as [`super::BLOCK_VIDS`] says.
const INSERT_BLOCKS: &str = "
INSERT OR IGNORE INTO topic_blocks
SELECT DISTINCT topic_id, vid / 4096 FROM events WHERE vid > ?1 AND vid <= ?2";

const UPDATE_NEWEST: &str = "
UPDATE topics SET newest_vid = found.vid
FROM (
    SELECT topic_id, max(vid) AS vid FROM events
    WHERE vid > ?1 AND vid <= ?2 GROUP BY topic_id
) AS found
WHERE topics.topic_id = found.topic_id";

const SUM_BYTES: &str = "SELECT ifnull(sum(bytes), 0) FROM events WHERE vid > ?1 AND vid <= ?2";

const _: () = assert!(super::BLOCK_VIDS == 4096);

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
    let range = [to_sql(state.indexed), to_sql(through)];
    connection.prepare_cached(INSERT_BLOCKS)?.execute(range)?;
    connection.prepare_cached(UPDATE_NEWEST)?.execute(range)?;

    // The row of `bus` describes the same events.
    let mut sum_bytes = connection.prepare_cached(SUM_BYTES)?;
    let bytes: i64 = sum_bytes.query_row(range, |r| r.get(0))?;
    state.indexed_bytes += from_sql(bytes);
    state.indexed = through;
    state.save(connection)
}
