//! From a row of the outbox to an event, or to a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;

use crate::error::{Error, Result};
use crate::event::{EventParts, NewEvent};
use crate::source::{DeadLetter, Pulled};

/// Which row it is; see [`super::sql`].
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) event_id: String,
}

/// A row as [`super::sql::waiting`] has it.
pub(super) fn read(row: &Row, max_event_bytes: usize) -> (Key, Pulled) {
    let key = Key {
        id: row.get("id"),
        event_id: row.get("event_id"),
    };
    let pulled = match event(row, &key, max_event_bytes) {
        Ok(event) => Pulled::Event(event),
        Err(fault) => Pulled::Refused(dead_letter(row, &key, &fault)),
    };
    (key, pulled)
}

fn event(row: &Row, key: &Key, max_event_bytes: usize) -> Result<NewEvent> {
    let Some(data) = row.get::<_, Option<&[u8]>>("data") else {
        let bytes: i32 = row.get("bytes");
        if bytes == 0 {
            return Err(Error::bad_request("the data is NULL"));
        }
        return Err(Error::too_large(format!(
            "the data has {bytes} bytes; at most {max_event_bytes} are taken (limits.max_event_bytes)"
        )));
    };
    let parts = EventParts {
        topic: row.get::<_, Option<&str>>("topic").unwrap_or_default(),
        kind: row.get("type"),
        id: Some(&key.event_id),
        content_type: row.get("content_type"),
        headers: headers(row.get("headers"))?,
        data: Bytes::copy_from_slice(data),
    };
    NewEvent::check(parts, max_event_bytes)
}

fn headers(json: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    let headers: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| {
        Error::bad_request(
            "the headers are no JSON object of texts, or are longer than they may be",
        )
    })?;
    Ok(headers.into_iter().collect())
}

/// Data that was too large to be read stays in the row, which is kept.
fn dead_letter(row: &Row, key: &Key, fault: &Error) -> DeadLetter {
    let text = |column: &str| {
        row.get::<_, Option<&str>>(column)
            .map(|text| (column.to_owned(), text.to_owned()))
    };
    let named = ["topic", "type", "content_type"]
        .into_iter()
        .filter_map(text);
    DeadLetter {
        reason: fault.to_string(),
        content: row
            .get::<_, Option<&[u8]>>("data")
            .map(Bytes::copy_from_slice)
            .unwrap_or_default(),
        headers: [("row".to_owned(), key.id.to_string())]
            .into_iter()
            .chain(named)
            .collect(),
        id: Some(Arc::from(key.event_id.as_str())),
    }
}
