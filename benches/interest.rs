//! What many patterns cost: `cargo bench --bench interest`.
//!
//! Subscriptions of 100 wildcards each, all of them different, on a bus in memory and on one
//! thread. Measured: how long it takes to open and to close a subscription, what an event and a
//! batch cost with so many patterns of which one matches, what reading costs when each subscription
//! reads a batch of its own, and the worst case that a client can bring about. Prints a table of
//! CPU time, which other work on the machine changes little.

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use nix::time::{ClockId, clock_gettime};
use vidette::bus::{Bus, BusOptions, OnGap, Step, SubscribeRequest, Subscription};
use vidette::cursor::Start;
use vidette::engine::{MemoryEngine, Retention};
use vidette::event::{EventParts, NewEvent};
use vidette::topic::Filter;

const HOUR: Duration = Duration::from_secs(3600);
const PATTERNS_EACH: usize = 100;
const BATCH: usize = 1000;
/// Most events of one measurement, and the time after which it is enough.
const EVENTS: u32 = 2000;
const ENOUGH: Duration = Duration::from_secs(2);
const TOKENS: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("| wildcards | come | go | event | batch of {BATCH} | read it, each |");
    println!("|--:|--:|--:|--:|--:|--:|");
    for subscriptions in [0, 1, 100, 1000] {
        println!("{}", scheme(subscriptions).await);
    }
    println!(
        "| every combination of wildcards near the beginning, and 500 others; none matches \
         | | | {} | | |",
        combinations().await
    );
    println!(
        "| 100,000 of 1,000 subscriptions; all match | | | {} | | |",
        all_match().await
    );
}

/// A moment, in CPU time of this process.
#[derive(Clone, Copy)]
struct CpuInstant(Duration);

impl CpuInstant {
    fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
        CpuInstant(now.into())
    }

    fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

fn bus() -> Bus {
    let retention = Retention {
        max_age: HOUR,
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        dedupe_window: HOUR,
    };
    let options = BusOptions {
        heartbeat: HOUR,
        max_subscribers: 100_000,
        max_event_bytes: 10_000,
        retention,
    };
    Bus::start(Arc::new(MemoryEngine::new(HOUR)), options)
}

fn event(topic: &str) -> NewEvent {
    let parts = EventParts {
        topic,
        data: "{}".into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 10_000).expect("an event")
}

async fn subscribe(bus: &Bus, patterns: &[String], start: Start) -> Subscription {
    let request = SubscribeRequest {
        filter: Filter::parse(patterns.iter().map(String::as_str)).expect("a filter"),
        start,
        on_gap: OnGap::Continue,
        limit: None,
    };
    Subscription::open(bus, &Caller::gateway(), request)
        .await
        .expect("a subscription")
}

/// Patterns as a naming scheme has them: few shapes, many names.
fn patterns_of(subscription: usize) -> Vec<String> {
    let of = |n: usize| match n % 4 {
        0 => format!("tenant.{subscription}.*.{n}"),
        1 => format!("tenant.{subscription}.door.{n}.>"),
        2 => format!("tenant.{subscription}.*.{n}.*"),
        _ => format!("*.{subscription}.alarm.{n}"),
    };
    (0..PATTERNS_EACH).map(of).collect()
}

/// A topic that one pattern of one subscription matches.
fn topic_of(subscription: usize) -> String {
    format!("tenant.{subscription}.window.4")
}

async fn scheme(count: usize) -> String {
    let bus = bus();
    let others = subscribe_all(&bus, (0..count).map(patterns_of), Start::Latest).await;
    let (come, go) = come_and_go(&bus).await;

    // Each event matches one subscription, as far as there are enough of them.
    let topics: Vec<String> = (0..BATCH).map(|n| topic_of(n % count.max(1))).collect();
    let one = publish_each(&bus, &topics).await;
    let batch = publish_batch(&bus, &topics).await;
    drop(others);

    let read = read_batch(&bus, count).await;
    let wildcards = count * PATTERNS_EACH;
    format!("| {wildcards} | {come:.1?} | {go:.1?} | {one:.1?} | {batch:.1?} | {read:.1?} |")
}

/// The mean times in which a subscription is opened and closed.
async fn come_and_go(bus: &Bus) -> (Duration, Duration) {
    let (mut come, mut go, mut rounds) = (Duration::ZERO, Duration::ZERO, 0);
    let all = CpuInstant::now();
    while rounds < EVENTS && all.elapsed() < ENOUGH {
        // Names that nobody else has, so that nothing of it is there already.
        let patterns = patterns_of(usize::MAX - rounds as usize);
        let begin = CpuInstant::now();
        let subscription = subscribe(bus, &patterns, Start::Latest).await;
        come += begin.elapsed();
        let begin = CpuInstant::now();
        drop(subscription);
        go += begin.elapsed();
        rounds += 1;
    }
    (come / rounds, go / rounds)
}

async fn publish_batch(bus: &Bus, topics: &[String]) -> Duration {
    let batch: Vec<_> = topics.iter().map(|topic| event(topic)).collect();
    let begin = CpuInstant::now();
    let published = bus.publish(&Caller::gateway(), batch).await;
    published.expect("receipts");
    begin.elapsed()
}

/// The mean time in which a subscription reads its events of the last batch.
async fn read_batch(bus: &Bus, count: usize) -> Duration {
    let after = Start::After(bus.cursor(bus.bounds().last - BATCH as u64));
    let mut readers = subscribe_all(bus, (0..count).map(patterns_of), after).await;

    // Opening has been measured; only reading counts here.
    let begin = CpuInstant::now();
    for reader in &mut readers {
        while !reader.is_live() {
            reader.next().await.expect("a step");
        }
    }
    begin.elapsed() / u32::try_from(count.max(1)).expect("few")
}

async fn subscribe_all(
    bus: &Bus,
    filters: impl Iterator<Item = Vec<String>>,
    start: Start,
) -> Vec<Subscription> {
    let mut all = Vec::new();
    for patterns in filters {
        let mut subscription = subscribe(bus, &patterns, start.clone()).await;
        let step = subscription.next().await.expect("a step");
        assert!(matches!(step, Some(Step::Hello { .. })));
        all.push(subscription);
    }
    all
}

/// The mean time of an event, published by itself.
async fn publish_each(bus: &Bus, topics: &[String]) -> Duration {
    let (begin, mut events) = (CpuInstant::now(), 0);
    for topic in topics.iter().cycle() {
        // Few when each takes long: a mean needs no more.
        if events == EVENTS || begin.elapsed() > ENOUGH {
            break;
        }
        bus.publish(&Caller::gateway(), vec![event(topic)])
            .await
            .expect("a receipt");
        events += 1;
    }
    begin.elapsed() / events
}

/// A pattern with `*` where a bit of `stars` is set, and this token elsewhere.
fn combination(stars: usize, tokens: usize, token: &str) -> String {
    let of = |n: usize| if stars >> n & 1 == 1 { "*" } else { token };
    (0..tokens).map(of).collect::<Vec<_>>().join(".")
}

/// Every combination that is always allowed and 500 of the others, as the bounds permit. All of
/// them fit the topic's number of tokens, and none matches.
async fn combinations() -> String {
    let bus = bus();
    let patterns: Vec<String> = combination_patterns().collect();
    let filters = patterns.chunks(PATTERNS_EACH).map(<[String]>::to_vec);
    let _others = subscribe_all(&bus, filters, Start::Latest).await;
    let took = publish_each(&bus, &[vec!["t"; TOKENS].join(".")]).await;
    format!("{took:.1?} ({} wildcards)", patterns.len())
}

fn combination_patterns() -> impl Iterator<Item = String> {
    // Open ones: any stars within the first tokens, then `>`.
    let near = (1..TOKENS).flat_map(|n| (0..1 << n.min(6)).map(move |stars| (stars, n)));
    let open = near.map(|(stars, n)| format!("{}.>", combination(stars, n, "other")));

    // Closed ones: any stars within the first tokens, and 500 combinations beyond them.
    let stars = (1..64).chain((1..=500).map(|n| n << 6));
    let closed = stars.map(|stars| combination(stars, TOKENS, "other"));
    open.chain(closed)
        .filter(|pattern| pattern.contains("other"))
}

/// Subscriptions whose patterns all match the one topic.
async fn all_match() -> String {
    let bus = bus();
    let patterns: Vec<String> = (1..=500)
        .map(|n| combination(n << 6, TOKENS, "t"))
        .collect();
    let filters = (0..1000).map(|n| {
        // Different sets: each leaves out others of the 500.
        let of = |m: usize| patterns[(n + m * (1 + n / 500)) % 500].clone();
        (0..PATTERNS_EACH).map(of).collect()
    });
    let _others = subscribe_all(&bus, filters, Start::Latest).await;
    let took = publish_each(&bus, &[vec!["t"; TOKENS].join(".")]).await;
    format!("{took:.1?}")
}
