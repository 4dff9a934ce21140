//! Rights and the ends of credentials: what is served of a filter, and for how long.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::timeout;
use vidette::bus::{Bus, ClosingReason, Step, Subscription};
use vidette::caller::{Caller, Credential, Permission, Revocations};
use vidette::cursor::Start;
use vidette::engine::{Engine, Page, ReadRequest};
use vidette::error::{ErrorKind, Result};
use vidette::topic::Filter;

use super::{ask, bus, bus_on, event, memory, publish, step, vids};
use crate::wrapping_engine::{Hooks, WrappingEngine};

/// A subscription has ended this long after its credential at the latest (contract §8).
const IN_TIME: Duration = Duration::from_secs(3);

fn in_ms(ms: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(now.as_millis()).expect("it fits") + ms
}

/// Somebody with these rights, on a credential that ends then.
fn caller(topics: &[&str], expires_ms: Option<i64>, revocations: &Revocations) -> Caller {
    let filter = Filter::parse(topics.iter().copied()).expect("a filter");
    let credential = Credential {
        expires_ms,
        ids: vec!["token-7".into()],
        revocations: revocations.clone(),
    };
    Caller {
        credential: Some(Arc::new(credential)),
        ..Caller::unnamed(
            Permission::Topics(filter.clone()),
            Permission::Topics(filter),
        )
    }
}

fn expiring(ms: i64) -> Caller {
    caller(&[">"], Some(in_ms(ms)), &Revocations::default())
}

async fn open(bus: &Bus, caller: &Caller, topic: &str, start: Start) -> Subscription {
    let opened = Subscription::open(bus, caller, ask(topic, start)).await;
    let mut subscription = opened.expect("a subscription");
    assert!(matches!(step(&mut subscription).await, Step::Hello { .. }));
    subscription
}

/// A subscription at the live end.
async fn live(bus: &Bus, caller: &Caller) -> Subscription {
    let mut subscription = open(bus, caller, "door.*", Start::Latest).await;
    assert!(matches!(step(&mut subscription).await, Step::CaughtUp(_)));
    subscription
}

/// Reads on until it ends, which has to be because of its credential; gives the vids before that.
async fn read_until_expired(subscription: &mut Subscription) -> Vec<u64> {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            match step(subscription).await {
                Step::Events(events, _) => seen.extend(events.iter().map(|e| e.vid)),
                Step::Closing(closing) => return closing.reason,
                _ => {}
            }
        }
    };
    let reason = timeout(IN_TIME, reading).await.expect("it ends in time");
    assert_eq!(reason, ClosingReason::Expired);
    let next = subscription.next().await.expect("no error");
    assert!(next.is_none(), "closing is the last word");
    seen
}

#[tokio::test]
async fn a_subscription_that_waits_ends_with_its_credential() {
    let bus = bus();
    let mut reader = live(&bus, &expiring(300)).await;
    publish(&bus, "door.1").await;
    assert_eq!(read_until_expired(&mut reader).await, [1]);
}

#[tokio::test]
async fn whoever_is_revoked_is_ended_and_nobody_else_is_woken() {
    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (bus, revocations) = (bus(), Revocations::default());
    let mut readers = Vec::new();
    for _ in 0..500 {
        readers.push(live(&bus, &caller(&[">"], None, &revocations)).await);
    }
    let mut anonymous = live(&bus, &Caller::anonymous()).await;
    let counter = Arc::new(CountingWaker::default());
    let waker = Waker::from(counter.clone());
    let mut waiting = pin!(anonymous.next());
    let mut context = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut context).is_pending());

    let others = Revocations::default();
    let mut other = live(&bus, &caller(&[">"], None, &others)).await;
    revocations.replace(["token-7".into()].into());
    bus.recheck_callers();
    for reader in &mut readers {
        read_until_expired(reader).await;
    }
    assert_eq!(counter.0.load(Ordering::SeqCst), 0, "nobody has woken it");
    publish(&bus, "door.1").await;
    assert_eq!(vids(&mut other).await, [1], "it is good still");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_look_at_their_credentials_within_three_seconds() {
    const READERS: usize = 100_000;
    let options = vidette::bus::BusOptions {
        max_subscribers: READERS,
        ..super::options()
    };
    let bus = Bus::start(memory(), options);
    let revocations = Revocations::default();
    let caller = caller(&[">"], None, &revocations);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let mut reader = open(&bus, &caller, ">", Start::Latest).await;
        readers.spawn(async move {
            while let Ok(Some(step)) = reader.next().await {
                if matches!(step, Step::Closing(_)) {
                    return tokio::time::Instant::now();
                }
            }
            panic!("it ended without a word");
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The second change comes when the walk for the first has just begun.
    bus.recheck_callers();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let revoked = tokio::time::Instant::now();
    revocations.replace(["token-7".into()].into());
    bus.recheck_callers();
    let ends: Vec<_> = readers.join_all().await;
    let last = ends.iter().max().expect("many").duration_since(revoked);
    let first = ends.iter().min().expect("many").duration_since(revoked);
    assert!(last < IN_TIME, "{last:?}");
    assert!(
        last.saturating_sub(first) > Duration::from_millis(500),
        "at a pace"
    );
}

#[tokio::test]
async fn a_credential_that_has_ended_opens_and_publishes_nothing() {
    let (bus, ended) = (bus(), expiring(0));
    let refused = Subscription::open(&bus, &ended, ask(">", Start::Latest)).await;
    let error = refused.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let topics = bus.topics(&ended, Filter::all(), None, 10).await;
    assert_eq!(
        topics.expect_err("refused").kind(),
        ErrorKind::Unauthenticated
    );

    let published = bus.publish(&ended, vec![event("door.1")]).await;
    let error = published.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let stream = bus.publish_stream(&ended);
    let streamed = stream
        .enqueue_with_backpressure(vec![event("door.1")])
        .await;
    let error = streamed.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(bus.bounds().last, 0);
}

#[tokio::test]
async fn a_stream_of_batches_that_was_good_takes_none_after_its_end() {
    let (bus, revocations) = (bus(), Revocations::default());
    let publisher = caller(&["door.>"], None, &revocations);
    let stream = bus.publish_stream(&publisher);
    let publishing = stream
        .enqueue_with_backpressure(vec![event("door.1")])
        .await;
    publishing.expect("queued").done().await.expect("a receipt");
    revocations.replace(["token-7".into()].into());
    let streamed = stream
        .enqueue_with_backpressure(vec![event("door.1")])
        .await;
    let error = streamed.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_batch_with_one_topic_beyond_the_right_is_refused_whole() {
    let bus = bus();
    let publisher = caller(&["door.*"], None, &Revocations::default());
    let batch = vec![event("door.1"), event("lift.1"), event("door.2")];
    let refused = bus.publish(&publisher, batch).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("lift.1"), "{refused}");
    assert_eq!(bus.bounds().last, 0);
}

#[tokio::test]
async fn of_a_filter_beyond_the_rights_only_what_they_cover_is_served() {
    let bus = bus();
    let reader = caller(&["door.*", "lift.1"], None, &Revocations::default());
    let opened = Subscription::open(&bus, &reader, ask("*.1", Start::Latest)).await;
    let mut subscription = opened.expect("a subscription");
    let Step::Hello { cut_to, .. } = step(&mut subscription).await else {
        panic!("hello is the first step");
    };
    let served = Filter::parse(["door.1", "lift.1"]).expect("a filter");
    assert_eq!(cut_to, Some(served));
    assert!(matches!(step(&mut subscription).await, Step::CaughtUp(_)));
    for topic in ["stairs.1", "door.2", "lift.1", "cellar.1", "door.1"] {
        publish(&bus, topic).await;
    }
    let mut seen = vids(&mut subscription).await;
    while seen.len() < 2 {
        seen.extend(vids(&mut subscription).await);
    }
    assert_eq!(seen, [3, 5]);

    let listed = bus.topics(&reader, Filter::all(), None, 10).await;
    let listed = listed.expect("topics").into_iter();
    let listed: Vec<_> = listed.map(|(topic, _)| topic.to_string()).collect();
    assert_eq!(listed, ["door.1", "door.2", "lift.1"]);
}

#[tokio::test]
async fn a_filter_within_the_rights_is_not_said_to_be_cut() {
    let bus = bus();
    let reader = caller(&["door.*"], None, &Revocations::default());
    let opened = Subscription::open(&bus, &reader, ask("door.1", Start::Latest)).await;
    let hello = step(&mut opened.expect("a subscription")).await;
    assert!(
        matches!(hello, Step::Hello { cut_to: None, .. }),
        "{hello:?}"
    );
}

/// A log whose reads, once begun, never end.
struct StuckReads;

#[async_trait]
impl Hooks for StuckReads {
    async fn read(&self, _: &dyn Engine, _: ReadRequest) -> Result<Page> {
        pending().await
    }

    async fn read_newest(&self, _: &dyn Engine, _: ReadRequest) -> Result<Page> {
        pending().await
    }
}

#[tokio::test]
async fn a_reader_that_waits_for_the_log_ends_as_well_and_has_moved_nowhere() {
    for start in [Start::Earliest, Start::Snapshot] {
        let inner = memory();
        let batch = vec![event("door.1"); 40_000];
        for part in batch.chunks(10_000) {
            let appended = inner.append(vec![part.to_vec()], in_ms(0).into()).await;
            appended.expect("receipts");
        }
        let bus = bus_on(Arc::new(WrappingEngine::around(inner, StuckReads)));
        let mut reader = open(&bus, &expiring(300), "door.*", start.clone()).await;
        assert_eq!(read_until_expired(&mut reader).await, [0; 0], "{start:?}");
        assert_eq!(reader.position(), 0, "{start:?}");
    }
}

#[tokio::test]
async fn a_reader_that_comes_late_for_its_next_step_gets_no_event_of_after_its_end() {
    let bus = bus();
    let mut reader = live(&bus, &expiring(50)).await;
    publish(&bus, "door.1").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Whoever is blocked by a slow connection asks again only much later.
    assert_eq!(read_until_expired(&mut reader).await, [0; 0]);
}

#[tokio::test]
async fn a_reader_that_catches_up_ends_between_two_pages() {
    let (bus, revocations) = (bus(), Revocations::default());
    for _ in 0..5 {
        let batch = vec![event("door.1"); 1000];
        bus.publish(&Caller::gateway(), batch).await.expect("vids");
    }
    let reader = caller(&[">"], None, &revocations);
    let mut reader = open(&bus, &reader, "door.*", Start::Earliest).await;
    let first = vids(&mut reader).await;
    assert!(first.len() < 5000, "one page of several");
    revocations.replace(["token-7".into()].into());
    assert_eq!(read_until_expired(&mut reader).await, [0; 0]);
    assert_eq!(reader.position(), first.len() as u64);
}
