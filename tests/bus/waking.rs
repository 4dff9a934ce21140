//! An append wakes those who match, all of them, and nobody else.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use vidette::caller::Caller;

use vidette::bus::{Bus, Step, Subscription};
use vidette::cursor::Start;

use super::{bus, event, publish, step, subscribe};

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn of_many_subscribers_of_many_topics_one_event_wakes_one() {
    let bus = bus();
    let counter = Arc::new(CountingWaker::default());
    let waker = Waker::from(counter.clone());
    let mut subscriptions = Vec::new();
    for topic in 0..1000 {
        let mut subscription = subscribe(&bus, &format!("door.{topic}"), Start::Latest).await;
        assert!(matches!(step(&mut subscription).await, Step::CaughtUp(_)));
        subscriptions.push(subscription);
    }
    let mut waiting: Vec<_> = subscriptions
        .iter_mut()
        .map(|s| Box::pin(s.next()))
        .collect();
    for next in &mut waiting {
        assert!(
            next.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    publish(&bus, "door.500").await;
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    publish(&bus, "window.1").await;
    assert_eq!(
        counter.0.load(Ordering::SeqCst),
        1,
        "nobody waits for windows"
    );
    match waiting[500].as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(Ok(Some(Step::Events(events, _)))) => assert_eq!(events[0].vid, 1),
        other => panic!("not the event: {other:?}"),
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_and_begun_again_loses_nothing() {
    let bus = bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    for vid in 1..=100 {
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(reader.next()).poll(&mut context).is_pending());
        publish(&bus, "door.1").await;
        assert!(matches!(step(&mut reader).await, Step::Events(events, _) if events[0].vid == vid));
    }
}

/// Readers that come, go and resume at every moment, beside writers that never stop: whoever
/// resumes by its position sees each matching vid once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_missed_under_load() {
    const EVENTS: u64 = 20_000;
    const LIMITS: [u32; 4] = [1, 7, 100, u32::MAX];
    let bus = bus();
    let readers: Vec<_> = (0..16)
        .map(|index| tokio::spawn(read_numbers(bus.clone(), index % 4, LIMITS[index / 4])))
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for n in 0..EVENTS / 4 {
                    publish(&bus, &format!("door.{}", n % 4)).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    for name in ["end.0", "end.1", "end.2", "end.3"] {
        bus.publish(&Caller::gateway(), vec![event(name)])
            .await
            .expect("a receipt");
    }
    for reader in readers {
        let seen = tokio::time::timeout(std::time::Duration::from_secs(60), reader)
            .await
            .expect("no reader hangs");
        assert_eq!(seen.expect("a reader"), EVENTS / 4);
    }
}

/// Counts the events of one door until its end, leaving and resuming after so many each time.
async fn read_numbers(bus: Bus, door: usize, leave_after: u32) -> u64 {
    let filter = [format!("door.{door}"), format!("end.{door}")];
    let filter =
        vidette::topic::Filter::parse(filter.iter().map(String::as_str)).expect("a filter");
    let mut start = Start::Earliest;
    let (mut count, mut newest) = (0, 0);
    loop {
        let request = vidette::bus::SubscribeRequest {
            filter: filter.clone(),
            start,
            on_gap: vidette::bus::OnGap::Fail,
            limit: Some(leave_after),
        };
        let mut subscription = Subscription::open(&bus, &Caller::gateway(), request)
            .await
            .expect("a subscription");
        while let Some(step) = subscription.next().await.expect("no gap") {
            let Step::Events(events, _) = step else {
                continue;
            };
            for event in events.iter() {
                assert!(event.vid > newest, "{} after {newest}", event.vid);
                newest = event.vid;
                if event.sent.topic.as_str().starts_with("end") {
                    return count;
                }
                count += 1;
            }
        }
        start = Start::After(bus.cursor(subscription.position()));
    }
}
