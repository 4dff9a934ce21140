//! Reading the log, on connections of its own.
//!
//! Invariants:
//! - a page and the `first` in it come from one read transaction, the snapshot, in which its topics
//!   were searched for;
//! - a read scans no more rows than its budget says, whatever the filter.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement};

use super::page_builder::{PageBuilder, VidRange};
use super::topic_blocks::TopicBlocks;
use super::topic_list::NewestVids;
use super::topic_search::takes_in_all;
use super::{BLOCK_VIDS, from_sql, row};
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};

/// SQLite scans a whole block, though only matching rows come out. They are counted as so many
/// rows, since scanning one costs less than giving it.
const ROWS_A_BLOCK: usize = 1024;

const _: () = assert!(ROWS_A_BLOCK as u64 == BLOCK_VIDS / 4);

const SELECT_BUS: &str = "SELECT first_vid, last_vid FROM bus";

const SELECT_BOUNDS: &str =
    "SELECT first_vid, max(last_vid, ifnull((SELECT max(vid) FROM events), 0)) FROM bus";

const SELECT_TIME: &str = "SELECT vid, time_ms FROM events WHERE vid >= ?1 ORDER BY vid LIMIT 1";

const SELECT_EVERY: &str =
    "SELECT vid, topic_id FROM events WHERE vid > ?1 AND vid <= ?2 ORDER BY vid";

/// The newest event of each topic that has none behind the index, in a range of vids.
const NEWEST_BY_INDEX: &str = "
SELECT newest_vid, topic_id FROM topics
WHERE newest_vid > ?1 AND newest_vid <= ?2
    AND topic_id NOT IN (SELECT topic_id FROM events WHERE vid > (SELECT last_vid FROM bus))
ORDER BY newest_vid";

/// The newest event of each topic that has some behind the index, in a range of vids.
const NEWEST_NOT_INDEXED: &str = "
SELECT max(vid) AS newest, topic_id FROM events
WHERE vid > (SELECT last_vid FROM bus) GROUP BY topic_id
HAVING newest > ?1 AND newest <= ?2 ORDER BY newest";

/// What a reader needs of the row of `bus`.
pub(super) struct BusRow {
    pub(super) first: Vid,
    /// The index goes up to this vid.
    pub(super) indexed: Vid,
}

impl BusRow {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(SELECT_BUS)?;
        statement.query_row([], |r| {
            Ok(BusRow {
                first: from_sql(r.get(0)?),
                indexed: from_sql(r.get(1)?),
            })
        })
    }
}

/// Reads a page of a snapshot, in which the filter takes in these topics; none where they are many.
pub(super) fn read(
    snapshot: &Connection,
    request: &ReadRequest,
    topic_ids: Option<&[i64]>,
) -> rusqlite::Result<Page> {
    let bus = BusRow::read(snapshot)?;
    let mut builder = PageBuilder::new(request, bus.first);

    // Few topics: by the index. Else every event is looked at, whole or first by its topic.
    if let Some(topic_ids) = topic_ids {
        read_topics(snapshot, &mut builder, bus.indexed, topic_ids)?;
    } else if takes_in_all(&request.filter) {
        read_all(snapshot, &mut builder)?;
    } else {
        read_matching(snapshot, &mut builder)?;
    }
    Ok(builder.page)
}

/// Reads every event whole.
fn read_all(connection: &Connection, builder: &mut PageBuilder<'_>) -> rusqlite::Result<()> {
    let mut every = connection.prepare_cached(row::SELECT_RANGE)?;
    let mut names = row::TopicNames::new(connection)?;
    let range = builder.range();
    builder.take(&mut every, range, &mut names).map(drop)
}

/// Reads the topic of every event. SQLite gives whole rows, so where not all of them are wanted it
/// is asked for those that are one by one.
fn read_matching(connection: &Connection, builder: &mut PageBuilder<'_>) -> rusqlite::Result<()> {
    let mut every = connection.prepare_cached(SELECT_EVERY)?;
    let mut names = row::TopicNames::new(connection)?;
    let range = builder.range();
    let taken = builder.take_found(connection, &mut every, range, &mut names);
    taken.map(drop)
}

/// Reads only blocks in which one of the topics has events, and then what is not indexed yet.
fn read_topics(
    connection: &Connection,
    builder: &mut PageBuilder<'_>,
    indexed: Vid,
    topic_ids: &[i64],
) -> rusqlite::Result<()> {
    let mut names = row::TopicNames::new(connection)?;
    let (in_blocks, not_indexed) = builder.range().split_at(indexed);
    let mut blocks = TopicBlocks::find(connection, topic_ids, in_blocks)?;
    while let Some(block) = blocks.next()? {
        let range = in_blocks.within_block(block.number);
        let has_all = match block.vids {
            Some(vids) => builder.take_vids(connection, &vids, range, &mut names)?,
            None => look_through(connection, builder, range, topic_ids, &mut names)?,
        };
        if !has_all {
            return Ok(());
        }
    }

    // At most about a thousand events, which are looked at one by one.
    if not_indexed.is_empty() || topic_ids.is_empty() {
        return Ok(());
    }
    let mut statement = prepare_topics(connection, topic_ids)?;
    builder
        .take(&mut statement, not_indexed, &mut names)
        .map(drop)
}

/// Looks at every event of a block. False when the page is full.
fn look_through(
    connection: &Connection,
    builder: &mut PageBuilder<'_>,
    range: VidRange,
    topic_ids: &[i64],
    names: &mut row::TopicNames<'_>,
) -> rusqlite::Result<bool> {
    let mut statement = prepare_topics(connection, topic_ids)?;
    if !builder.take(&mut statement, range, names)? {
        return Ok(false);
    }
    // Few matches in many blocks must not make a page that takes long.
    builder.add_scanned(ROWS_A_BLOCK);
    if builder.is_full() {
        builder.page.through = range.through;
        return Ok(false);
    }
    Ok(true)
}

fn prepare_topics<'c>(
    connection: &'c Connection,
    topic_ids: &[i64],
) -> rusqlite::Result<Statement<'c>> {
    // Not cached: each set of topics is another statement.
    let ids: Vec<String> = topic_ids.iter().map(i64::to_string).collect();
    connection.prepare(&row::select_range_of_topics(&ids.join(",")))
}

/// The same for a page of those events that are the newest of their topic.
pub(super) fn read_newest(
    snapshot: &Connection,
    request: &ReadRequest,
    topic_ids: Option<&[i64]>,
) -> rusqlite::Result<Page> {
    let BusRow { first, indexed } = BusRow::read(snapshot)?;
    let mut builder = PageBuilder::new(request, first);
    let mut names = row::TopicNames::new(snapshot)?;
    let range = builder.range();
    if let Some(topic_ids) = topic_ids {
        let newest = NewestVids::read(snapshot, indexed)?.of_topics(topic_ids)?;
        builder.take_vids(snapshot, &newest, range, &mut names)?;
        return Ok(builder.page);
    }

    // What is behind the index has the larger vids, so the page stays in order.
    for (newest, range) in newest_parts(range, indexed) {
        let mut newest = snapshot.prepare_cached(newest)?;
        if !builder.take_found(snapshot, &mut newest, range, &mut names)? {
            break;
        }
    }
    Ok(builder.page)
}

/// What to read of a range from the index, and what from the events behind it.
fn newest_parts(range: VidRange, indexed: Vid) -> [(&'static str, VidRange); 2] {
    let (before, behind) = range.split_at(indexed);
    [(NEWEST_BY_INDEX, before), (NEWEST_NOT_INDEXED, behind)]
}

pub(super) fn vid_before(connection: &Connection, time_ms: i64) -> rusqlite::Result<Vid> {
    let snapshot = connection.unchecked_transaction()?;
    // Also what is behind the index, since the newest event may be what is looked for.
    let bounds = snapshot.query_row(SELECT_BOUNDS, [], |r| Ok((r.get(0)?, r.get(1)?)));
    let (first, last): (i64, i64) = bounds?;
    let mut statement = snapshot.prepare_cached(SELECT_TIME)?;

    // Times never fall, so the first vid that is late enough can be found by halving.
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        // Vids may be missing, so the first event from the middle on is looked at.
        let middle = low + (high - low) / 2;
        match time_from(&mut statement, middle)? {
            Some((vid, time)) if time < time_ms => low = vid + 1,
            _ => high = middle,
        }
    }

    // Reading goes on after this vid, so it is the one before.
    Ok(from_sql(low - 1))
}

/// The first event from this vid on: its vid and its time.
fn time_from(
    statement: &mut CachedStatement<'_>,
    vid: i64,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let found = statement.query_row([vid], |r| Ok((r.get(0)?, r.get(1)?)));
    found.optional()
}
