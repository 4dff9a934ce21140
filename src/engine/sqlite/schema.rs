//! The tables, as `sqlite3 vidette.db .schema` shows them.
//!
//! Invariants:
//! - a database of another program or of a newer schema is refused, never changed;
//! - `bus` has one row, which each transaction that writes brings up to date.

/// `PRAGMA application_id`: the letters "vdtt".
pub(super) const APPLICATION_ID: i64 = 0x7664_7474;

/// `PRAGMA user_version`.
pub(super) const VERSION: i64 = 1;

/// Makes a new log. The epoch is the only parameter.
pub(super) const CREATE: &str = "
CREATE TABLE bus (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    epoch         TEXT    NOT NULL,
    first_vid     INTEGER NOT NULL, -- the oldest retained; last_vid + 1 when the log is empty
    last_vid      INTEGER NOT NULL, -- the newest ever given
    last_time_ms  INTEGER NOT NULL, -- the time of last_vid
    events        INTEGER NOT NULL, -- retained
    bytes         INTEGER NOT NULL  -- of retained events, as retention counts them
) STRICT;

CREATE TABLE topics (
    topic_id    INTEGER PRIMARY KEY,
    topic       TEXT    NOT NULL UNIQUE,
    newest_vid  INTEGER NOT NULL
) STRICT;
CREATE INDEX topics_by_newest ON topics (newest_vid);

CREATE TABLE events (
    vid           INTEGER PRIMARY KEY,
    time_ms       INTEGER NOT NULL, -- since 1970; never falls
    topic_id      INTEGER NOT NULL REFERENCES topics,
    bytes         INTEGER NOT NULL, -- as retention counts them
    type          TEXT,
    id            TEXT,
    content_type  TEXT    NOT NULL,
    headers       TEXT,             -- a JSON array of [name, value] pairs
    data          BLOB    NOT NULL
) STRICT;

-- In which blocks of 4096 vids a topic has events.
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
