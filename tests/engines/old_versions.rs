//! Logs on disk that an older vidette has left.

use std::time::Duration;

use vidette::engine::{Bounds, PageBudget, Retention};

use crate::bench::{Bench, T0, event, filter, keep};
use crate::common::closing::all_closed;

/// The tables as they were up to version 2, with a foreign key that has no index.
const VERSION_2: &str = "
PRAGMA application_id = 1986294900;
PRAGMA user_version = 2;
CREATE TABLE bus (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    epoch         TEXT    NOT NULL,
    first_vid     INTEGER NOT NULL,
    last_vid      INTEGER NOT NULL,
    last_time_ms  INTEGER NOT NULL,
    events        INTEGER NOT NULL,
    bytes         INTEGER NOT NULL
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
CREATE TABLE topic_blocks (
    topic_id  INTEGER NOT NULL,
    block     INTEGER NOT NULL,
    PRIMARY KEY (topic_id, block)
) STRICT, WITHOUT ROWID;
CREATE INDEX topic_blocks_by_block ON topic_blocks (block);
CREATE TABLE dedupe (
    vid      INTEGER PRIMARY KEY,
    time_ms  INTEGER NOT NULL,
    id       TEXT    NOT NULL UNIQUE
) STRICT;
INSERT INTO bus VALUES (1, 'k3x9q2ab', 1, 0, 0, 0, 0);
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
    INSERT INTO topics SELECT n, 'door.' || n, n FROM n;
INSERT INTO events
    SELECT topic_id, 1800000000000, topic_id, 50, NULL, NULL, 'text/plain', NULL, x'78' FROM topics;
";

/// As version 1 had it: the index is never behind the events.
const NEVER_BEHIND: &str = "
INSERT INTO topic_blocks SELECT topic_id, 0 FROM topics;
UPDATE bus SET last_vid = 500, last_time_ms = 1800000000000, events = 500, bytes = 25000;
PRAGMA user_version = 1;
";

/// What version 3 had more: a clock that never jumps, and no foreign key.
const VERSION_3: &str = "
ALTER TABLE events ADD COLUMN skew_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bus ADD COLUMN noted_time_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bus ADD COLUMN noted_counted_ms INTEGER NOT NULL DEFAULT 0;
UPDATE bus SET noted_time_ms = 1800000000000, noted_counted_ms = 1800000000000;
PRAGMA writable_schema = 1;
UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES topics', '') WHERE name = 'events';
PRAGMA writable_schema = 0;
PRAGMA user_version = 3;
";

/// What version 4 had more, with two ids that it remembers, and its index.
const VERSION_4: &str = "
ALTER TABLE bus ADD COLUMN file TEXT;
CREATE TABLE earlier_epochs (
    place INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, good_through INTEGER NOT NULL
) STRICT;
INSERT INTO dedupe VALUES (7, 1800000000000, 'seven'), (9, 1800000000000, 'nine');
INSERT INTO topic_blocks SELECT topic_id, 0 FROM topics;
UPDATE bus SET last_vid = 500, last_time_ms = 1800000000000, events = 500, bytes = 25000;
PRAGMA user_version = 4;
";

async fn old_log(sql: &str) -> Bench {
    let mut bench = Bench::sqlite();
    bench.close();
    let database = bench.database();
    let data_dir = database.parent().expect("a folder");
    all_closed(data_dir).await;
    std::fs::remove_dir_all(data_dir).expect("the new log is removed");
    std::fs::create_dir(data_dir).expect("a folder");
    let connection = rusqlite::Connection::open(&database).expect("a database");
    connection.execute_batch(sql).expect("an old log");
    drop(connection);
    bench.reopen();
    bench
}

#[tokio::test]
async fn a_log_whose_index_was_never_behind_is_taken_over() {
    let bench = old_log(&format!("{VERSION_2}{NEVER_BEHIND}")).await;
    bench.append(vec![event("door.1", "y")], T0).await;
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 1,
            last: 501
        }
    );
    let read = bench.read_all(&["door.1", "door.7"], PageBudget::of_events(1));
    assert_eq!(read.await, [1, 7, 501]);
}

/// It grows older from where it was: the last event came just now, as far as the log knows.
#[tokio::test]
async fn a_log_of_an_older_version_keeps_its_ages() {
    let bench = old_log(&format!(
        "{VERSION_2} UPDATE events SET time_ms = time_ms - 60000 WHERE vid <= 200;"
    ))
    .await;
    let newest = bench.engine().newest_moment().expect("it has events");
    assert_eq!((newest.time_ms, newest.counted_ms), (T0, T0));
    let half_a_minute = Retention {
        max_age: Duration::from_secs(30),
        ..keep()
    };
    let step = bench
        .engine()
        .trim(half_a_minute, T0)
        .await
        .expect("a step");
    assert_eq!((step.trimmed, step.more), (200, false));
}

#[tokio::test]
async fn a_log_with_a_foreign_key_is_taken_over_without_it() {
    let mut bench = old_log(VERSION_2).await;
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 1,
            last: 500
        }
    );
    bench.append(vec![event("door.1", "y")], T0).await;
    let retention = Retention {
        max_events: 2,
        ..keep()
    };
    let step = bench.engine().trim(retention, T0).await.expect("a step");
    assert_eq!((step.trimmed, step.more), (499, false));
    let topics = bench
        .engine()
        .topics(filter(&[]), None, 9)
        .await
        .expect("topics");
    let topics: Vec<_> = topics
        .iter()
        .map(|(topic, vid)| (topic.as_str(), *vid))
        .collect();
    assert_eq!(topics, [("door.1", 501), ("door.500", 500)]);
    bench.reopen();
    assert_eq!(
        bench.read_all(&[], PageBudget::of_events(9)).await,
        [500, 501]
    );
    bench.close();

    let connection = rusqlite::Connection::open(bench.database()).expect("the database");
    let one = |sql: &str| {
        connection
            .query_row(sql, [], |r| r.get::<_, String>(0))
            .expect(sql)
    };
    assert_eq!(
        one("SELECT count(*) || '' FROM pragma_foreign_key_list('events')"),
        "0"
    );
    assert_eq!(
        one("SELECT user_version || '' FROM pragma_user_version"),
        "5"
    );
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    let sql = one("SELECT sql FROM sqlite_schema WHERE name = 'events'");
    assert!(sql.contains("topic_id      INTEGER NOT NULL,\n"), "{sql}");
}

/// Whether an older log is a copy cannot be known, so it goes on; from then on it can.
#[tokio::test]
async fn a_log_that_does_not_know_its_file_keeps_its_epoch_and_learns_it() {
    let mut bench = old_log(&format!("{VERSION_2}{VERSION_3}")).await;
    let lineage = bench.engine().state().lineage.clone();
    assert_eq!(lineage.epoch().as_str(), "k3x9q2ab");
    assert!(lineage.earlier().is_empty());
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 1,
            last: 500
        }
    );
    bench.append(vec![event("door.1", "y")], T0).await;
    bench.reopen();
    assert_eq!(bench.engine().state().lineage, lineage);

    bench.close();
    let one = |sql: &str| -> i64 {
        let connection = rusqlite::Connection::open(bench.database()).expect("the database");
        connection.query_row(sql, [], |r| r.get(0)).expect(sql)
    };
    assert_eq!(one("SELECT user_version FROM pragma_user_version"), 5);
    assert_eq!(one("SELECT file IS NOT NULL FROM bus"), 1);
}

/// Its blocks are looked through, as it did not note where in them a topic has events.
#[tokio::test]
async fn a_log_that_has_no_places_in_its_index_gets_them_as_it_goes_on() {
    let mut bench = old_log(&format!("{VERSION_2}{VERSION_3}{VERSION_4}")).await;
    bench.append_many("other", 3000, T0).await;
    bench.append_many("other", 3000, T0).await;
    bench.append(vec![event("door.1", "y")], T0).await;
    bench.append_many("other", 3000, T0).await;
    bench.reopen();
    let read = bench.read_all(&["door.1", "door.7", "*.9"], PageBudget::of_events(1));
    assert_eq!(read.await, [1, 7, 9, 6501]);

    bench.close();
    let one = |sql: &str| -> String {
        let connection = rusqlite::Connection::open(bench.database()).expect("the database");
        connection.query_row(sql, [], |r| r.get(0)).expect(sql)
    };
    assert_eq!(one("SELECT ids || '' FROM bus"), "2");
    assert_eq!(
        one("SELECT hex(places) FROM topic_blocks WHERE topic_id = 1 AND block = 1"),
        "0965"
    );
    assert_eq!(one("PRAGMA integrity_check"), "ok");
}
