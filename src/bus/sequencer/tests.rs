//! Publishers that reach the rate of their client, on paused time.

use std::sync::Arc;

use tokio::time::{Instant, advance};

use super::*;
use crate::bus::BusOptions;
use crate::caller::{Allowance, Client, ClientAddress, Identity};
use crate::config::{Config, Overrides};
use crate::engine::{MemoryEngine, Retention};
use crate::event::EventParts;
use crate::quota::ConnectionCount;

const HOUR: Duration = Duration::from_secs(3600);

/// A bus in memory that keeps everything.
pub(in crate::bus) fn bus(max_event_bytes: usize) -> Bus {
    let retention = Retention {
        max_age: HOUR,
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        dedupe_window: HOUR,
    };
    let options = BusOptions {
        heartbeat: HOUR,
        max_subscribers: 100,
        max_event_bytes,
        retention,
    };
    Bus::start(Arc::new(MemoryEngine::new(HOUR)), options)
}

/// Somebody who may publish an event a second, and so many at once.
fn slow_caller(bus: &Bus, burst: u32) -> Caller {
    let limits = format!(
        "[limits.address]\npublished_events_per_second = 1\npublished_events_burst = {burst}"
    );
    let config = Config::parse(&limits, Overrides::default()).expect("a configuration");
    let client = Client {
        address: Some(ClientAddress::of("192.0.2.1".parse().ok())),
        identity: &Identity::Anonymous,
        connection: &ConnectionCount::default(),
    };
    Caller {
        allowance: Allowance::new(bus.quotas(), &config.quotas, client),
        ..Caller::anonymous()
    }
}

fn events(count: usize, bytes: usize) -> Vec<NewEvent> {
    let parts = EventParts {
        topic: "door.1",
        data: vec![b'x'; bytes].into(),
        ..EventParts::default()
    };
    vec![NewEvent::check(parts, bytes).expect("an event"); count]
}

fn kind_of<T: std::fmt::Debug>(refused: Result<T>) -> ErrorKind {
    refused.expect_err("refused").kind()
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_held_back_to_its_rate_and_loses_nothing() {
    let bus = bus(1);
    let stream = bus.publish_stream(&slow_caller(&bus, 5));
    let begun = Instant::now();
    for n in 1..=20 {
        let publishing = stream.enqueue_with_backpressure(events(1, 1)).await;
        let receipts = publishing.expect("its turn").done().await;
        assert_eq!(receipts.expect("a receipt")[0].vid, n);
    }
    // Timers have milliseconds.
    let held_back = begun.elapsed();
    assert!(
        (15_000..15_100).contains(&held_back.as_millis()),
        "{held_back:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_would_be_held_back_for_too_long_is_refused_and_so_is_a_single_request() {
    let bus = bus(1);
    let caller = slow_caller(&bus, 30);
    let stream = bus.publish_stream(&caller);
    let first = stream.enqueue_with_backpressure(events(30, 1)).await;
    first.expect("a burst");

    let refused = stream.enqueue_with_backpressure(events(11, 1)).await;
    assert_eq!(refused.expect_err("refused").retry_after_s(), Some(11));
    let refused = bus.publish(&caller, events(1, 1)).await;
    assert_eq!(refused.expect_err("refused").retry_after_s(), Some(1));
    let begun = Instant::now();
    let last = stream.enqueue_with_backpressure(events(10, 1)).await;
    last.expect("within the longest wait");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_its_batch_is_held_back_has_published_nothing_and_taken_nothing() {
    let bus = bus(1);
    let caller = slow_caller(&bus, 5);
    bus.publish(&caller, events(5, 1)).await.expect("a burst");
    let stream = bus.publish_stream(&caller);
    let mut waiting = Box::pin(stream.enqueue_with_backpressure(events(5, 1)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(
        kind_of(bus.publish(&caller, events(1, 1)).await),
        ErrorKind::Busy
    );

    drop(waiting);
    advance(Duration::from_secs(1)).await;
    bus.publish(&caller, events(1, 1)).await.expect("a token");
    assert_eq!(bus.bounds().last, 6);
}

#[tokio::test(start_paused = true)]
async fn who_is_held_back_hears_that_the_gateway_shuts_down() {
    let bus = bus(1);
    let caller = slow_caller(&bus, 5);
    bus.publish(&caller, events(5, 1)).await.expect("a burst");
    let stream = bus.publish_stream(&caller);
    let begun = Instant::now();
    let (refused, ()) = tokio::join!(stream.enqueue_with_backpressure(events(5, 1)), async {
        tokio::task::yield_now().await;
        bus.close();
    });
    assert_eq!(kind_of(refused), ErrorKind::Closing);
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_for_which_there_is_no_memory_has_taken_no_tokens() {
    let large = 1 << 20;
    let bus = Bus::start_within(
        Arc::new(MemoryEngine::new(HOUR)),
        bus(large).options().clone(),
        crate::memory::MemoryBudget::new(1000),
    );
    let caller = slow_caller(&bus, 5);
    for _ in 0..9 {
        let refused = bus.publish(&caller, events(1, large)).await;
        assert_eq!(kind_of(refused), ErrorKind::OutOfMemory);
    }
    bus.publish(&caller, events(5, 1)).await.expect("a burst");
    let refused = bus.publish(&caller, events(1, 1)).await;
    assert_eq!(kind_of(refused), ErrorKind::Busy);
}

#[tokio::test(start_paused = true)]
async fn the_gateway_itself_is_not_limited() {
    let bus = bus(1);
    for _ in 0..100 {
        let published = bus.publish(&Caller::gateway(), events(100, 1)).await;
        published.expect("receipts");
    }
}
