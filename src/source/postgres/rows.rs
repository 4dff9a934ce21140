//! From a row of the outbox to an event, or to a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;

use crate::error::{Error, Result};
use crate::event::{EventParts, NewEvent};
use crate::source::work::{DeadLetter, Pulled};

/// Which row it is; see [`super::sql`].
pub(super) struct RowKey {
    pub(super) id: i64,
    pub(super) event_id: String,
}

impl RowKey {
    fn of(row: &Row) -> Self {
        RowKey {
            id: row.get("id"),
            event_id: row.get("event_id"),
        }
    }
}

/// Rows and their outcomes, column by column.
#[derive(Default)]
pub(super) struct FinishedRows {
    pub(super) ids: Vec<i64>,
    pub(super) event_ids: Vec<String>,
    pub(super) outcomes: Vec<String>,
}

impl FinishedRows {
    pub(super) fn push(&mut self, key: RowKey, outcome: String) {
        self.ids.push(key.id);
        self.event_ids.push(key.event_id);
        self.outcomes.push(outcome);
    }
}

/// A row that was read by [`super::sql::waiting`].
pub(super) fn read(row: &Row, max_event_bytes: usize) -> (RowKey, Pulled) {
    let key = RowKey::of(row);
    let pulled = match event(row, &key, max_event_bytes) {
        Ok(event) => Pulled::Event(event),
        // Only what a row holds is wrong here; the database itself has answered.
        Err(error) => Pulled::Refused(dead_letter(row, &key, &error)),
    };
    (key, pulled)
}

fn event(row: &Row, key: &RowKey, max_event_bytes: usize) -> Result<NewEvent> {
    // The statement leaves out data that is too large, so that it never crosses the connection.
    let Some(data) = row.get::<_, Option<&[u8]>>("data") else {
        return Err(no_data(row.get("bytes"), max_event_bytes));
    };
    let parts = EventParts {
        // A missing topic is refused as an empty one is.
        topic: text(row, "topic").unwrap_or_default(),
        kind: text(row, "type"),
        id: Some(&key.event_id),
        content_type: text(row, "content_type"),
        headers: headers(text(row, "headers"))?,
        data: Bytes::copy_from_slice(data),
    };
    NewEvent::check(parts, max_event_bytes)
}

fn text<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    row.get(column)
}

/// Data that is too large is not read.
fn no_data(bytes: i32, max_event_bytes: usize) -> Error {
    // Empty data is not NULL; its length is 0 as well, but it has been read.
    if bytes == 0 {
        return Error::bad_request("the data is NULL");
    }
    Error::too_large(format!(
        "the data has {bytes} bytes; at most {max_event_bytes} are allowed \
         (limits.max_event_bytes)"
    ))
}

fn headers(json: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    // Names are unique in `jsonb`, and values have to be texts as in a publish request.
    let headers: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| invalid_headers())?;
    Ok(headers.into_iter().collect())
}

fn invalid_headers() -> Error {
    Error::bad_request("the headers are not a JSON object of texts, or they are too long")
}

/// Data that was too large to be read is not in the dead letter; the row keeps it.
fn dead_letter(row: &Row, key: &RowKey, error: &Error) -> DeadLetter {
    let data = row.get::<_, Option<&[u8]>>("data");
    DeadLetter {
        reason: error.to_string(),
        content: data.map(Bytes::copy_from_slice).unwrap_or_default(),
        headers: dead_letter_headers(row, key),
        id: Some(Arc::from(key.event_id.as_str())),
    }
}

fn dead_letter_headers(row: &Row, key: &RowKey) -> Vec<(String, String)> {
    // With the row's id its writer finds it; the rest shows what it was meant to be.
    let mut headers = vec![("row".to_owned(), key.id.to_string())];
    for column in ["topic", "type", "content_type"] {
        if let Some(text) = text(row, column) {
            headers.push((column.to_owned(), text.to_owned()));
        }
    }
    headers
}
