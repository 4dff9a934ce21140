//! Reading the log, on connections of its own.
//!
//! Invariants:
//! - a page and the `first` in it come from one read transaction;
//! - a read scans no more rows than its budget says, whatever the filter.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Statement, params};

use super::page_builder::{PageBuilder, VidRange};
use super::{BLOCK_VIDS, block_of, from_sql, row, to_sql, topic_ids};
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::topic::{Filter, Topic};

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

const SELECT_BLOCK: &str =
    "SELECT block FROM topic_blocks WHERE topic_id = ?1 AND block >= ?2 ORDER BY block LIMIT 1";

/// Topics and their newest vid, with those whose newest event is not indexed yet.
const SELECT_TOPICS: &str = "
SELECT topic, ifnull(found.vid, newest_vid) FROM topics LEFT JOIN (
    SELECT topic_id, max(vid) AS vid FROM events
    WHERE vid > (SELECT last_vid FROM bus) GROUP BY topic_id
) AS found USING (topic_id)
WHERE topic > ?1 AND ifnull(found.vid, newest_vid) >= ?2 ORDER BY topic";

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
struct BusRow {
    first: Vid,
    /// The index goes up to this vid.
    indexed: Vid,
}

impl BusRow {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(SELECT_BUS)?;
        statement.query_row([], |r| {
            Ok(BusRow {
                first: from_sql(r.get(0)?),
                indexed: from_sql(r.get(1)?),
            })
        })
    }
}

pub(super) fn read(connection: &Connection, request: &ReadRequest) -> rusqlite::Result<Page> {
    // One transaction, so that nothing is trimmed between two of its statements.
    let snapshot = connection.unchecked_transaction()?;
    let bus = BusRow::read(&snapshot)?;
    let mut builder = PageBuilder::new(request, bus.first);

    // Few topics: by the index. Else every event is looked at, whole or first by its topic.
    if let Some(topic_ids) = topic_ids::find(&snapshot, &request.filter)? {
        read_topics(&snapshot, &mut builder, bus.indexed, &topic_ids)?;
    } else if takes_in_all(&request.filter) {
        read_all(&snapshot, &mut builder)?;
    } else {
        read_matching(&snapshot, &mut builder)?;
    }
    Ok(builder.page)
}

fn takes_in_all(filter: &Filter) -> bool {
    filter.patterns().iter().any(|p| p.as_str() == ">")
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
    let mut statement = prepare_topics(connection, topic_ids)?;
    let mut names = row::TopicNames::new(connection)?;
    let (mut in_blocks, not_indexed) = builder.range().split_at(indexed);
    while let Some(range) = next_range(connection, topic_ids, in_blocks)? {
        if !builder.take(&mut statement, range, &mut names)? {
            return Ok(());
        }
        // Few matches in many blocks must not make a page that takes long.
        builder.add_scanned(ROWS_A_BLOCK);
        if builder.is_full() {
            builder.page.through = range.through;
            return Ok(());
        }
        in_blocks.after = range.through;
    }

    // At most about a thousand events, which are looked at one by one.
    builder
        .take(&mut statement, not_indexed, &mut names)
        .map(drop)
}

fn prepare_topics<'c>(
    connection: &'c Connection,
    topic_ids: &[i64],
) -> rusqlite::Result<Statement<'c>> {
    // Not cached: each set of topics is another statement.
    let ids: Vec<String> = topic_ids.iter().map(i64::to_string).collect();
    connection.prepare(&row::select_range_of_topics(&ids.join(",")))
}

/// What is to be read of the next block in which one of the topics has events.
fn next_range(
    connection: &Connection,
    topic_ids: &[i64],
    range: VidRange,
) -> rusqlite::Result<Option<VidRange>> {
    if range.is_empty() {
        return Ok(None);
    }
    let block = next_block(connection, topic_ids, block_of(range.after + 1))?;
    let part = block.map(|block| range.within_block(block));
    Ok(part.filter(|part| !part.is_empty()))
}

/// The first block from this one on in which one of the topics has events.
fn next_block(
    connection: &Connection,
    topic_ids: &[i64],
    from: u64,
) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached(SELECT_BLOCK)?;
    let mut nearest: Option<i64> = None;
    for topic_id in topic_ids {
        // The first of each topic by the primary key; the nearest of all of them counts.
        let block = statement.query_row(params![topic_id, to_sql(from)], |r| r.get(0));
        nearest = nearest.into_iter().chain(block.optional()?).min();
    }
    Ok(nearest.map(from_sql))
}

pub(super) fn read_newest(
    connection: &Connection,
    request: &ReadRequest,
) -> rusqlite::Result<Page> {
    // One transaction, so that no topic gets a newer event between the two parts.
    let snapshot = connection.unchecked_transaction()?;
    let BusRow { first, indexed } = BusRow::read(&snapshot)?;
    let mut builder = PageBuilder::new(request, first);
    let mut names = row::TopicNames::new(&snapshot)?;

    // What is behind the index has the larger vids, so the page stays in order.
    for (newest, range) in newest_parts(builder.range(), indexed) {
        let mut newest = snapshot.prepare_cached(newest)?;
        if !builder.take_found(&snapshot, &mut newest, range, &mut names)? {
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

pub(super) fn topics(
    connection: &Connection,
    filter: &Filter,
    after: Option<&Topic>,
    limit: usize,
) -> rusqlite::Result<Vec<(Topic, Vid)>> {
    let snapshot = connection.unchecked_transaction()?;
    // Topics whose events are all trimmed may still have a row; the oldest vid hides them.
    let first = to_sql(BusRow::read(&snapshot)?.first);
    let mut statement = snapshot.prepare_cached(SELECT_TOPICS)?;
    let rows = statement.query_map(params![after.map_or("", Topic::as_str), first], read_topic)?;
    // An error is wanted as well, so that it ends the read.
    let is_wanted = |found: &rusqlite::Result<(Topic, Vid)>| {
        found
            .as_ref()
            .map_or(true, |(topic, _)| filter.matches(topic))
    };
    rows.filter(is_wanted).take(limit).collect()
}

fn read_topic(row: &Row<'_>) -> rusqlite::Result<(Topic, Vid)> {
    let topic = Topic::trusted(row.get_ref(0)?.as_str()?);
    Ok((topic, from_sql(row.get(1)?)))
}
