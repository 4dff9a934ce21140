//! What a poll is answered.

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::*;
use crate::bus::{Bus, BusOptions, OnGap};
use crate::caller::Caller;
use crate::cursor::{Cursor, Start};
use crate::engine::{MemoryEngine, Retention};
use crate::event::{EventParts, NewEvent};

const HOUR: Duration = Duration::from_secs(3600);

fn keep(max_events: u64) -> Retention {
    Retention {
        max_age: HOUR,
        max_events,
        max_bytes: u64::MAX,
        dedupe_window: HOUR,
    }
}

/// A bus with so many events.
async fn bus_with(events: usize) -> Bus {
    let options = BusOptions {
        heartbeat: HOUR,
        max_subscribers: 9,
        max_event_bytes: 100,
        retention: keep(u64::MAX),
    };
    let bus = Bus::start(Arc::new(MemoryEngine::new(HOUR)), options);
    publish(&bus, events).await;
    bus
}

async fn publish(bus: &Bus, events: usize) {
    let parts = EventParts {
        topic: "door.1",
        ..EventParts::default()
    };
    let event = NewEvent::check(parts, 100).expect("an event");
    let caller = Caller::anonymous();
    let published = bus.publish(&caller, vec![event; events]);
    published.await.expect("receipts");
}

async fn open(bus: &Bus, vid: Vid) -> OpenPoll {
    let request = SubscribeRequest {
        filter: Filter::all(),
        start: Start::After(Cursor { vid, epoch: None }),
        on_gap: OnGap::Continue,
        limit: None,
    };
    let caller = Caller::anonymous();
    let by = (Transport::LongPoll, PeerWatch::that_stays());
    let opened = Reader::open(bus, &caller, request, by);
    OpenPoll {
        reader: opened.await.expect("a subscription"),
        until: Instant::now(),
        coding: None,
        form: ObjectForm::Own,
    }
}

#[tokio::test]
async fn trimming_that_goes_on_behind_a_gap_is_reported_with_it() {
    let bus = bus_with(10).await;
    bus.trim(keep(6)).await.expect("trimmed");
    let mut poll = open(&bus, 1).await;
    bus.trim(keep(3)).await.expect("trimmed");

    let polled = poll.wait().await.expect("no error");
    let gap = polled.gap.as_ref().expect("a gap");
    assert_eq!((gap.requested.as_str(), gap.first, gap.last), ("1", 8, 10));
    assert_eq!(polled.first_event().map(|event| event.vid), Some(8));
}

#[test]
fn a_poll_that_waits_takes_little() {
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = size_of_future(wait_and_answer);
    // What the allocator has places for.
    assert!(bytes <= 512, "{bytes} bytes");
    assert!(size_of::<OpenPoll>() <= 160);
}

#[tokio::test]
async fn an_answer_is_made_once_for_all_who_stand_where_its_reader_does() {
    let bus = bus_with(2).await;
    let mut readers = [
        open(&bus, 1).await,
        open(&bus, 1).await,
        open(&bus, 1).await,
    ];
    let mut bodies = Vec::new();
    for (at, reader) in readers.iter_mut().enumerate() {
        let polled = reader.wait().await.expect("no error");
        // The last one is answered behind another event.
        if at == 2 {
            publish(&bus, 1).await;
        }
        let body = body(&mut reader.reader.subscription, &polled, ObjectForm::Own)
            .collect()
            .await
            .expect("a body");
        bodies.push(body.to_bytes());
    }
    assert_eq!(bodies[0].as_ptr(), bodies[1].as_ptr());
    let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
    assert!(text(&bodies[0]).contains(r#""last":2,"vid":2,"cursor":"2-"#));
    assert!(text(&bodies[2]).contains(r#""last":3"#), "{bodies:?}");
}
