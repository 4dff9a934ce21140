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

use rusqlite::{Connection, params};

use super::state::State;
use super::{BLOCK_VIDS, to_sql};
use crate::cursor::Vid;

/// Events that the index may be behind. Catching up with so many takes about 5 ms when they have as
/// many topics.
pub(super) const MOST_BEHIND: u64 = 1024;

/// Brings the index up to this vid, and the row of `bus` with it.
pub(super) fn catch_up(
    connection: &Connection,
    state: &mut State,
    through: Vid,
) -> rusqlite::Result<()> {
    let range = [to_sql(state.indexed), to_sql(through)];
    let insert_blocks = format!(
        "INSERT OR IGNORE INTO topic_blocks
         SELECT DISTINCT topic_id, vid / {BLOCK_VIDS} FROM events WHERE vid > ?1 AND vid <= ?2"
    );
    connection.prepare_cached(&insert_blocks)?.execute(range)?;
    let update_newest = "UPDATE topics SET newest_vid = found.vid
         FROM (SELECT topic_id, max(vid) AS vid FROM events WHERE vid > ?1 AND vid <= ?2 GROUP BY topic_id) AS found
         WHERE topics.topic_id = found.topic_id";
    connection.prepare_cached(update_newest)?.execute(range)?;
    state.indexed_bytes += connection
        .prepare_cached("SELECT ifnull(sum(bytes), 0) FROM events WHERE vid > ?1 AND vid <= ?2")?
        .query_row(params![range[0], range[1]], |r| r.get::<_, i64>(0))
        .map(super::from_sql)?;
    state.indexed = through;
    state.save(connection)
}
