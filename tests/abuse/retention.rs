//! Attacks on the log by what is published: topics that expire, and snapshots of many of them.

use std::time::Duration;

use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::{Gateway, PATIENCE};
use crate::common::grpc;
use crate::ground::Ground;
use crate::h1;
use crate::memory::{MIB, written_bytes};

/// Events, each on a topic of its own, in one batch.
const TOPICS_A_BATCH: usize = 10_000;
/// Data of one event of a snapshot.
const LARGE_BYTES: usize = 900_000;
/// What one page of a snapshot may make the gateway write, temporary files included, in bytes.
const PAGE_WRITES_BYTES: u64 = 64 * MIB;

/// Each batch makes all topics of the one before it expire.
pub async fn expiring_topics(ground: &mut Ground) {
    let mut client = grpc::client(&ground.gateway.url()).await;
    ground.begin();
    let batches = ground.count(3, 10);
    for batch in 0..batches {
        let event = |n| NewEvent {
            topic: format!("expiring.{batch}.{n}"),
            data: "1".into(),
            ..NewEvent::default()
        };
        let events = (0..TOPICS_A_BATCH).map(event).collect();
        match client.publish(PublishRequest { events }).await {
            Ok(_) => ground.got("acknowledged batch"),
            Err(status) => ground.got(format!("{:?}", status.code())),
        }
    }
    ground.check_got_only(&["acknowledged batch"]);
    let is_trimmed = async |gateway: &Gateway| {
        let bus = gateway.get("/v1/bus").await;
        bus["events"].as_u64().is_some_and(|events| events < 2000)
    };
    let within = 2 * PATIENCE;
    ground
        .check_soon(within, "the log is never trimmed", is_trimmed)
        .await;
}

/// A snapshot is read one event a page, over topics that are too new to be indexed.
pub async fn snapshot_pages(ground: &mut Ground) {
    let topics = ground.count(320, 1000);
    let large = |n| NewEvent {
        topic: format!("snapshot.{n}"),
        data: vec![b'7'; LARGE_BYTES].into(),
        content_type: "text/plain".into(),
        ..NewEvent::default()
    };
    ground.fill((0..topics).map(large)).await;
    ground.begin();
    for page in 0..ground.count(2, 20) {
        let path = format!("/v1/poll?topic=snapshot.%3E&topic=none.{page}&snapshot=true&limit=1");
        let request = h1::get(ground.target(), &path);
        let before = written_bytes(ground.gateway.pid());
        let answer = h1::ask(ground.target(), &request, PATIENCE).await;
        let written = written_bytes(ground.gateway.pid()) - before;
        ground.got(answer.label());
        ground.check(
            written < PAGE_WRITES_BYTES,
            format!("a page made it write {} MiB", written / MIB),
        );
    }
    ground.check_got_only(&["200"]);
    tokio::time::sleep(Duration::from_millis(200)).await; // live events that came behind a page
}
