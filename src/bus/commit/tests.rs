//! The turn where a thread of an engine has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::bus::sequencer::tests::bus;
use crate::bus::{Bus, OnGap, Publishing, Step, SubscribeRequest, Subscription};
use crate::caller::Caller;
use crate::cursor::Start;
use crate::engine::Receipt;
use crate::event::{Event, EventParts};
use crate::topic::Filter;

const HOUR: Duration = Duration::from_secs(3600);

/// A bus on which nobody commits but the test, and its turn.
fn bus_and_turn() -> (Bus, CommitTurn) {
    let bus = bus(100);
    bus.0.sequencer.queue().is_committing = true;
    let turn = CommitTurn::new(bus.0.clone());
    (bus, turn)
}

fn enqueue(bus: &Bus) -> Publishing {
    let parts = EventParts {
        topic: "door.1",
        ..EventParts::default()
    };
    let event = NewEvent::check(parts, 100).expect("an event");
    let queued = bus.enqueue(&Caller::gateway(), vec![event]);
    queued.expect("a place in the queue")
}

async fn subscribe(bus: &Bus) -> Subscription {
    let request = SubscribeRequest {
        filter: Filter::everything(),
        start: Start::Latest,
        on_gap: OnGap::Continue,
        limit: None,
    };
    let opened = Subscription::open(bus, &Caller::gateway(), request).await;
    let mut reader = opened.expect("a subscription");
    while !reader.is_live() {
        reader.next().await.expect("no error");
    }
    reader
}

/// What an engine answers for one batch of one event, the first one of its log.
fn appended(group: Group) -> Appended {
    let sent = group.batches.into_iter().flatten().next();
    let event = Event::new(1, 0, sent.expect("an event"));
    let receipt = Receipt {
        vid: 1,
        duplicate: false,
    };
    Appended {
        events: vec![Arc::new(event)],
        batches: vec![Ok(vec![receipt])],
        synced_ns: None,
    }
}

/// More readers than are woken without a task.
#[tokio::test]
async fn a_thread_outside_of_the_runtime_answers_publishers_and_wakes_readers() {
    let (bus, mut turn) = bus_and_turn();
    let mut readers = Vec::new();
    for _ in 0..=limits::FEW_READERS {
        readers.push(subscribe(&bus).await);
    }

    let publishing = enqueue(&bus);
    let thread = std::thread::spawn(move || {
        let group = turn.next_group().expect("a group");
        turn.settle(Ok(appended(group)));
        assert!(turn.next_group().is_none(), "the turn is over");
    });
    let receipts = publishing.done().await.expect("a receipt");
    assert_eq!((receipts[0].vid, bus.bounds().last), (1, 1));
    thread.join().expect("no panic");
    for mut reader in readers {
        let step = timeout(HOUR, reader.next()).await.expect("it is woken");
        assert!(matches!(step, Ok(Some(Step::Events(..)))));
    }
}

#[tokio::test]
async fn a_turn_that_breaks_off_answers_whose_batch_was_taken_and_who_waits() {
    let (bus, mut turn) = bus_and_turn();
    let taken = enqueue(&bus);
    turn.next_group().expect("a group");
    let waiting = enqueue(&bus);
    drop(turn);
    for publishing in [taken, waiting] {
        let refused = publishing.done().await.expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Internal);
    }

    // Whoever comes next finds nobody committing.
    let receipts = enqueue(&bus).done().await.expect("a receipt");
    assert_eq!(receipts[0].vid, 1);
}
