//! One row of `events`, both ways.
//!
//! Invariant: what was bound comes back equal, byte for byte.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::{from_sql, to_sql};
use crate::event::{ContentType, Event, NewEvent};
use crate::topic::Topic;

pub(super) const INSERT: &str =
    "INSERT INTO events (vid, time_ms, skew_ms, topic_id, bytes, type, id, content_type, headers, data)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The columns that [`read`] takes. SQLite reads all of them for each row that it gives.
pub(super) const COLUMNS: &str = "vid, time_ms, topic_id, type, id, content_type, headers, data";

pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    event: &Event,
    skew_ms: i64,
    topic_id: i64,
) -> rusqlite::Result<()> {
    let NewEvent {
        kind,
        id,
        content_type,
        headers,
        data,
        ..
    } = &event.sent;
    let headers = (!headers.is_empty())
        .then(|| serde_json::to_string(headers).expect("pairs of strings are JSON"));
    let bytes = i64::try_from(event.size_bytes()).expect("an event is smaller than 2^63 bytes");
    let content_type = content_type.as_str();
    statement.execute(params![
        to_sql(event.vid),
        event.time_ms,
        skew_ms,
        topic_id,
        bytes,
        kind.as_deref(),
        id.as_deref(),
        content_type,
        headers,
        &data[..]
    ])?;
    Ok(())
}

pub(super) fn read(row: &Row<'_>, topic: &Topic) -> rusqlite::Result<Event> {
    let text = |column: usize| -> rusqlite::Result<Option<std::sync::Arc<str>>> {
        Ok(row.get_ref(column)?.as_str_or_null()?.map(Into::into))
    };
    let headers = match row.get_ref(6)?.as_str_or_null()? {
        Some(json) => serde_json::from_str(json).map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(6, rusqlite::types::Type::Text, Box::new(e))
        })?,
        None => Vec::new(),
    };
    let sent = NewEvent {
        topic: topic.clone(),
        kind: text(3)?,
        id: text(4)?,
        content_type: ContentType::trusted(row.get_ref(5)?.as_str()?),
        headers,
        data: Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?),
    };
    Ok(Event::new(from_sql(row.get(0)?), row.get(1)?, sent))
}

/// Topics by their number, for the length of one read.
pub(super) struct TopicNames<'c> {
    statement: CachedStatement<'c>,
    names: HashMap<i64, Option<Topic>>,
}

impl<'c> TopicNames<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let statement =
            connection.prepare_cached("SELECT topic FROM topics WHERE topic_id = ?1")?;
        Ok(TopicNames {
            statement,
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
        let text: Option<String> = self
            .statement
            .query_row([topic_id], |row| row.get(0))
            .optional()?;
        let topic = text.map(|t| Topic::trusted(&t)).filter(wanted);
        self.names.insert(topic_id, topic.clone());
        Ok(topic)
    }
}
