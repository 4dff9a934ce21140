//! Durable before visible; a bounded queue; group commit.

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use tokio::time::timeout;
use vidette::bus::Step;
use vidette::cursor::Start;
use vidette::error::{Error, ErrorKind};
use vidette::limits;

use super::gate::GateEngine;
use super::{bus, bus_on, event, publish, step, subscribe, vids};

/// Long enough for anything that can happen to have happened, on paused time.
const A_WHILE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn an_event_is_neither_acknowledged_nor_shown_before_it_is_durable() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));

    let publishing = bus
        .enqueue(&Caller::gateway(), vec![event("door.1")])
        .expect("a place in the queue");
    let mut acknowledged = tokio::spawn(publishing.done());
    assert!(
        timeout(A_WHILE, &mut acknowledged).await.is_err(),
        "acknowledged before it was durable"
    );
    assert!(
        timeout(A_WHILE, reader.next()).await.is_err(),
        "shown before it was durable"
    );
    assert_eq!(bus.bounds().last, 0);

    engine.open(1);
    assert_eq!(
        acknowledged.await.expect("the task").expect("a receipt")[0].vid,
        1
    );
    assert_eq!(vids(&mut reader).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_could_not_be_made_durable_is_never_shown() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    engine.open(2);

    engine.fail_with(Some(Error::new(ErrorKind::StorageFull, "full")));
    let refused = bus
        .publish(&Caller::gateway(), vec![event("door.1")])
        .await
        .expect_err("a full disk");
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(
        timeout(A_WHILE, reader.next()).await.is_err(),
        "a failed event was shown"
    );

    engine.fail_with(None);
    assert_eq!(publish(&bus, "door.2").await, 1, "there is capacity again");
    assert_eq!(vids(&mut reader).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_commit_is_committed_together() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            bus.enqueue(&Caller::gateway(), vec![event("door.1")])
                .expect("a place in the queue")
        })
        .collect();
    engine.open(100);
    for (index, publishing) in waiting.into_iter().enumerate() {
        assert_eq!(
            publishing.done().await.expect("a receipt")[0].vid,
            index as u64 + 1
        );
    }
    assert!(
        engine.appends() <= 2,
        "{} commits for 100 events that waited together",
        engine.appends()
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let mut taken = Vec::new();
    let refused = loop {
        match bus.enqueue(&Caller::gateway(), vec![event("door.1")]) {
            Ok(publishing) => taken.push(publishing),
            Err(refused) => break refused,
        }
        assert!(
            taken.len() <= limits::PUBLISH_QUEUE_REQUESTS + limits::GROUP_EVENTS,
            "the queue has no bound"
        );
    };
    assert_eq!(refused.kind(), ErrorKind::Busy);

    engine.open(taken.len());
    for publishing in taken {
        publishing
            .done()
            .await
            .expect("what was taken is published");
    }
    engine.open(1);
    publish(&bus, "door.1").await;
}

#[tokio::test]
async fn a_batch_is_neither_empty_nor_endless() {
    let bus = bus();
    assert_eq!(
        bus.publish(&Caller::gateway(), Vec::new())
            .await
            .expect_err("an empty batch")
            .kind(),
        ErrorKind::BadRequest
    );
    let endless = vec![event("door.1"); limits::MAX_BATCH_EVENTS + 1];
    assert_eq!(
        bus.publish(&Caller::gateway(), endless)
            .await
            .expect_err("an endless batch")
            .kind(),
        ErrorKind::TooLarge
    );
}

#[tokio::test]
async fn a_closing_bus_takes_nothing_more() {
    let bus = bus();
    publish(&bus, "door.1").await;
    bus.close();
    assert_eq!(
        bus.publish(&Caller::gateway(), vec![event("door.1")])
            .await
            .expect_err("it is closing")
            .kind(),
        ErrorKind::Closing
    );
}
