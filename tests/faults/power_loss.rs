//! A power cut: what was acknowledged, and what anybody has seen, is still there (contract §2.2,
//! §2.3).

use std::time::Duration;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Reader, Seen, SubscribeParams, Transport, read_all};
use crate::publisher::{Draft, Publisher, WAYS, Way};
use crate::shim::Shim;
use crate::subscriber::Subscriber;
use crate::whole_log::{Comparison, PublishRecord};
use crate::writer::{Patience, Shared, write};

/// Kills the gateway, and starts another one on what the disk has kept.
fn cut_the_power(gateway: &mut Gateway, shim: &Shim) -> Gateway {
    gateway.kill();
    shim.cut_power();
    Gateway::start_at(Setup::default(), &shim.data_dir())
}

/// Publishes by all ways at once, cuts the power, and compares with what came back.
async fn publish_and_cut(lie: bool) -> Comparison {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let shared = Shared::default();
    let subscribers: Vec<_> = ALL
        .map(|via| Subscriber::start(via, &gateway.url(), &[]))
        .into();
    let mut writers = Vec::new();
    for (n, way) in (0..).zip(WAYS) {
        let name = format!("{way:?}").to_lowercase();
        let writer = write(
            way,
            name,
            gateway.url(),
            Patience::GivesUp,
            shared.clone(),
            n,
        );
        writers.push(tokio::spawn(writer));
    }
    let acknowledged = || shared.record.lock().expect("the record").acknowledgements();
    gateway
        .until("there are acknowledgements", || async {
            acknowledged() >= 150
        })
        .await;
    if lie {
        shim.on("lie", "");
    }
    let more = acknowledged() + 150;
    gateway
        .until("there are more", || async { acknowledged() >= more })
        .await;
    let restarted = tokio::task::block_in_place(|| cut_the_power(&mut gateway, &shim));
    shared.stop();
    let seen = subscribers
        .iter()
        .map(|subscriber| subscriber.received().events);
    let seen: Vec<Vec<Seen>> = seen.collect();
    for writer in writers {
        writer.await.expect("a writer");
    }

    let mut record = shared.record.lock().expect("the record").clone();
    for events in &seen {
        record.subscriber_saw(&[], events);
    }
    record.compare(&read_all(Transport::Grpc, &restarted, &SubscribeParams::earliest()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_acknowledged_or_seen() {
    let found = publish_and_cut(false).await;
    println!("{found}");
    assert!(found.is_clean() && found.acknowledged >= 300, "{found}");
}

/// The test of the test: a disk that says it has synced and has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_about_its_syncs_is_found_out_by_the_checker() {
    let found = publish_and_cut(true).await;
    println!("{found}");
    assert!(found.findings.lost > 0, "{found}");
}

/// An event that was on its way to the disk when the gateway was killed may come back with the next
/// one. Then it must be durable before anybody sees it, like any other: its vid would be given
/// again after a power cut.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_back_after_a_kill_is_durable_before_it_is_seen() {
    for how in ["hold", "fail"] {
        let shim = Shim::new();
        let mut gateway = shim.start();
        gateway.publish_numbers("before", 1).await;
        shim.on(how, "-wal");
        let mut publisher = Publisher::new(Way::Events, &gateway.url());
        let publishing =
            tokio::spawn(async move { publisher.publish(&[Draft::new("late", "late")]).await });
        if how == "hold" {
            shim.holds_a_sync().await;
        } else {
            shim.has_failed_a_sync().await;
        }
        let restarted = tokio::task::block_in_place(|| {
            gateway.kill();
            shim.off(how);
            gateway.start_again();
            &mut gateway
        });
        assert!(publishing.await.expect("the publisher").acks.is_empty());

        let mut seen = Vec::new();
        for via in ALL {
            seen.push(read_all(via, restarted, &SubscribeParams::earliest()).await);
        }
        let after = tokio::task::block_in_place(|| cut_the_power(restarted, &shim));
        let log = read_all(Transport::Poll, &after, &SubscribeParams::earliest()).await;
        for (via, seen) in ALL.iter().zip(&seen) {
            assert!(
                log.starts_with(seen),
                "{how}, {via:?}: seen before it was durable, gone after a power cut: {seen:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_vids_and_ids_go_on_where_they_were() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let mut record = PublishRecord::default();
    let drafts: Vec<Draft> = (0..20)
        .map(|n| Draft::new("a", format!("id-{n}")))
        .collect();
    record.sending(&drafts);
    let acks = Publisher::new(Way::Ndjson, &gateway.url())
        .publish(&drafts)
        .await
        .all();
    record.acknowledged(&drafts, &acks);

    let after = tokio::task::block_in_place(|| cut_the_power(&mut gateway, &shim));
    let again = Publisher::new(Way::PublishStream, &after.url())
        .publish(&drafts)
        .await
        .all();
    assert!(again.iter().all(|ack| ack.duplicate), "{again:?}");
    record.acknowledged(&drafts, &again);
    let cursor = acks[9].cursor.clone();
    let mut reader = Reader::open(Transport::Sse, &after, &SubscribeParams::after(cursor))
        .await
        .expect("a subscription");
    let (steps, _) = tokio::time::timeout(Duration::from_secs(10), reader.until_caught_up())
        .await
        .expect("in time");
    assert_eq!(
        steps.len(),
        1 + 10,
        "hello and ten events, no gap: {steps:?}"
    );
    let found =
        record.compare(&read_all(Transport::Poll, &after, &SubscribeParams::earliest()).await);
    assert!(found.is_clean(), "{found}");
}

/// Whoever has seen it may come back with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_of_a_copy_is_durable_before_it_is_seen() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let cursor = gateway.publish_numbers("a", 3).await;
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    let database = shim.data_dir().join("vidette.db");
    let copy = database.with_extension("copy");
    std::fs::copy(&database, &copy).expect("a copy");
    std::fs::rename(&copy, &database).expect("it takes the place of the database");

    let restarted = tokio::task::block_in_place(|| {
        gateway.start_again();
        &mut gateway
    });
    let begun = restarted.get("/v1/bus").await["epoch"].clone();
    assert!(!cursor.ends_with(begun.as_str().expect("an epoch")));
    let after = tokio::task::block_in_place(|| cut_the_power(restarted, &shim));
    assert_eq!(after.get("/v1/bus").await["epoch"], begun);
    for via in ALL {
        let read = read_all(via, &after, &SubscribeParams::after(cursor.clone())).await;
        assert!(read.is_empty(), "{via:?}: it has seen all three: {read:?}");
    }
}
