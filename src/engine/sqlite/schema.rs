//! The tables, as `sqlite3 vidette.db .schema` shows them.
//!
//! Invariants:
//! - a database of another program or of a newer schema is refused, never changed;
//! - `bus` has one row, `topics.newest_vid` and `topic_blocks` go as far as it does: to
//!   `bus.last_vid`. Events behind it are in `events`, and their topics in `topics` (see
//!   `index.rs`).

use rusqlite::Connection;

use super::identity::FileIdentity;

/// `PRAGMA application_id`: the letters "vdtt".
pub(super) const APPLICATION_ID: i64 = 0x7664_7474;

/// `PRAGMA user_version`. What the older versions lacked:
/// - 1: its `bus` and index were never behind the events;
/// - 2: `events.topic_id` was a foreign key, so that each topic that was deleted had SQLite scan
///   all events for it; ages were differences of times;
/// - 3: it knew neither the file that it was in nor any earlier epoch;
/// - 4: it did not note where in a block a topic has events, nor how many ids it remembers.
pub(super) const VERSION: i64 = 5;
/// The oldest version that can be migrated.
pub(super) const OLDEST_VERSION: i64 = 1;

/// The tables of a new log but for [`CREATE_EARLIER_EPOCHS`].
pub(super) const CREATE: &str = "
CREATE TABLE bus (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    epoch         TEXT    NOT NULL,
    first_vid     INTEGER NOT NULL, -- the oldest retained; last_vid + 1 when the log is empty
    last_vid      INTEGER NOT NULL, -- the newest ever given, but for those in events
    last_time_ms  INTEGER NOT NULL, -- no event up to last_vid is newer
    events        INTEGER NOT NULL, -- retained up to last_vid
    bytes         INTEGER NOT NULL, -- of them, as retention counts them
    ids           INTEGER NOT NULL DEFAULT 0, -- in dedupe, of events up to last_vid
    noted_time_ms     INTEGER NOT NULL DEFAULT 0, -- what the clock said last, since 1970 …
    noted_counted_ms  INTEGER NOT NULL DEFAULT 0, -- … and what the one said that never jumps
    file          TEXT  -- the file that the epoch is good for: device:inode:born
) STRICT;

CREATE TABLE topics (
    topic_id    INTEGER PRIMARY KEY, -- rises with each new topic; the greatest is never deleted
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

-- In which blocks of 4096 vids a topic has events, up to bus.last_vid. Its places in the block are
-- 2 bytes each, and NULL where they are many.
CREATE TABLE topic_blocks (
    topic_id  INTEGER NOT NULL,
    block     INTEGER NOT NULL,
    places    BLOB,
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

/// The epochs that the log had before it went on from a copy.
pub(super) const CREATE_EARLIER_EPOCHS: &str = "
CREATE TABLE earlier_epochs (
    place         INTEGER PRIMARY KEY, -- the oldest first
    epoch         TEXT    NOT NULL UNIQUE,
    good_through  INTEGER NOT NULL -- vids up to this one are the same events here
) STRICT;
";

/// The row of a new log; its epoch and its file are the parameters.
pub(super) const INSERT_BUS: &str = "
INSERT INTO bus (one, epoch, first_vid, last_vid, last_time_ms, events, bytes, file)
    VALUES (1, ?1, 1, 0, 0, 0, 0, ?2)";

/// The clock that never jumps. The events of an older log came at their times, and their rows are
/// not written again for this.
const ADD_CLOCK: &str = "
ALTER TABLE events ADD COLUMN skew_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bus ADD COLUMN noted_time_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bus ADD COLUMN noted_counted_ms INTEGER NOT NULL DEFAULT 0;
UPDATE bus SET noted_time_ms = last_time_ms, noted_counted_ms = last_time_ms;
";

/// SQLite documents that a constraint is dropped by taking its text out of the schema.
const DROP_FOREIGN_KEY: &str = "
UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES topics', '')
    WHERE type = 'table' AND name = 'events';
";

/// What each block has is looked for as before, where it was indexed before; those rows are not
/// written again. The column is added to the text, as SQLite does it for a table that is not
/// `STRICT`; of one that is, it reads every row first, which takes minutes in a large log.
const ADD_PLACES: &str = "
UPDATE sqlite_schema
    SET sql = replace(sql, 'PRIMARY KEY (topic_', 'places BLOB, PRIMARY KEY (topic_')
    WHERE type = 'table' AND name = 'topic_blocks';
";
/// The one figure that has to be counted.
const ADD_IDS: &str = "
ALTER TABLE bus ADD COLUMN ids INTEGER NOT NULL DEFAULT 0;
UPDATE bus SET ids = (SELECT count(*) FROM dedupe WHERE vid <= last_vid);
";

/// Makes a log of an older version one of today; all of it or nothing. `file` is the file that it
/// is in: whether an older log is a copy cannot be known.
pub(super) fn migrate(connection: &Connection, file: FileIdentity) -> rusqlite::Result<()> {
    // As a rule; then nothing is written.
    let version = number(connection, "user_version")?;
    if version == VERSION {
        return Ok(());
    }
    let done = migrate_from(version, connection, file);
    if done.is_err() && !connection.is_autocommit() {
        // A full disk has done so itself.
        connection.execute_batch("ROLLBACK")?;
    }
    connection.pragma_update(None, "writable_schema", false)?;
    done
}

fn migrate_from(version: i64, connection: &Connection, file: FileIdentity) -> rusqlite::Result<()> {
    tracing::info!(
        version,
        to = VERSION,
        "the log is of an older version and is being migrated"
    );
    // Together with the version: a crash leaves the old log or the new one.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if version < 3 {
        connection.execute_batch(ADD_CLOCK)?;
    }
    if version < 4 {
        add_epochs(connection, file)?;
    }
    connection.execute_batch(ADD_IDS)?;

    // Comes last, as SQLite does not read the schema's text again before the end.
    let drop_foreign_key = if version < 3 { DROP_FOREIGN_KEY } else { "" };
    change_text(connection, &[drop_foreign_key, ADD_PLACES].concat())?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("COMMIT")?;
    tracing::info!("the log has been migrated");
    Ok(())
}

fn add_epochs(connection: &Connection, file: FileIdentity) -> rusqlite::Result<()> {
    // None is known, as the log has never been known to be a copy.
    connection.execute_batch(CREATE_EARLIER_EPOCHS)?;
    connection.execute_batch("ALTER TABLE bus ADD COLUMN file TEXT")?;
    let set_file = "UPDATE bus SET file = ?1";
    connection.execute(set_file, [file.to_string()]).map(drop)
}

/// Changes the text of the schema.
fn change_text(connection: &Connection, changes: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "writable_schema", true)?;
    connection.execute_batch(changes)?;
    // Other connections read the schema again when its number has changed.
    let schema_version = number(connection, "schema_version")?;
    connection.pragma_update(None, "schema_version", schema_version + 1)
}

/// An empty log in memory.
#[cfg(test)]
pub(super) fn new_in_memory() -> Connection {
    let connection = Connection::open_in_memory().expect("a database");
    connection.execute_batch(CREATE).expect("tables");
    let bus = ["epoch1", "1:2:3"];
    connection.execute(INSERT_BUS, bus).expect("a log");
    connection
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |r| r.get(0))
}
