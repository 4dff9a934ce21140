//! Somebody whose future is not asked for a while, as when its peer reads nothing, holds up nobody.

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use vidette::caller::Caller;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::time::timeout;
use vidette::bus::Bus;
use vidette::cursor::Start;
use vidette::engine::{Engine, SqliteEngine};
use vidette::error::ErrorKind;
use vidette::event::{EventParts, NewEvent};
use vidette::limits;

use crate::gate::GateEngine;
use crate::{bus_on, event, subscribe, vids};

const PATIENCE: Duration = Duration::from_secs(20);

/// A bus on a log of so many events, none of them in memory.
async fn cold_bus(folder: &TempDir, events: usize) -> Bus {
    let engine = SqliteEngine::open(folder.path(), PATIENCE).expect("an engine");
    let batch = vec![event("door.1"); events];
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let now_ms = i64::try_from(now.as_millis()).expect("it fits");
    engine
        .append(vec![batch], now_ms.into())
        .await
        .expect("receipts");
    bus_on(Arc::new(engine))
}

#[tokio::test]
async fn a_part_of_the_log_that_one_reader_loads_is_there_for_the_others() {
    let folder = TempDir::new().expect("a folder");
    let bus = cold_bus(&folder, 700).await;
    let mut still = subscribe(&bus, ">", Start::Earliest).await;
    let mut other = subscribe(&bus, ">", Start::Earliest).await;
    let mut next = Box::pin(still.next());
    assert!((&mut next).now_or_never().is_none(), "it is being loaded");
    let read = timeout(PATIENCE, vids(&mut other)).await;
    assert_eq!(read.expect("nobody is waited for")[0], 1);
    let read = next.await.expect("no error");
    assert!(
        read.is_some(),
        "and it comes to its events when it asks again"
    );
}

#[tokio::test]
async fn a_part_of_the_log_whose_reader_has_left_is_loaded_by_the_next() {
    let folder = TempDir::new().expect("a folder");
    let bus = cold_bus(&folder, 700).await;
    let mut other = subscribe(&bus, ">", Start::Earliest).await;
    for _ in 0..20 {
        let mut leaver = subscribe(&bus, ">", Start::Earliest).await;
        assert!(leaver.next().now_or_never().is_none(), "it is being loaded");
        let mut next = Box::pin(other.next());
        let _ = (&mut next).now_or_never();
        drop(leaver);
        drop(next);
        other = subscribe(&bus, ">", Start::Earliest).await;
    }
    let read = timeout(PATIENCE, vids(&mut other)).await;
    assert_eq!(read.expect("somebody loads it")[0], 1);
}

/// An event that takes a good part of the publish queue.
fn large_event() -> NewEvent {
    let parts = EventParts {
        topic: "a",
        content_type: Some("text/plain"),
        data: vec![b'x'; 1024 * 1024].into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1024 * 1024).expect("an event")
}

#[tokio::test]
async fn a_publisher_that_stands_still_takes_no_place_in_the_queue() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let full = || bus.enqueue(&Caller::gateway(), vec![large_event()]);
    let queued: Vec<_> = std::iter::from_fn(|| full().ok()).collect();
    assert!(queued.len() > 10, "the queue holds {}", queued.len());
    let count = 2 * limits::PUBLISH_QUEUE_BYTES / (1024 * 1024);
    let streams: Vec<_> = (0..count)
        .map(|_| bus.publish_stream(&Caller::gateway()))
        .collect();
    let mut still: Vec<_> = streams
        .iter()
        .map(|stream| Box::pin(stream.enqueue_with_backpressure(vec![large_event()])))
        .collect();
    for publisher in &mut still {
        assert!(publisher.now_or_never().is_none(), "the queue is full");
    }
    engine.open(10_000);
    for publishing in queued {
        publishing.done().await.expect("receipts");
    }
    let published = async {
        loop {
            match bus.publish(&Caller::gateway(), vec![large_event()]).await {
                Err(refused) if refused.kind() == ErrorKind::Busy => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let published = timeout(PATIENCE, published).await;
    published
        .expect("there is capacity again")
        .expect("a receipt");
    for publisher in still {
        let publishing = publisher.await.expect("a place in the queue");
        publishing.done().await.expect("receipts");
    }
}

#[tokio::test]
async fn a_commit_that_panics_leaves_no_publisher_waiting() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let broken_off = bus
        .enqueue(&Caller::gateway(), vec![event("a")])
        .expect("it is queued");
    let behind_it = bus
        .enqueue(&Caller::gateway(), vec![event("a")])
        .expect("it is queued");
    engine.panic_once();
    engine.open(2);
    for publishing in [broken_off, behind_it] {
        let answer = timeout(PATIENCE, publishing.done()).await;
        answer
            .expect("an answer")
            .expect_err("it was not published");
    }
    assert_eq!(
        bus.publish(&Caller::gateway(), vec![event("a")])
            .await
            .expect("a receipt")
            .len(),
        1
    );
}
