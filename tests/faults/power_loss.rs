//! A power cut: what was acknowledged, and what anybody has seen, is still there (contract §2.2,
//! §2.3).

use std::time::Duration;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Ask, Reader, Seen, Via, read_all};
use crate::history::{Findings, History, check_subscriber};
use crate::publisher::{Draft, Publisher, WAYS, Way};
use crate::shim::Shim;
use crate::subscriber::{Subscriber, Told};
use crate::writer::{Patience, Shared, write};

/// Kills the gateway, and starts another one on what the disk has kept.
fn cut_the_power(gateway: &mut Gateway, shim: &Shim) -> Gateway {
    gateway.kill();
    shim.cut_power();
    Gateway::start_at(Setup::default(), &shim.data_dir())
}

/// Publishes by all ways at once, cuts the power, and compares with what came back.
async fn publish_and_cut(lie: bool) -> (Findings, Vec<Findings>) {
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
    let acknowledged = || {
        shared
            .history
            .lock()
            .expect("the history")
            .acknowledgements()
    };
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
    let told: Vec<Told> = subscribers.iter().map(Subscriber::told).collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    let log = read_all(Via::Grpc, &restarted, &Ask::earliest()).await;
    let found = shared.history.lock().expect("the history").check(&log);
    let of_subscribers = told
        .iter()
        .map(|told| check_seen(&log, &told.events))
        .collect();
    (found, of_subscribers)
}

/// A subscriber may not have seen the last ones, but what it has seen has to be there.
fn check_seen(log: &[Seen], seen: &[Seen]) -> Findings {
    let newest = seen.last().map_or(0, |e| e.vid);
    let until_there: Vec<Seen> = log.iter().filter(|e| e.vid <= newest).cloned().collect();
    check_subscriber(&until_there, seen, |_| true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_acknowledged_or_seen() {
    let (found, of_subscribers) = publish_and_cut(false).await;
    println!("{found}");
    assert!(found.is_clean() && found.acknowledged >= 300, "{found}");
    for found in of_subscribers {
        println!("a subscriber: {found}");
        assert!(found.is_clean(), "{found}");
    }
}

/// The test of the test: a disk that says it has synced and has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_about_its_syncs_is_found_out_by_the_checker() {
    let (found, of_subscribers) = publish_and_cut(true).await;
    println!("{found}");
    assert!(found.lost > 0, "{found}");
    assert!(
        of_subscribers.iter().any(|found| found.made_up > 0),
        "{of_subscribers:?}"
    );
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
            seen.push(read_all(via, restarted, &Ask::earliest()).await);
        }
        let after = tokio::task::block_in_place(|| cut_the_power(restarted, &shim));
        let log = read_all(Via::Poll, &after, &Ask::earliest()).await;
        for (via, seen) in ALL.iter().zip(&seen) {
            let found = check_seen(&log, seen);
            assert!(
                found.is_clean(),
                "{how}, {via:?}: seen before it was durable, gone after a power cut: {found}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_vids_and_ids_go_on_where_they_were() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let mut history = History::default();
    let drafts: Vec<Draft> = (0..20)
        .map(|n| Draft::new("a", format!("id-{n}")))
        .collect();
    history.sending(&drafts);
    let acks = Publisher::new(Way::Ndjson, &gateway.url())
        .publish(&drafts)
        .await
        .all();
    history.acknowledged(&drafts, &acks);

    let after = tokio::task::block_in_place(|| cut_the_power(&mut gateway, &shim));
    let again = Publisher::new(Way::PublishStream, &after.url())
        .publish(&drafts)
        .await
        .all();
    assert!(again.iter().all(|ack| ack.duplicate), "{again:?}");
    history.acknowledged(&drafts, &again);
    let cursor = acks[9].cursor.clone();
    let mut reader = Reader::open(Via::Sse, &after, &Ask::after(cursor))
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
    let found = history.check(&read_all(Via::Poll, &after, &Ask::earliest()).await);
    assert!(found.is_clean(), "{found}");
}
