//! What only an engine on disk can promise.

use std::time::Duration;

use vidette::engine::{self, Bounds, PageBudget, Retention};

use crate::bench::{Bench, T0, event, event_with_id, keep};

#[tokio::test]
async fn a_log_that_is_opened_again_is_as_it_was() {
    let mut bench = Bench::sqlite();
    bench.append(vec![event_with_id("a.1", "x", "1"), event("a.2", "2"), event("b", "3")], T0).await;
    let read = async |bench: &Bench| format!("{:?}", bench.read(0, 3, &[]).await);
    let before = (bench.engine().epoch().clone(), bench.engine().bounds(), bench.engine().sizes(), read(&bench).await);
    for _ in 0..3 {
        bench.reopen();
        let now = (bench.engine().epoch().clone(), bench.engine().bounds(), bench.engine().sizes(), read(&bench).await);
        assert_eq!(now, before);
    }
    let receipts = bench.append(vec![event_with_id("a.1", "x", "1"), event("a.1", "4")], T0 + 1).await;
    assert_eq!((receipts[0].vid, receipts[0].duplicate), (1, true), "ids are kept");
    assert_eq!(receipts[1].vid, 4);
    assert_eq!(bench.read_all(&["a.*"], PageBudget::of_events(1)).await, [1, 2, 4]);
}

#[tokio::test]
async fn a_log_that_was_trimmed_to_nothing_never_gives_a_vid_again() {
    let mut bench = Bench::sqlite();
    for last in (2..=20).step_by(2) {
        bench.append(vec![event("a", "1"), event("b", "2")], T0).await;
        let retention = Retention { max_age: Duration::ZERO, ..keep() };
        assert_eq!(bench.engine().trim(retention, T0 + 1).await.expect("a step").trimmed, 2);
        bench.reopen();
        assert_eq!(bench.engine().bounds(), Bounds { first: last + 1, last });
    }
}

#[tokio::test]
async fn a_folder_is_held_by_one_engine_at_a_time() {
    let mut bench = Bench::sqlite();
    bench.append(vec![event("a", "1")], T0).await;
    let Err(refused) = engine::open(bench.kind(), Duration::from_secs(1)) else { panic!("opened twice") };
    assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
    assert_eq!(bench.append(vec![event("a", "2")], T0).await[0].vid, 2, "the holder goes on");
    bench.reopen();
    assert_eq!(bench.engine().bounds(), Bounds { first: 1, last: 2 });
}

/// Nothing may grow without bound, and the index of topics is trimmed in the same steps as the events.
#[tokio::test]
async fn trimming_leaves_nothing_behind_of_the_events_it_took() {
    let mut bench = Bench::sqlite();
    // A topic that lives on, with one event in the first half of each block of 4096 vids.
    for _ in 0..5 {
        bench.append_many("busy", 500, T0).await;
        bench.append(vec![event("rare", "x")], T0).await;
        bench.append_many("busy", 3595, T0).await;
    }
    bench.append(vec![event("rare", "x"), event_with_id("busy", "x", "x")], T0).await;
    let retention = Retention { max_events: 2, max_age: Duration::from_secs(1), ..keep() };
    while bench.engine().trim(retention, T0).await.expect("a step").more {}
    let Bounds { first, last } = bench.engine().bounds();
    assert_eq!((first, last), (20_481, 20_482));
    bench.close();

    let connection = rusqlite::Connection::open(bench.database()).expect("the database");
    let count = |sql: &str| connection.query_row(sql, [], |r| r.get::<_, i64>(0)).expect(sql);
    assert_eq!(count("SELECT count(*) FROM events"), 2);
    assert_eq!(count("SELECT count(*) FROM topics"), 2);
    assert_eq!(count("SELECT count(*) FROM dedupe"), 1);
    let left = count("SELECT count(*) FROM topic_blocks WHERE block < (SELECT first_vid FROM bus) / 4096");
    assert_eq!(left, 0, "rows of blocks that have no event any more");
    assert_eq!(count("SELECT count(*) FROM topic_blocks"), 2);
}

#[tokio::test]
async fn the_state_row_agrees_with_the_events() {
    let mut bench = Bench::sqlite();
    for n in 0..50 {
        bench.append(vec![event_with_id("a", &format!("id {}", n % 30), "x"), event("b", "y")], T0 + n).await;
        let retention = Retention { max_events: 20, ..keep() };
        bench.engine().trim(retention, T0 + n).await.expect("a step");
    }
    bench.close();
    let connection = rusqlite::Connection::open(bench.database()).expect("the database");
    let agrees: bool = connection
        .query_row(
            "SELECT first_vid = (SELECT min(vid) FROM events) AND last_vid = (SELECT max(vid) FROM events)
                AND events = (SELECT count(*) FROM events) AND bytes = (SELECT sum(bytes) FROM events) FROM bus",
            [],
            |r| r.get(0),
        )
        .expect("the row");
    assert!(agrees);
    let newest_agree: bool = connection
        .query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM topics WHERE newest_vid IS NOT
                (SELECT max(vid) FROM events WHERE events.topic_id = topics.topic_id))",
            [],
            |r| r.get(0),
        )
        .expect("the topics");
    assert!(newest_agree);
}
