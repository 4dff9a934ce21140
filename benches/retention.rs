//! Publishing beside retention: `cargo bench --bench retention`, or `make bench-retention`.
//!
//! A log on disk of 1,000,000 events, each on a topic of its own. One publisher sends an event
//! every 50 ms, each on a new topic, and waits until it is durable: first alone, then while all of
//! the million expire, then in batches of 10,000 beside a bound of 1,000 events. Bounded:
//! `RETENTION_TOPICS` (1,000,000) topics; no network.

use std::sync::Arc;
use std::time::{Duration, Instant};
use vidette::caller::Caller;

use hdrhistogram::Histogram;
use vidette::bus::{Bus, BusOptions};
use vidette::engine::{Retention, SqliteEngine};
use vidette::event::{EventParts, NewEvent};

const EVERY: Duration = Duration::from_millis(50);
const ALONE: Duration = Duration::from_secs(30);
const BATCH: u64 = 10_000;
const BATCHES: u64 = 20;
/// Events that retention keeps.
const KEPT: u64 = 1000;

fn options() -> BusOptions {
    BusOptions {
        heartbeat: Duration::from_secs(15),
        max_subscribers: 1,
        max_event_bytes: 1024,
        retention: keep(u64::MAX),
    }
}

fn keep(max_events: u64) -> Retention {
    let day = Duration::from_secs(24 * 3600);
    Retention {
        max_age: day,
        max_events,
        max_bytes: u64::MAX,
        dedupe_window: day,
    }
}

/// Names in no order, like those of real things, so that neighbouring events are far apart in the
/// index.
fn event(number: u64) -> NewEvent {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let parts = EventParts {
        topic: &format!("thing.{mixed:016x}.state"),
        content_type: Some("text/plain"),
        data: "0123456789abcdef".repeat(8).into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1024).expect("an event")
}

struct Publisher {
    bus: Bus,
    next: u64,
}

impl Publisher {
    async fn publish(&mut self, events: u64) -> Duration {
        // Every event has a topic of its own, which is the most that retention has to delete.
        let batch: Vec<_> = (self.next..self.next + events).map(event).collect();
        self.next += events;
        let begun = Instant::now();
        self.bus
            .publish(&Caller::gateway(), batch)
            .await
            .expect("receipts");
        begun.elapsed()
    }

    /// Publishes until the log has so many events.
    async fn fill(&mut self, events: u64) {
        while self.next < events {
            self.publish(BATCH.min(events - self.next)).await;
        }
    }

    /// One event at each due time, until `ends`; the time from when it was due counts.
    async fn publish_until(&mut self, ends: impl Future<Output = ()>) -> Histogram<u64> {
        let mut took_us = Histogram::new(3).expect("a histogram");
        let mut ticks = tokio::time::interval(EVERY);
        let mut ends = std::pin::pin!(ends);
        loop {
            let due = tokio::select! {
                due = ticks.tick() => due,
                () = &mut ends => return took_us,
            };
            self.publish(1).await;
            record(&mut took_us, due.elapsed());
        }
    }
}

fn record(took_us: &mut Histogram<u64>, took: Duration) {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    took_us.record(us).expect("recorded");
}

fn print_row(scene: &str, took_us: &Histogram<u64>, seconds: f64) {
    let ms = |us: u64| format!("{}.{}", us / 1000, us % 1000 / 100);
    println!(
        "| {scene} | {} | {} | {} | {} | {seconds:.1} |",
        took_us.len(),
        ms(took_us.value_at_quantile(0.5)),
        ms(took_us.value_at_quantile(0.99)),
        ms(took_us.max()),
    );
}

async fn trim(bus: &Bus, max_events: u64) -> f64 {
    let begun = Instant::now();
    bus.trim(keep(max_events)).await.expect("trimmed");
    begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let topics = topics_from_env();
    let folder = tempfile::TempDir::new().expect("a folder");
    let engine = SqliteEngine::open(folder.path(), Duration::from_secs(120)).expect("an engine");
    let bus = Bus::start(Arc::new(engine), options());
    let mut publisher = Publisher { bus, next: 0 };
    publisher.fill(topics).await;

    println!("{HEAD}");
    let alone = publisher.publish_until(tokio::time::sleep(ALONE)).await;
    print_row("alone", &alone, ALONE.as_secs_f64());
    publish_beside_expiry(&mut publisher, topics).await;
    publish_over_the_bound(publisher).await;
}

const HEAD: &str = "| one publisher | publishes | p50 ms | p99 ms | longest ms | s |
|---|---|---|---|---|---|";

fn topics_from_env() -> u64 {
    let given = std::env::var("RETENTION_TOPICS").ok();
    let topics = given.and_then(|text| text.parse().ok());
    topics.unwrap_or(1_000_000)
}

/// One publisher while all topics but the newest expire.
async fn publish_beside_expiry(publisher: &mut Publisher, topics: u64) {
    let bus = publisher.bus.clone();
    let trimming = async {
        let last = bus.bounds().last;
        trim(&bus, KEPT).await;
        let first = bus.bounds().first;
        assert!(first + KEPT >= last, "all of them have expired");
    };
    let begun = Instant::now();

    // It ends when all have expired, however long that takes.
    let took_us = publisher.publish_until(trimming).await;
    let scene = format!("beside {topics} topics that expire");
    print_row(&scene, &took_us, begun.elapsed().as_secs_f64());
}

/// Batches as fast as they are accepted, each of ten times as many events as may be kept.
async fn publish_over_the_bound(mut publisher: Publisher) {
    let trimming = tokio::spawn(trim_forever(publisher.bus.clone()));
    let (begun, mut most_kept) = (Instant::now(), 0);
    let mut took_us = Histogram::new(3).expect("a histogram");
    for _ in 0..BATCHES {
        let took = publisher.publish(BATCH).await;
        record(&mut took_us, took);
        most_kept = most_kept.max(publisher.bus.gauges().events);
    }
    trimming.abort();
    let scene =
        format!("batches of {BATCH} over a bound of 1,000 events; at most {most_kept} kept");
    print_row(&scene, &took_us, begun.elapsed().as_secs_f64());
}

async fn trim_forever(bus: Bus) {
    loop {
        trim(&bus, KEPT).await;

        // Without work to do it would not let others run.
        tokio::task::yield_now().await;
    }
}
