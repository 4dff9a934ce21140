//! The tables, as `sqlite3 vidette.db .schema` shows them.
//!
//! Invariants:
//! - a database of another program or of a newer schema is refused, never changed;
//! - `bus` has one row, `topics.newest_vid` and `topic_blocks` go as far as it does: to
//!   `bus.last_vid`. Events behind it are in `events`, and their topics in `topics` (see
//!   `index.rs`).

use rusqlite::Connection;

/// `PRAGMA application_id`: the letters "vdtt".
pub(super) const APPLICATION_ID: i64 = 0x7664_7474;

/// `PRAGMA user_version`. Version 1 had the same tables, and its `bus` and index were never behind
/// the events. Up to version 2 `events.topic_id` was a foreign key: each topic that was deleted
/// had SQLite look through all events for it. Ages were
/// differences of times.
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
    bytes         INTEGER NOT NULL, -- of them, as retention counts them
    noted_time_ms     INTEGER NOT NULL DEFAULT 0, -- what the clock said last, since 1970 …
    noted_counted_ms  INTEGER NOT NULL DEFAULT 0  -- … and what the one said that never jumps
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
    skew_ms       INTEGER NOT NULL DEFAULT 0, -- time_ms less this: when it came, for its age
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
    time_ms  INTEGER NOT NULL, -- when it came, for its age
    id       TEXT    NOT NULL UNIQUE
) STRICT;
";

pub(super) const INSERT_BUS: &str = "INSERT INTO bus VALUES (1, ?1, 1, 0, 0, 0, 0, 0, 0)";

/// Makes a log of an older version one of today; all of it or nothing.
pub(super) fn take_over(connection: &Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    let done = migrate(connection);
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?; // a full disk has done so itself
    }
    connection.pragma_update(None, "writable_schema", false)?;
    done
}

fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // The events of an older log came at their times. The rows are not written again for this.
    connection.execute_batch(
        "ALTER TABLE events ADD COLUMN skew_ms INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE bus ADD COLUMN noted_time_ms INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE bus ADD COLUMN noted_counted_ms INTEGER NOT NULL DEFAULT 0;
         UPDATE bus SET noted_time_ms = last_time_ms, noted_counted_ms = last_time_ms;",
    )?;
    // Nor for this: SQLite documents that a constraint goes by taking its text out of the schema.
    // It comes last, as the text is not looked at again before the end.
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
