//! The moments in which SQLite moves its write-ahead log into the database, and a power cut or a
//! failed sync then.

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{SubscribeParams, Transport, read_all};
use crate::publisher::{Draft, Publisher, Way};
use crate::shim::Shim;
use crate::whole_log::PublishRecord;

/// Publishes enough for some checkpoints, and a little behind the last one.
async fn publish_much(gateway: &Gateway, record: &mut PublishRecord, megabytes: usize) {
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    for n in 0..megabytes / 4 + 5 {
        let drafts: Vec<Draft> = if n < megabytes / 4 {
            (0..8)
                .map(|m| Draft::of_size("much", format!("{n}-{m}"), 500_000))
                .collect()
        } else {
            vec![Draft::new("little", n.to_string())]
        };
        record.sending(&drafts);
        let acks = publisher.publish(&drafts).await.all();
        record.acknowledged(&drafts, &acks);
    }
}

fn database_syncs(shim: &Shim) -> usize {
    shim.syncs()
        .iter()
        .filter(|path| path.ends_with("vidette.db"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_after_checkpoints_takes_nothing() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let before = database_syncs(&shim);
    let mut record = PublishRecord::default();
    publish_much(&gateway, &mut record, 40).await;
    assert!(
        database_syncs(&shim) >= before + 2,
        "there were checkpoints: {:?}",
        shim.syncs()
    );
    gateway.kill();
    let after = tokio::task::block_in_place(|| Gateway::start_at(Setup::default(), &shim.shadow()));
    let found =
        record.compare(&read_all(Transport::Grpc, &after, &SubscribeParams::earliest()).await);
    assert!(found.is_clean() && found.unacknowledged == 0, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_sync_the_database_loses_nothing() {
    let shim = Shim::new();
    let mut gateway = shim.start();
    let mut record = PublishRecord::default();
    shim.on("fail", "vidette.db");
    publish_much(&gateway, &mut record, 24).await;
    shim.has_failed_a_sync().await;
    gateway.kill();
    shim.off("fail");
    let after = tokio::task::block_in_place(|| Gateway::start_at(Setup::default(), &shim.shadow()));
    let found =
        record.compare(&read_all(Transport::Grpc, &after, &SubscribeParams::earliest()).await);
    assert!(
        found.is_clean() && found.unacknowledged == 0,
        "after a power cut: {found}"
    );
    tokio::task::block_in_place(|| gateway.start_again());
    let found =
        record.compare(&read_all(Transport::Poll, &gateway, &SubscribeParams::earliest()).await);
    assert!(
        found.is_clean() && found.unacknowledged == 0,
        "after a kill: {found}"
    );
}
