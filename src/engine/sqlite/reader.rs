//! Reading the log, on connections of its own.
//!
//! Invariants:
//! - a page and the `first` in it come from one read transaction;
//! - a read looks at no more rows than its budget says, whatever the filter.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::{BLOCK_VIDS, block_of, from_sql, row, to_sql};
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::limits;
use crate::topic::{Filter, Topic};

/// A page that is being filled.
struct Filling<'r> {
    request: &'r ReadRequest,
    page: Page,
    bytes: usize,
    looked_at: usize,
}

impl<'r> Filling<'r> {
    fn new(request: &'r ReadRequest, first: Vid) -> Self {
        let page = Page {
            events: Vec::new(),
            through: request.through,
            first,
        };
        Filling {
            request,
            page,
            bytes: 0,
            looked_at: 0,
        }
    }

    fn is_full(&self) -> bool {
        let budget = &self.request.budget;
        self.page.events.len() >= budget.events
            || self.bytes >= budget.bytes
            || self.looked_at >= budget.scan
    }

    /// Takes the rows of a statement with [`row::COLUMNS`] in vid order. True when it came to the
    /// end of them.
    fn take(
        &mut self,
        statement: &mut Statement<'_>,
        from: Vid,
        to: Vid,
        names: &mut row::TopicNames<'_>,
    ) -> rusqlite::Result<bool> {
        let mut rows = statement.query(params![to_sql(from), to_sql(to)])?;
        while let Some(found) = rows.next()? {
            let vid = from_sql(found.get(0)?);
            if self.is_full() {
                self.page.through = vid - 1;
                return Ok(false);
            }
            self.looked_at += 1;
            if let Some(topic) =
                names.wanted(found.get(2)?, |topic| self.request.filter.matches(topic))?
            {
                let event = row::read(found, &topic)?;
                self.bytes += event.size_bytes();
                self.page.events.push(Arc::new(event));
            }
        }
        Ok(true)
    }

    /// Takes events whose vid and topic a statement gives in vid order. Each is fetched only when
    /// it has a place in the page: what SQLite sorts or scans on the way has no data in it.
    fn take_found(
        &mut self,
        connection: &Connection,
        found: &mut Statement<'_>,
        from: Vid,
        to: Vid,
        names: &mut row::TopicNames<'_>,
    ) -> rusqlite::Result<bool> {
        let fetch = format!("SELECT {} FROM events WHERE vid = ?1", row::COLUMNS);
        let mut fetch = connection.prepare_cached(&fetch)?;
        let mut rows = found.query(params![to_sql(from), to_sql(to)])?;
        while let Some(found) = rows.next()? {
            let vid = from_sql(found.get(0)?);
            if self.is_full() {
                self.page.through = vid - 1;
                return Ok(false);
            }
            self.looked_at += 1;
            let wanted = names.wanted(found.get(1)?, |topic| self.request.filter.matches(topic))?;
            if let Some(topic) = wanted {
                let event = fetch.query_row([to_sql(vid)], |row| row::read(row, &topic))?;
                self.bytes += event.size_bytes();
                self.page.events.push(Arc::new(event));
            }
        }
        Ok(true)
    }
}

pub(super) fn read(connection: &Connection, request: &ReadRequest) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let Row { first, indexed } = row_of_bus(&snapshot)?;
    let from = request.after.max(first.saturating_sub(1));
    let mut filling = Filling::new(request, first);
    match topic_ids(&snapshot, &request.filter)? {
        Some(topic_ids) => read_topics(&snapshot, &mut filling, (from, indexed), &topic_ids)?,
        None => read_all(&snapshot, &mut filling, from)?,
    }
    Ok(filling.page)
}

/// Looks at every event. SQLite hands out whole rows, so where not all of them are wanted it is
/// asked for those that are one by one.
fn read_all(connection: &Connection, filling: &mut Filling<'_>, from: Vid) -> rusqlite::Result<()> {
    let patterns = filling.request.filter.patterns();
    if patterns.iter().all(|pattern| pattern.as_str() != ">") {
        let every = "SELECT vid, topic_id FROM events WHERE vid > ?1 AND vid <= ?2 ORDER BY vid";
        let mut names = row::TopicNames::new(connection)?;
        let through = filling.request.through;
        let mut every = connection.prepare_cached(every)?;
        filling.take_found(connection, &mut every, from, through, &mut names)?;
        return Ok(());
    }
    let sql = format!(
        "SELECT {} FROM events WHERE vid > ?1 AND vid <= ?2 ORDER BY vid",
        row::COLUMNS
    );
    let mut names = row::TopicNames::new(connection)?;
    let through = filling.request.through;
    filling.take(
        &mut *connection.prepare_cached(&sql)?,
        from,
        through,
        &mut names,
    )?;
    Ok(())
}

/// Reads only blocks in which one of the topics has events, and then what is not indexed yet.
fn read_topics(
    connection: &Connection,
    filling: &mut Filling<'_>,
    (from, indexed): (Vid, Vid),
    topic_ids: &[i64],
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {} FROM events WHERE vid > ?1 AND vid <= ?2 AND topic_id IN ({}) ORDER BY vid",
        row::COLUMNS,
        list(topic_ids)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut names = row::TopicNames::new(connection)?;
    let through = filling.request.through;
    let mut from = from;
    while from < through.min(indexed) {
        let Some(block) = next_block(connection, topic_ids, block_of(from + 1))? else {
            break;
        };
        let start = block * BLOCK_VIDS;
        let (low, high) = (
            from.max(start.saturating_sub(1)),
            through.min(indexed).min(start + BLOCK_VIDS - 1),
        );
        if low >= high {
            break;
        }
        if !filling.take(&mut statement, low, high, &mut names)? {
            return Ok(());
        }
        // SQLite has looked at the whole block, though only matching rows came out.
        filling.looked_at += usize::try_from(BLOCK_VIDS).unwrap_or(usize::MAX) / 4;
        if filling.is_full() {
            filling.page.through = high;
            return Ok(());
        }
        from = high;
    }
    filling.take(&mut statement, from.max(indexed), through, &mut names)?;
    Ok(())
}

/// The first block from this one on in which one of the topics has events.
fn next_block(
    connection: &Connection,
    topic_ids: &[i64],
    from: u64,
) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached(
        "SELECT block FROM topic_blocks WHERE topic_id = ?1 AND block >= ?2 ORDER BY block LIMIT 1",
    )?;
    let mut nearest: Option<i64> = None;
    for topic_id in topic_ids {
        let block: Option<i64> = statement
            .query_row(params![topic_id, to_sql(from)], |r| r.get(0))
            .optional()?;
        nearest = nearest.into_iter().chain(block).min();
    }
    Ok(nearest.map(from_sql))
}

/// The numbers of the topics that the filter takes in, or none when they are so many that a scan is
/// better.
fn topic_ids(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut ids = Vec::new();
    for pattern in filter.patterns() {
        let prefix = pattern.literal_prefix();
        if prefix.is_empty() {
            return Ok(None);
        }
        let mut statement = connection.prepare_cached(
            "SELECT topic_id, topic FROM topics WHERE topic >= ?1 AND topic <= ?2 ORDER BY topic",
        )?;
        let mut rows = statement.query([prefix.to_owned(), last_text(pattern.exact(), prefix)])?;
        let mut looked_at = 0;
        while let Some(found) = rows.next()? {
            looked_at += 1;
            if looked_at > limits::MAX_EXPANDED_TOPICS {
                return Ok(None);
            }
            if pattern.matches(found.get_ref(1)?.as_str()?) {
                ids.push(found.get(0)?);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok((ids.len() <= limits::MAX_EXPANDED_TOPICS).then_some(ids))
}

/// The last text in byte order that a pattern can match: itself, or whatever begins with its
/// prefix.
fn last_text(exact: Option<&str>, prefix: &str) -> String {
    exact.map_or_else(
        || {
            format!(
                "{prefix}{}",
                "\u{10FFFF}".repeat(limits::MAX_TOPIC_BYTES / 4 + 1)
            )
        },
        str::to_owned,
    )
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn read_newest(
    connection: &Connection,
    request: &ReadRequest,
) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let Row { first, indexed } = row_of_bus(&snapshot)?;
    let mut filling = Filling::new(request, first);
    let from = request.after.max(first.saturating_sub(1));
    let through = request.through;
    let mut names = row::TopicNames::new(&snapshot)?;
    let parts = [
        (NEWEST_BY_INDEX, from, through.min(indexed)),
        (NEWEST_NOT_INDEXED, from.max(indexed), through),
    ];
    for (newest, from, to) in parts {
        let mut newest = snapshot.prepare_cached(newest)?;
        if !filling.take_found(&snapshot, &mut newest, from, to, &mut names)? {
            break;
        }
    }
    Ok(filling.page)
}

pub(super) fn vid_before(connection: &Connection, time_ms: i64) -> rusqlite::Result<Vid> {
    let snapshot = connection.unchecked_transaction()?;
    let bounds =
        "SELECT first_vid, max(last_vid, ifnull((SELECT max(vid) FROM events), 0)) FROM bus";
    let (first, last) = snapshot.query_row(bounds, [], |r| {
        Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?))
    })?;
    let mut statement = snapshot
        .prepare_cached("SELECT vid, time_ms FROM events WHERE vid >= ?1 ORDER BY vid LIMIT 1")?;
    let (mut low, mut high) = (first, last + 1);
    // Times never fall, so the first vid that is late enough can be found by halving.
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([middle], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        match found {
            Some((vid, time)) if time < time_ms => low = vid + 1,
            _ => high = middle,
        }
    }
    Ok(from_sql(low - 1))
}

pub(super) fn topics(
    connection: &Connection,
    filter: &Filter,
    after: Option<&Topic>,
    limit: usize,
) -> rusqlite::Result<Vec<(Topic, Vid)>> {
    let snapshot = connection.unchecked_transaction()?;
    let first = row_of_bus(&snapshot)?.first;
    let sql = format!(
        "SELECT topic, ifnull(found.vid, newest_vid) FROM topics LEFT JOIN ({NOT_INDEXED}) AS found USING (topic_id)
         WHERE topic > ?1 AND ifnull(found.vid, newest_vid) >= ?2 ORDER BY topic"
    );
    let mut statement = snapshot.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after.map_or("", Topic::as_str), to_sql(first)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let topic = Topic::trusted(row.get_ref(0)?.as_str()?);
        if filter.matches(&topic) {
            found.push((topic, from_sql(row.get(1)?)));
        }
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

/// Topics with events that the index does not have yet, and their newest.
const NOT_INDEXED: &str = "SELECT topic_id, max(vid) AS vid FROM events WHERE vid > (SELECT last_vid FROM bus) GROUP BY topic_id";

/// The newest event of each topic that has none behind the index, in a range of vids.
const NEWEST_BY_INDEX: &str = "SELECT newest_vid, topic_id FROM topics
     WHERE newest_vid > ?1 AND newest_vid <= ?2
         AND topic_id NOT IN (SELECT topic_id FROM events WHERE vid > (SELECT last_vid FROM bus))
     ORDER BY newest_vid";

/// The newest event of each topic that has some behind the index, in a range of vids.
const NEWEST_NOT_INDEXED: &str = "SELECT max(vid) AS newest, topic_id FROM events
     WHERE vid > (SELECT last_vid FROM bus) GROUP BY topic_id
     HAVING newest > ?1 AND newest <= ?2 ORDER BY newest";

/// What a reader needs of the row of `bus`.
struct Row {
    first: Vid,
    /// The index goes up to this vid.
    indexed: Vid,
}

fn row_of_bus(connection: &Connection) -> rusqlite::Result<Row> {
    let mut statement = connection.prepare_cached("SELECT first_vid, last_vid FROM bus")?;
    statement.query_row([], |r| {
        Ok(Row {
            first: from_sql(r.get(0)?),
            indexed: from_sql(r.get(1)?),
        })
    })
}
