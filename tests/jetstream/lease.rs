//! The right to pull from sources: one gateway has it, and another one gets it when it is gone.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use vidette::engine::{Engine as _, JetStreamEngine, JetStreamOptions, SourceLease};
use vidette::limits;

use crate::common::nats::{NatsCluster, requirements};

/// How much longer than the lease itself others may take to notice that it has expired.
const SLACK: Duration = Duration::from_secs(2);

/// A gateway that wants the lease, and its engine.
struct Contender {
    lease: Arc<SourceLease>,
    _engine: JetStreamEngine,
}

impl Contender {
    async fn open(options: JetStreamOptions) -> Self {
        let engine = JetStreamEngine::open(options, requirements()).await;
        let engine = engine.expect("an engine");
        Contender {
            lease: engine.source_lease().expect("a lease"),
            _engine: engine,
        }
    }

    /// One that holds it.
    async fn holder(options: JetStreamOptions) -> Self {
        let contender = Self::open(options).await;
        contender.gains_within(limits::SOURCE_LEASE + SLACK).await;
        contender
    }

    async fn gains_within(&self, at_most: Duration) {
        let gained = timeout(at_most, self.lease.gained()).await;
        gained.expect("the lease in time");
    }

    async fn gains_nothing_within(&self, time: Duration) {
        let gained = timeout(time, self.lease.gained()).await;
        assert!(gained.is_err(), "two gateways hold the lease");
    }
}

#[tokio::test]
async fn of_two_gateways_one_holds_the_lease_and_a_released_one_is_taken_at_once() {
    let nats = NatsCluster::start(1).await;
    let first = Contender::open(nats.options("doors")).await;
    let second = Contender::open(nats.options("doors")).await;
    let (first_gains, second_gains) = (first.lease.gained(), second.lease.gained());
    tokio::select! {
        () = first_gains => {}
        () = second_gains => {}
    }
    let (holder, other) = if first.lease.is_held() {
        (first, second)
    } else {
        (second, first)
    };

    // Renewed for longer than it lasts without.
    let renewed = limits::SOURCE_LEASE_TAKEOVER + SLACK;
    other.gains_nothing_within(renewed).await;
    assert!(holder.lease.is_held());

    holder.lease.release().await;
    assert!(!holder.lease.is_held());
    other.gains_within(SLACK).await;
}

#[tokio::test]
async fn the_lease_of_a_gateway_that_died_is_taken_once_it_has_expired() {
    let nats = NatsCluster::start(1).await;
    let holder = Contender::holder(nats.options("doors")).await;
    let other = Contender::open(nats.options("doors")).await;
    other.gains_nothing_within(SLACK).await;

    let died = Instant::now();
    drop(holder);
    other.gains_within(limits::SOURCE_LEASE + SLACK).await;
    // Not before the dead one would have stopped by itself: it had just renewed it, or was to.
    let renewed_within = limits::SOURCE_LEASE_RENEWAL + limits::SOURCE_LEASE_WAIT;
    let held_for = died.elapsed() + renewed_within;
    assert!(held_for > limits::SOURCE_LEASE, "taken while it was held");
}

#[tokio::test]
async fn a_gateway_that_was_frozen_knows_that_it_has_lost_the_lease() {
    let nats = NatsCluster::start(1).await;
    let (say, said) = mpsc::channel();
    let (thaw, frozen_until) = mpsc::channel::<()>();
    let options = nats.options("doors");
    // All tasks of this gateway are on one thread, which then stands still.
    let frozen = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let holder = Contender::holder(options).await;
            assert!(holder.lease.is_held());
            say.send(()).expect("a test that waits");
            frozen_until.recv().expect("a test that thaws it");

            // Before anything else has run.
            let held_at_once = holder.lease.is_held();
            holder.lease.lost().await;
            holder.gains_nothing_within(SLACK).await;
            held_at_once
        })
    });
    tokio::task::spawn_blocking(move || said.recv())
        .await
        .expect("a thread")
        .expect("a holder");

    let other = Contender::holder(nats.options("doors")).await;
    thaw.send(()).expect("a frozen gateway");
    let frozen = tokio::task::spawn_blocking(move || frozen.join());
    let held_at_once = frozen.await.expect("a thread").expect("it has run");
    assert!(!held_at_once, "it still took itself for the holder");
    assert!(other.lease.is_held());
}

#[tokio::test]
async fn without_nats_the_holder_lets_go_in_time_and_gets_the_lease_again_afterwards() {
    let mut nats = NatsCluster::start(1).await;
    let holder = Contender::holder(nats.options("doors")).await;

    nats.servers[0].kill();
    let lost = timeout(limits::SOURCE_LEASE + SLACK, holder.lease.lost()).await;
    lost.expect("it lets go");

    nats.servers[0].start();
    holder.gains_within(3 * limits::SOURCE_LEASE).await;
}

#[tokio::test]
async fn a_bucket_that_somebody_deleted_is_made_anew() {
    let nats = NatsCluster::start(1).await;
    let holder = Contender::holder(nats.options("doors")).await;

    let jetstream = async_nats::jetstream::new(nats.client().await);
    let deleted = jetstream.delete_stream("KV_vidette-doors").await;
    deleted.expect("the bucket of the lease");

    let made = async {
        while jetstream.get_stream("KV_vidette-doors").await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limits::SOURCE_LEASE, made)
        .await
        .expect("another bucket");
    holder.gains_within(limits::SOURCE_LEASE).await;
}
