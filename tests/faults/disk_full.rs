//! A disk that fills up while the gateway runs: publishers get an error, readers do not notice
//! (contract §5).

use std::time::Duration;

use tonic::Code;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Reader, SubscribeParams, Transport, read_all};
use crate::folders::{Disk, sqlite3};
use crate::health::{gauge, health_of, status};
use crate::publisher::{Draft, Outcome, PublishError, Publisher, WAYS, Way};
use crate::whole_log::PublishRecord;

fn is_full(error: &PublishError) -> bool {
    error.is(507, "storage-full", Code::ResourceExhausted)
}

/// Publishes events of falling size until not even a small one fits.
async fn fill(gateway: &Gateway, record: &mut PublishRecord, name: &str) -> PublishError {
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    let mut refused = None;
    for bytes in [200_000, 20_000, 1_000, 1] {
        for n in 0.. {
            assert!(n < 10_000, "it never was full");
            let draft = [Draft::of_size(
                "fill.1",
                format!("{name}-{bytes}-{n}"),
                bytes,
            )];
            record.sending(&draft);
            let Outcome { acks, error } = publisher.publish(&draft).await;
            record.acknowledged(&draft, &acks);
            if let Some(error) = error {
                assert!(is_full(&error), "{error:?}");
                refused = Some(error);
                break;
            }
        }
    }
    refused.expect("a refusal")
}

/// Everything that was acknowledged, and nothing else, is read on all transports.
async fn check_log(gateway: &Gateway, record: &PublishRecord) {
    for via in ALL {
        let found = record.compare(&read_all(via, gateway, &SubscribeParams::earliest()).await);
        assert!(
            found.is_clean() && found.unacknowledged == 0,
            "{via:?}: {found}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_refuses_publishers_serves_readers_and_recovers_without_a_restart() {
    let Some(disk) = Disk::of("6m") else { return };
    disk.fill_but(3 << 20);
    let mut gateway = Gateway::start_at(Setup::default(), &disk.path().join("data"));
    let mut record = PublishRecord::default();
    let mut live = Vec::new();
    for via in ALL {
        live.push(
            Reader::open(via, &gateway, &SubscribeParams::earliest())
                .await
                .expect("a subscription"),
        );
    }

    let refused = fill(&gateway, &mut record, "first").await;
    assert!(
        refused.detail().contains("full") && refused.detail().contains("space"),
        "{refused:?}"
    );
    let acknowledged = record.acknowledgements();
    for way in WAYS {
        let draft = Draft::of_size("refused", "refused", 100_000);
        let refused = Publisher::new(way, &gateway.url())
            .publish(&[draft])
            .await
            .refused();
        assert!(is_full(&refused), "{way:?}: {refused:?}");
    }
    for reader in &mut live {
        assert_eq!(
            reader
                .events(acknowledged)
                .await
                .last()
                .expect("events")
                .vid,
            acknowledged as u64
        );
    }
    check_log(&gateway, &record).await;
    let bus = gateway.get("/v1/bus").await;
    assert_eq!(
        (bus["last"].as_u64(), bus["events"].as_u64()),
        (Some(acknowledged as u64), Some(acknowledged as u64))
    );

    disk.make_room();
    for way in WAYS {
        let draft = [Draft::of_size("fits.again", format!("{way:?}"), 50_000)];
        record.sending(&draft);
        let acks = Publisher::new(way, &gateway.url())
            .publish(&draft)
            .await
            .all();
        record.acknowledged(&draft, &acks);
    }
    for reader in &mut live {
        assert_eq!(
            reader.events(WAYS.len()).await.len(),
            WAYS.len(),
            "live readers go on"
        );
    }
    check_log(&gateway, &record).await;

    // Full once more, and killed like that: when there is space again everything is there.
    drop(live);
    fill(&gateway, &mut record, "second").await;
    gateway.kill();
    disk.grow_to("24m");
    gateway.start_again();
    check_log(&gateway, &record).await;
    assert_eq!(
        sqlite3(
            &gateway.data_dir().join("vidette.db"),
            "PRAGMA integrity_check"
        ),
        "ok"
    );
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_not_there_in_part_and_smaller_ones_go_on() {
    let Some(disk) = Disk::of("4m") else { return };
    let gateway = Gateway::start_at(Setup::default(), &disk.path().join("data"));
    for way in [Way::Events, Way::Publish] {
        let batch: Vec<Draft> = (0..80)
            .map(|n| Draft::of_size("big", format!("{way:?}-{n}"), 100_000))
            .collect();
        let refused = Publisher::new(way, &gateway.url())
            .publish(&batch)
            .await
            .refused();
        assert!(is_full(&refused), "{way:?}: {refused:?}");
    }
    let mut record = PublishRecord::default();
    for way in WAYS {
        let draft = [Draft::new("small", format!("{way:?}"))];
        record.sending(&draft);
        let acks = Publisher::new(way, &gateway.url())
            .publish(&draft)
            .await
            .all();
        record.acknowledged(&draft, &acks);
    }
    check_log(&gateway, &record).await;
}

#[tokio::test]
async fn trimmed_events_give_their_room_to_new_ones_in_the_same_file() {
    let config =
        "[retention]\nmax_bytes = 4_000_000\n[limits]\nmax_event_bytes = 500_000".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    for round in 0..40 {
        let drafts: Vec<Draft> = (0..20)
            .map(|n| Draft::of_size("a", format!("{round}-{n}"), 100_000))
            .collect();
        publisher.publish(&drafts).await.all();
        let is_trimmed = async || gateway.metric("vidette_retained_bytes").await <= 4_000_000.0;
        gateway
            .until("what is too much is trimmed", is_trimmed)
            .await;
    }
    let bus = gateway.get("/v1/bus").await;
    assert_eq!(bus["last"], 800);
    assert!(bus["first"].as_u64().expect("a vid") > 750, "{bus}");
    let size = |name: &str| {
        std::fs::metadata(gateway.data_dir().join(name))
            .expect("the file")
            .len()
    };
    let (database, log) = (size("vidette.db"), size("vidette.db-wal"));
    assert!(
        database < 16 << 20,
        "{database} bytes for 4 MB of events after 80 MB were published"
    );
    assert!(log < 40 << 20, "{log} bytes of write-ahead log");
}

/// Publishes an event again for as long as the disk has no space for it. The little that there is
/// comes and goes with each copy of the write-ahead log.
async fn publish_until_taken(gateway: &Gateway, publisher: &mut Publisher, id: &str, bytes: usize) {
    let is_taken = async {
        while let Some(error) = publisher
            .publish(&[Draft::of_size("a", id, bytes)])
            .await
            .error
        {
            assert!(is_full(&error), "{error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(8), is_taken).await;
    assert!(
        in_time.is_ok(),
        "it stays full, though all events are due: {}",
        gateway.get("/v1/bus").await
    );
}

/// A disk that is full because of events that are due to go: retention has to come to its end
/// without help.
#[tokio::test]
async fn a_full_disk_recovers_when_retention_trims() {
    let Some(disk) = Disk::of("3m") else { return };
    let config = "[bus]\nheartbeat = \"500ms\"\n[retention]\nmax_age = \"1500ms\"".to_owned();
    let gateway = Gateway::start_at(
        Setup {
            config,
            ..Setup::default()
        },
        &disk.path().join("data"),
    );
    let mut record = PublishRecord::default();
    fill(&gateway, &mut record, "first").await;
    let mut publisher = Publisher::new(Way::Events, &gateway.url());
    publish_until_taken(&gateway, &mut publisher, "next", 50_000).await;
    assert_eq!(
        read_all(Transport::Poll, &gateway, &SubscribeParams::earliest())
            .await
            .last()
            .map(|e| e.id.clone()),
        Some("next".into())
    );
}

/// Started on a full disk, after a kill and after an end in good order, it serves readers, and
/// publishers again as soon as there is space.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_on_a_full_disk_and_publishing_comes_back_by_itself() {
    for ends_well in [false, true] {
        let Some(disk) = Disk::of("24m") else { return };
        let mut gateway = Gateway::start_at(Setup::default(), &disk.path().join("data"));
        let mut record = PublishRecord::default();
        disk.fill_but(1 << 20);
        fill(&gateway, &mut record, "first").await;
        if ends_well {
            assert!(gateway.terminate().await.success(), "{}", gateway.log());
        } else {
            gateway.kill();
        }
        disk.fill_more();
        tokio::task::block_in_place(|| gateway.start_again());
        check_log(&gateway, &record).await;
        let is_red = async || status(&gateway, "/readyz").await == 507;
        gateway.until("it is not ready", is_red).await;
        assert_eq!(gauge(&gateway, "vidette_ready").await, 0);
        let not_serving = async || health_of(&gateway, "").await == "NOT_SERVING";
        gateway.until("gRPC health says so", not_serving).await;
        let refused = Publisher::new(Way::Publish, &gateway.url())
            .publish(&[Draft::of_size("a", "refused", 300_000)])
            .await
            .refused();
        assert!(is_full(&refused), "{refused:?}");

        disk.make_room();
        let is_ready = async || status(&gateway, "/readyz").await == 200;
        gateway.until("it is ready by itself", is_ready).await;
        let serving = async || health_of(&gateway, "").await == "SERVING";
        gateway.until("gRPC health says so", serving).await;
        let draft = [Draft::of_size("a", "after", 300_000)];
        record.sending(&draft);
        let mut publisher = Publisher::new(Way::Publish, &gateway.url());
        record.acknowledged(&draft, &publisher.publish(&draft).await.all());
        check_log(&gateway, &record).await;
    }
}

/// Nobody makes space: retention has to, also after a restart in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_started_on_a_full_disk_recovers_when_retention_trims() {
    for ends_well in [false, true] {
        let Some(disk) = Disk::of("40m") else { return };
        let mut gateway = Gateway::start_at(Setup::default(), &disk.path().join("data"));
        fill(&gateway, &mut PublishRecord::default(), "first").await;
        if ends_well {
            assert!(gateway.terminate().await.success(), "{}", gateway.log());
        } else {
            gateway.kill();
        }
        disk.fill_but(0);
        let config = "[bus]\nheartbeat = \"500ms\"\n[retention]\nmax_age = \"1500ms\"".to_owned();
        let setup = Setup {
            config,
            ..Setup::default()
        };
        let data_dir = gateway.data_dir().to_owned();
        drop(gateway);
        let gateway = Gateway::start_at(setup, &data_dir);
        let has_trimmed = async || gauge(&gateway, "vidette_retained_events").await == 0;
        gateway.until("all is trimmed", has_trimmed).await;
        let is_ready = async || status(&gateway, "/readyz").await == 200;
        gateway.until("it is ready by itself", is_ready).await;
        let mut publisher = Publisher::new(Way::Events, &gateway.url());
        for n in 0..40 {
            publish_until_taken(&gateway, &mut publisher, &format!("next-{n}"), 100_000).await;
        }
    }
}
