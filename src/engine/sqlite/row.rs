//! One row of `events`, both ways.
//!
//! Invariant: what was bound comes back equal, byte for byte.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::errors::of_text;
use super::{from_sql, to_sql};
use crate::event::{ContentType, Event, NewEvent};
use crate::topic::Topic;

pub(super) const INSERT: &str = "
INSERT INTO events
    (vid, time_ms, skew_ms, topic_id, bytes, type, id, content_type, headers, data)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The columns that [`read`] takes. SQLite reads all of them for each row that it gives.
macro_rules! columns {
    () => {
        "vid, time_ms, topic_id, type, id, content_type, headers, data"
    };
}

pub(super) const SELECT_ONE: &str = concat!("SELECT ", columns!(), " FROM events WHERE vid = ?1");

/// The events of a range of vids.
pub(super) const SELECT_RANGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events WHERE vid > ?1 AND vid <= ?2 ORDER BY vid"
);

/// The same, of these topics only.
pub(super) fn select_range_of_topics(topic_ids: &str) -> String {
    let columns = columns!();
    format!(
        "SELECT {columns} FROM events
         WHERE vid > ?1 AND vid <= ?2 AND topic_id IN ({topic_ids}) ORDER BY vid"
    )
}

pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    event: &Event,
    skew_ms: i64,
    topic_id: i64,
) -> rusqlite::Result<()> {
    // What retention counts is kept, as reading it again would read the data.
    let sent = &event.sent;
    let bytes = i64::try_from(event.size_bytes()).expect("an event is smaller than 2^63 bytes");
    statement.execute(params![
        to_sql(event.vid),
        event.time_ms,
        skew_ms,
        topic_id,
        bytes,
        sent.kind.as_deref(),
        sent.id.as_deref(),
        sent.content_type.as_str(),
        headers_json(sent),
        &sent.data[..]
    ])?;
    Ok(())
}

/// The headers as a JSON array of pairs; none where there are none.
fn headers_json(sent: &NewEvent) -> Option<String> {
    let headers = Some(&sent.headers).filter(|headers| !headers.is_empty())?;
    Some(serde_json::to_string(headers).expect("pairs of strings are JSON"))
}

pub(super) fn read(row: &Row<'_>, topic: &Topic) -> rusqlite::Result<Event> {
    // SQLite lends the values until it moves to the next row, so they are copied.
    let sent = NewEvent {
        topic: topic.clone(),
        kind: read_text(row, 3)?,
        id: read_text(row, 4)?,
        content_type: ContentType::trusted(row.get_ref(5)?.as_str()?),
        headers: read_headers(row, 6)?,
        data: Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?),
    };
    Ok(Event::new(from_sql(row.get(0)?), row.get(1)?, sent))
}

fn read_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<str>>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(Into::into))
}

fn read_headers(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<(String, String)>> {
    // NULL stands for no headers.
    let Some(json) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(json).map_err(|e| of_text(column, e))
}

const SELECT_TOPIC: &str = "SELECT topic FROM topics WHERE topic_id = ?1";

/// Topics by their number, for the length of one read.
pub(super) struct TopicNames<'c> {
    statement: CachedStatement<'c>,
    names: HashMap<i64, Option<Topic>>,
}

impl<'c> TopicNames<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(TopicNames {
            statement: connection.prepare_cached(SELECT_TOPIC)?,
            names: HashMap::new(),
        })
    }

    /// The topic of this number, if `wanted` says so.
    pub(super) fn wanted(
        &mut self,
        topic_id: i64,
        wanted: impl Fn(&Topic) -> bool,
    ) -> rusqlite::Result<Option<Topic>> {
        if let Some(known) = self.names.get(&topic_id) {
            return Ok(known.clone());
        }
        // Also that it is not wanted is remembered, for the length of this read.
        let text = self.statement.query_row([topic_id], |row| row.get(0));
        let text: Option<String> = text.optional()?;
        let topic = text.map(|t| Topic::trusted(&t)).filter(wanted);
        self.names.insert(topic_id, topic.clone());
        Ok(topic)
    }
}
