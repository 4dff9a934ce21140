//! The tables, as `sqlite3 vidette.db .schema` shows them.
//!
//! Invariants:
//! - a database of another program or of a newer schema is refused, never changed;
//! - `bus` has one row, `topics.newest_vid` and `topic_blocks` go as far as it does: to
//!   `bus.last_vid`. Events behind it are in `events`, and their topics in `topics` (see
//!   `index.rs`).

use rusqlite::{Connection, ErrorCode};

/// `PRAGMA application_id`: the letters "vdtt".
pub(super) const APPLICATION_ID: i64 = 0x7664_7474;

/// `PRAGMA user_version`. Version 1 had the same tables, and its `bus` and index were never behind
/// the events. Up to version 2 `events.topic_id` was a foreign key: each topic that was deleted
/// had SQLite look through all events for it.
pub(super) const VERSION: i64 = 3;
/// The oldest version that is taken over.
pub(super) const OLDEST_VERSION: i64 = 1;

/// Makes a new log. The epoch is the only parameter.
pub(super) const CREATE: &str = "
CREATE TABLE bus (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    epoch         TEXT    NOT NULL,
    first_vid     INTEGER NOT NULL, -- the oldest retained; last_vid + 1 when the log is empty
    last_vid      INTEGER NOT NULL, -- the newest ever given, but for those in events
    last_time_ms  INTEGER NOT NULL, -- no event up to last_vid is newer
    events        INTEGER NOT NULL, -- retained up to last_vid
    bytes         INTEGER NOT NULL  -- of them, as retention counts them
) STRICT;

CREATE TABLE topics (
    topic_id    INTEGER PRIMARY KEY,
    topic       TEXT    NOT NULL UNIQUE,
    newest_vid  INTEGER NOT NULL -- up to bus.last_vid; of a new topic, its first
) STRICT;
CREATE INDEX topics_by_newest ON topics (newest_vid);

CREATE TABLE events (
    vid           INTEGER PRIMARY KEY,
    time_ms       INTEGER NOT NULL, -- since 1970; never falls
    topic_id      INTEGER NOT NULL, -- no foreign key: deleting a topic would scan all events
    bytes         INTEGER NOT NULL, -- as retention counts them
    type          TEXT,
    id            TEXT,
    content_type  TEXT    NOT NULL,
    headers       TEXT,             -- a JSON array of [name, value] pairs
    data          BLOB    NOT NULL
) STRICT;

-- In which blocks of 4096 vids a topic has events, up to bus.last_vid.
CREATE TABLE topic_blocks (
    topic_id  INTEGER NOT NULL,
    block     INTEGER NOT NULL,
    PRIMARY KEY (topic_id, block)
) STRICT, WITHOUT ROWID;
CREATE INDEX topic_blocks_by_block ON topic_blocks (block); -- for trimming

-- Publishers' ids within the dedupe window, by the vid of the event that had them first.
CREATE TABLE dedupe (
    vid      INTEGER PRIMARY KEY,
    time_ms  INTEGER NOT NULL,
    id       TEXT    NOT NULL UNIQUE
) STRICT;
";

pub(super) const INSERT_BUS: &str = "INSERT INTO bus VALUES (1, ?1, 1, 0, 0, 0, 0)";

/// Makes a log of an older version one of today. Without space on the disk that has to wait for
/// another start: the writer looks at no foreign key anyway.
pub(super) fn take_over(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    let done = migrate(connection);
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.pragma_update(None, "writable_schema", false)?;
    match done {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(
                version,
                "the disk is full: the database keeps its older schema"
            );
            Ok(())
        }
        done => done,
    }
}

/// The foreign key goes the way that SQLite documents for constraints: its text is taken out of the
/// schema, and the rows, which it does not change, are not written again.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.pragma_update(None, "writable_schema", true)?;
    connection.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES topics', '')
         WHERE type = 'table' AND name = 'events'",
        [],
    )?;
    // Whoever has read the schema reads it again when its number has changed.
    let number: i64 = connection.pragma_query_value(None, "schema_version", |r| r.get(0))?;
    connection.pragma_update(None, "schema_version", number + 1)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("COMMIT")
}
