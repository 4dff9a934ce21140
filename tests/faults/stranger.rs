//! Somebody else has the database open, as a person with `sqlite3` may.

use rusqlite::Connection;
use tonic::Code;

use crate::common::gateway::Gateway;
use crate::common::read::{ALL, SubscribeParams, read_all};
use crate::health::status;
use crate::publisher::{Draft, Publisher, WAYS, Way};

fn open(gateway: &Gateway) -> Connection {
    Connection::open(gateway.data_dir().join("vidette.db")).expect("the database")
}

#[tokio::test]
async fn who_holds_the_write_lock_for_long_has_publishers_refused_and_breaks_nothing() {
    let gateway = Gateway::start();
    gateway.publish_numbers("a", 2).await;
    let stranger = open(&gateway);
    stranger
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    let refused = Publisher::new(Way::Events, &gateway.url())
        .publish(&[Draft::new("a", "early")])
        .await
        .refused();
    assert!(refused.is(503, "locked", Code::Unavailable), "{refused:?}");
    for via in ALL {
        assert_eq!(
            read_all(via, &gateway, &SubscribeParams::earliest())
                .await
                .len(),
            2,
            "{via:?}: readers do not wait"
        );
    }
    stranger.execute_batch("ROLLBACK").expect("it ends");
    // Who holds it for a moment only is waited for.
    let is_ready = async || status(&gateway, "/readyz").await == 200;
    gateway.until("it is ready", is_ready).await;
    stranger
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    let waiting =
        tokio::spawn(async move { publisher.publish(&[Draft::new("a", "late")]).await.all() });
    stranger.execute_batch("ROLLBACK").expect("it ends");
    assert_eq!(waiting.await.expect("a publisher")[0].vid, 3);
    for (vid, way) in (4..).zip(WAYS) {
        let acks = Publisher::new(way, &gateway.url())
            .publish(&[Draft::new("a", format!("{way:?}"))])
            .await
            .all();
        assert_eq!((acks[0].vid, acks[0].duplicate), (vid, false), "{way:?}");
    }
    assert_eq!(status(&gateway, "/readyz").await, 200);
}

#[tokio::test]
async fn who_reads_for_long_holds_nobody_up() {
    let gateway = Gateway::start();
    gateway.publish_numbers("a", 2).await;
    let mut stranger = open(&gateway);
    let snapshot = stranger.transaction().expect("a transaction");
    let count = || {
        snapshot
            .query_row("SELECT count(*) FROM events", [], |r| r.get::<_, i64>(0))
            .expect("a count")
    };
    assert_eq!(count(), 2);
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    for n in 0..8 {
        let batch: Vec<Draft> = (0..10)
            .map(|m| Draft::of_size("a", format!("{n}-{m}"), 300_000))
            .collect();
        publisher.publish(&batch).await.all();
    }
    assert_eq!(count(), 2, "it has its own view");
    for via in ALL {
        assert_eq!(
            read_all(via, &gateway, &SubscribeParams::earliest())
                .await
                .len(),
            82,
            "{via:?}"
        );
    }
}
