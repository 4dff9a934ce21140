//! Steps of a subscription: order, progress, caught up, gaps, limits.

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use tokio::time::Instant;
use vidette::bus::{Bus, BusOptions, OnGap, Step, SubscribeRequest, Subscription};
use vidette::cursor::{Cursor, GapReason, Start};
use vidette::engine::{MemoryEngine, Retention};
use vidette::error::ErrorKind;
use vidette::limits;

use super::{HEARTBEAT, ask, bus, event, keep, options, publish, step, subscribe, vids};

#[tokio::test(start_paused = true)]
async fn caught_up_is_told_once_and_not_after_every_live_event() {
    let bus = bus();
    publish(&bus, "door.1").await;
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert_eq!(vids(&mut reader).await, [1]);
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(1)));
    for vid in 2..5 {
        publish(&bus, "door.1").await;
        assert_eq!(vids(&mut reader).await, [vid]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_matches_nothing_gets_progress_within_a_heartbeat() {
    let bus = bus();
    let mut reader = subscribe(&bus, "window.>", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    let quiet_since = Instant::now();
    publish(&bus, "door.1").await;
    publish(&bus, "door.2").await;
    assert!(matches!(step(&mut reader).await, Step::Progress(2)));
    assert_eq!(quiet_since.elapsed(), HEARTBEAT);
    assert!(
        matches!(step(&mut reader).await, Step::Progress(2)),
        "heartbeats go on"
    );
}

#[tokio::test(start_paused = true)]
async fn events_that_do_not_match_leave_a_subscriber_up_to_date() {
    let bus = bus();
    let mut reader = subscribe(&bus, "window.>", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    publish(&bus, "door.1").await;
    assert!(reader.reach_end());
    assert_eq!(
        reader.position(),
        1,
        "the live end, which has no event of its own"
    );
    publish(&bus, "window.1").await;
    assert!(!reader.reach_end());
}

#[tokio::test(start_paused = true)]
async fn events_put_the_heartbeat_off() {
    let bus = bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    for _ in 0..3 {
        tokio::time::advance(HEARTBEAT * 9 / 10).await;
        publish(&bus, "door.1").await;
        assert!(matches!(step(&mut reader).await, Step::Events(..)));
    }
}

#[tokio::test]
async fn a_long_log_comes_page_by_page_and_whole() {
    let bus = bus();
    let count = limits::PAGE_EVENTS * 2 + 7;
    bus.publish(&Caller::gateway(), vec![event("door.1"); count])
        .await
        .expect("receipts");
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    let mut seen = Vec::new();
    while seen.len() < count {
        let page = vids(&mut reader).await;
        assert!(page.len() <= limits::PAGE_EVENTS);
        seen.extend(page);
    }
    assert!(seen.iter().copied().eq(1..=count as u64));
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(_)));
}

#[tokio::test]
async fn a_limit_ends_the_subscription() {
    let bus = bus();
    bus.publish(&Caller::gateway(), vec![event("door.1"); 5])
        .await
        .expect("receipts");
    let request = SubscribeRequest {
        limit: Some(3),
        ..ask(">", Start::Earliest)
    };
    let mut reader = Subscription::open(&bus, &Caller::gateway(), request)
        .await
        .expect("a subscription");
    assert!(matches!(step(&mut reader).await, Step::Hello { .. }));
    assert_eq!(vids(&mut reader).await, [1, 2, 3]);
    assert!(reader.next().await.expect("no error").is_none());
}

/// A bus that keeps the newest events only.
fn short_bus(max_events: u64) -> Bus {
    let retention = Retention { ..keep(max_events) };
    Bus::start(
        Arc::new(MemoryEngine::new(Duration::from_secs(120))),
        BusOptions {
            retention,
            ..options()
        },
    )
}

async fn trimmed_to(bus: &Bus, first: u64) {
    while bus.bounds().first < first {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_under_a_reader_is_told_as_a_gap_before_the_next_event() {
    let bus = short_bus(10);
    publish(&bus, "door.1").await;
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert_eq!(vids(&mut reader).await, [1]);
    bus.publish(&Caller::gateway(), vec![event("door.1"); 100])
        .await
        .expect("receipts");
    trimmed_to(&bus, 92).await;
    match step(&mut reader).await {
        Step::Gap(gap) => {
            assert_eq!(gap.reason, GapReason::Expired);
            assert_eq!(gap.requested, bus.cursor(1).to_string());
            assert_eq!((gap.first, gap.last), (92, 101));
        }
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(vids(&mut reader).await, (92..=101).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_from_the_earliest_that_has_caught_up_is_told_what_it_missed_then() {
    let bus = bus();
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    bus.publish(&Caller::gateway(), vec![event("door.1"); 3])
        .await
        .expect("receipts");
    bus.trim(keep(0)).await.expect("trimmed");
    publish(&bus, "door.1").await;
    assert!(matches!(step(&mut reader).await, Step::Gap(gap) if (gap.first, gap.last) == (4, 4)));
    assert_eq!(vids(&mut reader).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn trimming_what_does_not_match_is_no_gap_for_a_connected_subscriber() {
    let bus = short_bus(10);
    let mut reader = subscribe(&bus, "window.1", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    bus.publish(&Caller::gateway(), vec![event("door.1"); 100])
        .await
        .expect("receipts");
    trimmed_to(&bus, 91).await;
    publish(&bus, "window.1").await;
    assert_eq!(vids(&mut reader).await, [101]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_wants_to_fail_on_a_gap_does() {
    let bus = short_bus(10);
    bus.publish(&Caller::gateway(), vec![event("door.1"); 100])
        .await
        .expect("receipts");
    trimmed_to(&bus, 91).await;
    let after = |vid| Start::After(Cursor { vid, epoch: None });
    let request = SubscribeRequest {
        on_gap: OnGap::Fail,
        ..ask(">", after(89))
    };
    let error = Subscription::open(&bus, &Caller::gateway(), request)
        .await
        .err()
        .expect("a gap");
    assert_eq!(error.kind(), ErrorKind::Gap);
    let request = SubscribeRequest {
        on_gap: OnGap::Fail,
        ..ask(">", after(90))
    };
    assert!(
        Subscription::open(&bus, &Caller::gateway(), request)
            .await
            .is_ok(),
        "first-1 is a good cursor"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cursor_from_the_future_is_waited_for_and_then_reported() {
    let bus = bus();
    publish(&bus, "door.1").await;
    let ahead = Start::After(Cursor {
        vid: 2,
        epoch: None,
    });

    let begun = Instant::now();
    let mut reader = Subscription::open(&bus, &Caller::gateway(), ask(">", ahead.clone()))
        .await
        .expect("a subscription");
    assert_eq!(begun.elapsed(), limits::AHEAD_WAIT);
    assert!(matches!(step(&mut reader).await, Step::Hello { .. }));
    assert!(matches!(step(&mut reader).await, Step::Gap(gap) if gap.reason == GapReason::Ahead));
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(1)));

    let opening = tokio::spawn({
        let bus = bus.clone();
        async move { Subscription::open(&bus, &Caller::gateway(), ask(">", ahead)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    publish(&bus, "door.1").await;
    let mut reader = opening.await.expect("the task").expect("a subscription");
    assert!(matches!(step(&mut reader).await, Step::Hello { .. }));
    assert!(
        matches!(step(&mut reader).await, Step::CaughtUp(2)),
        "the gateway caught up, so there is no gap"
    );
}

#[tokio::test]
async fn closing_is_the_last_word() {
    let bus = bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    let last_steps = tokio::spawn(async move { (reader.next().await, reader.next().await) });
    tokio::task::yield_now().await;
    bus.close();
    let (closing, end) = last_steps.await.expect("the task");
    assert!(matches!(closing, Ok(Some(Step::Closing { .. }))));
    assert!(matches!(end, Ok(None)));
    let late = Subscription::open(&bus, &Caller::gateway(), ask(">", Start::Latest))
        .await
        .err()
        .expect("it is closing");
    assert_eq!(late.kind(), ErrorKind::Closing);
}

#[tokio::test]
async fn subscriptions_are_bounded_and_given_back() {
    let bus = Bus::start(
        super::memory(),
        BusOptions {
            max_subscribers: 1,
            ..options()
        },
    );
    let reader = subscribe(&bus, ">", Start::Latest).await;
    let refused = Subscription::open(&bus, &Caller::gateway(), ask(">", Start::Latest))
        .await
        .err()
        .expect("one is the bound");
    assert_eq!(refused.kind(), ErrorKind::Busy);
    drop(reader);
    assert_eq!(bus.subscribers(), 0);
    subscribe(&bus, ">", Start::Latest).await;
}
