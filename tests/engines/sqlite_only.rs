//! What only an engine on disk can promise.

use std::time::Duration;

use vidette::engine::{Bounds, PageBudget, Retention, SqliteEngine};
use vidette::limits::TRIM_STEP_ROWS;

use crate::bench::{Bench, T0, event, event_with_id, keep};

#[tokio::test]
async fn a_log_that_is_opened_again_is_as_it_was() {
    let mut bench = Bench::sqlite();
    bench
        .append(
            vec![
                event_with_id("a.1", "x", "1"),
                event("a.2", "2"),
                event("b", "3"),
            ],
            T0,
        )
        .await;
    let read = async |bench: &Bench| format!("{:?}", bench.read(0, 3, &[]).await);
    let before = (
        bench.engine().state().lineage.epoch().clone(),
        bench.engine().state().bounds,
        bench.engine().state().sizes,
        read(&bench).await,
    );
    for _ in 0..3 {
        bench.reopen();
        let now = (
            bench.engine().state().lineage.epoch().clone(),
            bench.engine().state().bounds,
            bench.engine().state().sizes,
            read(&bench).await,
        );
        assert_eq!(now, before);
    }
    let receipts = bench
        .append(
            vec![event_with_id("a.1", "x", "1"), event("a.1", "4")],
            T0 + 1,
        )
        .await;
    assert_eq!(
        (receipts[0].vid, receipts[0].duplicate),
        (1, true),
        "ids are kept"
    );
    assert_eq!(receipts[1].vid, 4);
    assert_eq!(
        bench.read_all(&["a.*"], PageBudget::of_events(1)).await,
        [1, 2, 4]
    );
}

#[tokio::test]
async fn a_log_that_was_trimmed_to_nothing_never_gives_a_vid_again() {
    let mut bench = Bench::sqlite();
    for last in (2..=20).step_by(2) {
        bench
            .append(vec![event("a", "1"), event("b", "2")], T0)
            .await;
        let retention = Retention {
            max_age: Duration::ZERO,
            ..keep()
        };
        assert_eq!(
            bench
                .engine()
                .trim(retention, T0 + 1)
                .await
                .expect("a step")
                .trimmed,
            2
        );
        bench.reopen();
        assert_eq!(
            bench.engine().state().bounds,
            Bounds {
                first: last + 1,
                last
            }
        );
    }
}

#[tokio::test]
async fn a_folder_is_held_by_one_engine_at_a_time() {
    let mut bench = Bench::sqlite();
    bench.append(vec![event("a", "1")], T0).await;
    let Err(refused) = SqliteEngine::open(&bench.data_dir(), Duration::from_secs(1)) else {
        panic!("opened twice")
    };
    assert!(
        refused
            .to_string()
            .contains(&format!("pid {}", std::process::id())),
        "{refused}"
    );
    assert_eq!(
        bench.append(vec![event("a", "2")], T0).await[0].vid,
        2,
        "the holder goes on"
    );
    bench.reopen();
    assert_eq!(bench.engine().state().bounds, Bounds { first: 1, last: 2 });
}

/// Nothing may grow without bound, and the index of topics is trimmed in the same steps as the
/// events.
#[tokio::test]
async fn trimming_leaves_nothing_behind_of_the_events_it_took() {
    let mut bench = Bench::sqlite();
    // A topic that lives on, with one event in the first half of each block of 4096 vids.
    for _ in 0..5 {
        bench.append_many("busy", 500, T0).await;
        bench.append(vec![event("rare", "x")], T0).await;
        bench.append_many("busy", 3595, T0).await;
    }
    bench
        .append(
            vec![event("rare", "x"), event_with_id("busy", "x", "x")],
            T0,
        )
        .await;
    let retention = Retention {
        max_events: 2,
        max_age: Duration::from_secs(1),
        ..keep()
    };
    while bench
        .engine()
        .trim(retention, T0)
        .await
        .expect("a step")
        .more
    {}
    let Bounds { first, last } = bench.engine().state().bounds;
    assert_eq!((first, last), (20_481, 20_482));
    bench.close();

    let connection = rusqlite::Connection::open(bench.database()).expect("the database");
    let count = |sql: &str| {
        connection
            .query_row(sql, [], |r| r.get::<_, i64>(0))
            .expect(sql)
    };
    assert_eq!(count("SELECT count(*) FROM events"), 2);
    assert_eq!(count("SELECT count(*) FROM topics"), 2);
    assert_eq!(count("SELECT count(*) FROM dedupe"), 1);
    let left =
        count("SELECT count(*) FROM topic_blocks WHERE block < (SELECT first_vid FROM bus) / 4096");
    assert_eq!(left, 0, "rows of blocks that have no event any more");
    assert!(count("SELECT count(*) FROM topic_blocks") <= 2);
}

#[tokio::test]
async fn the_index_agrees_with_the_events_as_far_as_it_goes() {
    let mut bench = Bench::sqlite();
    let is_so = |bench: &Bench, sql: &str| {
        let connection = rusqlite::Connection::open(bench.database()).expect("the database");
        assert!(
            connection
                .query_row(sql, [], |r| r.get::<_, bool>(0))
                .expect("an answer"),
            "{sql}"
        );
    };
    for n in 0..50 {
        let topic = format!("topic.{}", n % 7);
        bench
            .append(
                vec![
                    event_with_id(&topic, &format!("id {}", n % 30), "x"),
                    event("b", "y"),
                ],
                T0 + n,
            )
            .await;
        bench
            .append_many(&topic, n.unsigned_abs() * 7, T0 + n)
            .await;
        let retention = Retention {
            max_events: 3000,
            ..keep()
        };
        bench
            .engine()
            .trim(retention, T0 + n)
            .await
            .expect("a step");
        is_so(
            &bench,
            "SELECT first_vid = (SELECT min(vid) FROM events)
                AND events = (SELECT count(*) FROM events WHERE vid <= last_vid)
                AND bytes = (SELECT ifnull(sum(bytes), 0) FROM events WHERE vid <= last_vid)
                AND (SELECT count(*) FROM events WHERE vid > last_vid) < 1024 + 400 FROM bus",
        );
        is_so(
            &bench,
            "SELECT NOT EXISTS (
                SELECT 1 FROM topics
                WHERE newest_vid <= (SELECT last_vid FROM bus) AND newest_vid < (
                    SELECT max(vid) FROM events, bus
                    WHERE events.topic_id = topics.topic_id AND vid <= last_vid
                )
            )",
        );
        is_so(
            &bench,
            "SELECT NOT EXISTS (SELECT topic_id, vid / 4096 FROM events, bus WHERE vid <= last_vid
                EXCEPT SELECT topic_id, block FROM topic_blocks)",
        );
        is_so(
            &bench,
            "SELECT NOT EXISTS (
                SELECT 1 FROM topic_blocks WHERE length(places) < 2 * (
                    SELECT count(*) FROM events, bus WHERE vid <= last_vid
                        AND events.topic_id = topic_blocks.topic_id AND vid / 4096 = block
                )
            )",
        );
        is_so(
            &bench,
            "SELECT ids = (SELECT count(*) FROM dedupe WHERE vid <= last_vid) FROM bus",
        );
    }
    let before = (bench.engine().state().bounds, bench.engine().state().sizes);
    bench.reopen();
    assert_eq!(
        (bench.engine().state().bounds, bench.engine().state().sizes),
        before,
        "what is behind the index is counted"
    );
}

/// Retention leaves the writer to publishers between its steps, so each has to be a small one.
#[tokio::test]
async fn no_step_deletes_more_than_its_bound_of_anything() {
    let bench = Bench::sqlite();
    for block in 0..4 {
        for part in 0..4 {
            let one = |n| event_with_id(&format!("t.{n}"), &format!("{block} {part} {n}"), "x");
            bench
                .append((part * 1024..(part + 1) * 1024).map(one).collect(), T0)
                .await;
        }
    }
    let connection = rusqlite::Connection::open(bench.database()).expect("the database");
    let counts = || {
        ["events", "topics", "topic_blocks", "dedupe"].map(|table| {
            let sql = format!("SELECT count(*) FROM {table}");
            connection
                .query_row(&sql, [], |r| r.get::<_, i64>(0))
                .expect("a count")
        })
    };
    let none = Retention {
        max_events: 0,
        ..keep()
    };
    let (mut before, later) = (counts(), T0 + 1_000_000);
    loop {
        let step = bench.engine().trim(none, later).await.expect("a step");
        let after = counts();
        for (before, after) in before.into_iter().zip(after) {
            // A row of the index may go with each of the topics, too.
            let deleted = before - after;
            assert!(
                deleted <= 2 * i64::from(TRIM_STEP_ROWS),
                "{deleted} in one step"
            );
        }
        before = after;
        if !step.more {
            break;
        }
    }
    // The newest topic stays, so that its number is not given to another one.
    assert_eq!(counts(), [0, 1, 1, 0]);
}
