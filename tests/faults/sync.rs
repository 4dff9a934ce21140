//! Durable before visible: what a sync that takes long, or fails, means to publishers and
//! subscribers (contract §2.2).

use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use crate::common::gateway::{Gateway, Setup};
use crate::common::grpc::client;
use crate::common::read::{ALL, Reader, Step, SubscribeParams, read_all};
use crate::outside::Sqlite3;
use crate::publisher::{Draft, Publisher, WAYS};
use crate::shim::Shim;

/// How long something is watched that must not happen.
const WATCH: Duration = Duration::from_millis(150);

/// One live subscription a transport, behind whatever was published before.
async fn live_readers(gateway: &Gateway) -> Vec<Reader> {
    let mut readers = Vec::new();
    for via in ALL {
        let mut reader = Reader::open(via, gateway, &SubscribeParams::after("latest"))
            .await
            .expect("a subscription");
        reader.until_caught_up().await;
        readers.push(reader);
    }
    readers
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    reqwest::get(format!("{}{path}", gateway.url()))
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

/// Looks everywhere where an event could be seen, by fresh requests.
async fn nothing_after(gateway: &Gateway, last: u64, topics: &Value) {
    let bus = gateway.get("/v1/bus").await;
    assert_eq!((&bus["last"], &bus["events"]), (&json!(last), &json!(last)));
    assert_eq!(gateway.get("/v1/topics").await["topics"], *topics);
    for via in ALL {
        let seen = read_all(via, gateway, &SubscribeParams::earliest()).await;
        assert_eq!(seen.len() as u64, last, "{via:?}");
        let snapshot = SubscribeParams {
            snapshot: true,
            ..SubscribeParams::default()
        };
        let seen = read_all(via, gateway, &snapshot).await;
        assert!(seen.iter().all(|e| e.vid <= last), "{via:?}: {seen:?}");
    }
    let poll = gateway.get(&format!("/v1/poll?after={last}&wait=0")).await;
    assert_eq!((&poll["events"], &poll["vid"]), (&json!([]), &json!(last)));
    let legacy = reqwest::get(format!("{}/backend.php?maxvid=0", gateway.url()))
        .await
        .expect("an answer");
    assert_eq!(legacy.json::<Value>().await.expect("JSON")["vid"], 1);
}

#[tokio::test]
async fn nobody_is_told_of_an_event_while_its_sync_is_held_and_everybody_after() {
    for way in WAYS {
        let shim = Shim::new();
        let gateway = shim.start();
        gateway.publish_numbers("before", 2).await;
        let topics = gateway.get("/v1/topics").await["topics"].clone();
        let mut readers = live_readers(&gateway).await;

        shim.on("hold", "-wal");
        let mut publisher = Publisher::new(way, &gateway.url());
        let mut answer =
            tokio::spawn(async move { publisher.publish(&[Draft::new("held", "id")]).await.all() });
        shim.holds_a_sync().await;
        nothing_after(&gateway, 2, &topics).await;
        let early_answer = tokio::time::timeout(WATCH, &mut answer).await;
        assert!(
            early_answer.is_err(),
            "{way:?} acknowledged what is not durable: {early_answer:?}"
        );
        for reader in &mut readers {
            let early_step = tokio::time::timeout(WATCH, reader.next()).await;
            assert!(
                early_step.is_err(),
                "{way:?}: shown before it is durable: {early_step:?}"
            );
        }

        shim.off("hold");
        assert_eq!(answer.await.expect("the publisher")[0].vid, 3);
        for reader in &mut readers {
            assert_eq!(reader.event().await.0.vid, 3, "{way:?}");
        }
    }
}

#[tokio::test]
async fn publishes_that_wait_for_a_sync_are_made_durable_together() {
    let shim = Shim::new();
    let gateway = shim.start();
    gateway.publish_numbers("before", 1).await;
    shim.on("hold", "-wal");
    let before = shim.log_syncs();
    let mut publishers = Vec::new();
    for n in 0..50 {
        let mut publisher = Publisher::new(WAYS[n % WAYS.len()], &gateway.url());
        let publish = async move {
            publisher
                .publish(&[Draft::new("group", format!("id-{n}"))])
                .await
                .all()
        };
        publishers.push(tokio::spawn(publish));
    }
    shim.holds_a_sync().await;
    gateway
        .until("all are connected", || async {
            gateway.metric("vidette_connections").await >= 50.0
        })
        .await;
    shim.off("hold");
    let mut vids = Vec::new();
    for publisher in publishers {
        vids.push(publisher.await.expect("a publisher")[0].vid);
    }
    vids.sort_unstable();
    assert_eq!(vids, (2..=51).collect::<Vec<_>>());
    let syncs = shim.log_syncs() - before;
    assert!((2..=25).contains(&syncs), "{syncs} syncs for 50 events");
}

#[tokio::test]
async fn there_is_a_sync_before_each_acknowledgement() {
    for way in WAYS {
        let shim = Shim::new();
        let gateway = shim.start();
        let mut publisher = Publisher::new(way, &gateway.url());
        for n in 0..10 {
            let before = shim.log_syncs();
            publisher
                .publish(&[Draft::new("a", format!("id-{n}"))])
                .await
                .all();
            assert!(
                shim.log_syncs() > before,
                "{way:?} acknowledged event {n} without a sync"
            );
        }
    }
}

#[tokio::test]
async fn a_new_data_folder_and_its_name_are_synced_before_the_first_acknowledgement() {
    let shim = Shim::new();
    let gateway = shim.start();
    gateway.publish_numbers("a", 1).await;
    let syncs = shim.syncs();
    let folder = shim.data_dir();
    assert!(
        syncs.contains(&folder),
        "the database's name in the folder: {syncs:?}"
    );
    let parent = folder.parent().expect("a parent").to_owned();
    assert!(
        syncs.contains(&parent),
        "the folder's name in its parent, where the gateway made it: {syncs:?}"
    );
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_published_until_a_restart_and_readers_are_served() {
    for way in WAYS {
        let shim = Shim::new();
        let mut gateway = shim.start();
        let cursor = gateway.publish_numbers("before", 2).await;
        let topics = gateway.get("/v1/topics").await["topics"].clone();
        assert_eq!(status(&gateway, "/readyz").await, 200);
        let mut readers = live_readers(&gateway).await;

        shim.on("fail", "-wal");
        let failed = Publisher::new(way, &gateway.url())
            .publish(&[Draft::new("failed", "failed")])
            .await
            .refused();
        assert!(
            failed.is(503, "broken", Code::Unavailable),
            "{way:?}: {failed:?}"
        );
        shim.has_failed_a_sync().await;
        shim.off("fail");

        let before = shim.syncs().len();
        for next in WAYS {
            let later = Publisher::new(next, &gateway.url())
                .publish(&[Draft::new("later", "later")])
                .await
                .refused();
            assert!(
                later.is(503, "broken", Code::Unavailable),
                "{next:?}: {later:?}"
            );
            assert!(
                later.detail().contains("restart"),
                "it says what to do: {later:?}"
            );
        }
        assert_eq!(
            shim.syncs().len(),
            before,
            "a failed sync is not tried again as if nothing had happened"
        );
        assert_eq!(status(&gateway, "/readyz").await, 503);
        assert_eq!(status(&gateway, "/healthz").await, 200);
        nothing_after(&gateway, 2, &topics).await;
        for reader in &mut readers {
            assert!(
                tokio::time::timeout(WATCH, reader.next()).await.is_err(),
                "{way:?}: shown though it failed"
            );
        }
        let grpc = client(&gateway.url())
            .await
            .get_bus(vidette::proto::GetBusRequest {})
            .await
            .expect("served");
        assert_eq!(grpc.into_inner().last, 2);

        drop(readers);
        assert!(gateway.terminate().await.success());
        gateway.start_again();
        assert_eq!(status(&gateway, "/readyz").await, 200);
        let mut publisher = Publisher::new(way, &gateway.url());
        let vid = publisher
            .publish(&[Draft::new("after", "after")])
            .await
            .all()[0]
            .vid;
        for via in ALL {
            let seen = read_all(via, &gateway, &SubscribeParams::after(cursor.clone())).await;
            assert_eq!(
                seen.last().map(|e| (e.vid, e.id.as_str())),
                Some((vid, "after")),
                "{via:?}"
            );
            assert!(
                seen.iter()
                    .all(|e| matches!(e.id.as_str(), "failed" | "after")),
                "refused ones are gone: {seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_batch_whose_sync_fails_is_not_there_in_part() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    shim.on("fail", "-wal");
    let batch: Vec<Draft> = (0..500)
        .map(|n| Draft::new("batch", format!("id-{n}")))
        .collect();
    let refused = Publisher::new(crate::publisher::Way::Events, &gateway.url())
        .publish(&batch)
        .await
        .refused();
    assert!(refused.is(503, "broken", Code::Unavailable), "{refused:?}");
    gateway.kill();
    shim.off("fail");
    gateway.start_again();
    let events = read_all(ALL[0], &gateway, &SubscribeParams::earliest())
        .await
        .len();
    assert!(events == 0 || events == 500, "all or nothing, not {events}");
}

/// A refused event may come back after a restart, from the page cache. Once somebody has seen it,
/// no power cut takes it away, and its vid is nobody else's. After a failed sync the kernel takes
/// what was written for clean, so that merely syncing again would do nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_finds_is_durable_before_it_is_seen() {
    // With another program that has recovered the log before the gateway does, and reads on.
    for is_read in [false, true] {
        let shim = Shim::new();
        let mut gateway = shim.start();
        gateway.publish_numbers("before", 2).await;
        shim.on("fail", "-wal");
        Publisher::new(WAYS[0], &gateway.url())
            .publish(&[Draft::new("failed", "failed")])
            .await
            .refused();
        gateway.kill();
        shim.off("fail");
        let _reader = is_read.then(|| Sqlite3::reading(&shim.data_dir()));

        tokio::task::block_in_place(|| gateway.start_again());
        let seen = read_all(ALL[0], &gateway, &SubscribeParams::earliest()).await;
        assert_eq!(seen.len(), 3, "the page cache had it: {seen:?}");
        gateway.kill();
        let after =
            tokio::task::block_in_place(|| Gateway::start_at(Setup::default(), &shim.shadow()));
        let kept = read_all(ALL[0], &after, &SubscribeParams::earliest()).await;
        assert_eq!(kept, seen, "a power cut took what had been seen");
    }
}

#[tokio::test]
async fn retention_whose_sync_fails_ends_publishing_too() {
    let shim = Shim::new();
    let gateway = shim.start_with("[retention]\nmax_events = 5".into());
    gateway.publish_numbers("a", 5).await;
    let mut reader = Reader::open(ALL[1], &gateway, &SubscribeParams::after("latest"))
        .await
        .expect("a subscription");
    reader.until_caught_up().await;
    gateway.publish_numbers("a", 5).await;
    shim.on("fail", "-wal");
    // Either trimming or publishing meets the failing sync first; after it neither goes on.
    shim.has_failed_a_sync().await;
    gateway
        .until("it is not ready", || async {
            status(&gateway, "/readyz").await == 503
        })
        .await;
    shim.off("fail");
    let refused = Publisher::new(WAYS[0], &gateway.url())
        .publish(&[Draft::new("a", "x")])
        .await
        .refused();
    assert!(refused.is(503, "broken", Code::Unavailable), "{refused:?}");
    assert_eq!(reader.events(5).await.last().expect("events").vid, 10);
    assert!(!matches!(
        tokio::time::timeout(WATCH, reader.next()).await,
        Ok(Ok(Some(Step::Event(..))))
    ));
}
