//! What a publish costs beside many filters, on a log in memory and on one on disk.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use vidette::bus::{Bus, Step, Subscription};
use vidette::caller::Caller;
use vidette::cursor::Start;
use vidette::engine::{Engine, MemoryEngine};
use vidette::event::{EventParts, NewEvent};

use super::{DAY, Sizes, mean, open, options, subscribe};

const PATTERNS_EACH: usize = 100;
/// Measured in turn without the filters and with them.
const ROUNDS: usize = 7;

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

async fn subscribe_all(bus: &Bus, count: usize) -> Vec<Subscription> {
    let mut all = Vec::new();
    for number in 0..count {
        let mut reader = subscribe(bus, &patterns_of(number), Start::Latest).await;
        let step = reader.next().await.expect("a step");
        assert!(matches!(step, Some(Step::Hello { .. })));
        all.push(reader);
    }
    all
}

/// Topics that one pattern of one subscription matches, or that none does.
fn topics(subscriptions: usize, is_matched: bool) -> Vec<String> {
    let last = if is_matched { 4 } else { 400_000 };
    let of = |n: usize| format!("tenant.{}.window.{last}", n % subscriptions);
    (0..1000).map(of).collect()
}

fn events(topics: &[String], count: usize) -> Vec<NewEvent> {
    let of = |topic: &String| {
        let parts = EventParts {
            topic,
            data: "{}".into(),
            ..EventParts::default()
        };
        NewEvent::check(parts, 10_000).expect("an event")
    };
    topics.iter().cycle().take(count).map(of).collect()
}

/// CPU time of this process.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("a clock")
        .into()
}

/// Wall and CPU time of a publish of so many events.
async fn publish(bus: &Bus, topics: &[String], runs: u32, each: usize) -> (Duration, Duration) {
    let mut all = events(topics, runs as usize * each).into_iter();
    let cpu_before = cpu();
    let wall = mean(runs, |_| {
        let batch: Vec<_> = all.by_ref().take(each).collect();
        async {
            bus.publish(&Caller::gateway(), batch)
                .await
                .expect("receipts")
        }
    })
    .await;
    (wall, cpu().saturating_sub(cpu_before) / runs)
}

/// Without the filters and with them, in turn, and what the one costs by the other.
async fn compare(name: &str, buses: [&Bus; 2], topics: &[String], runs: u32, each: usize) {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (place, bus) in buses.iter().enumerate() {
            let (wall, cpu) = publish(bus, topics, runs, each).await;
            times[place].push(wall);
            times[place + 2].push(cpu);
        }
    }
    let [none, with, cpu_none, cpu_with] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    println!(
        "| {name} | {:.4} | | none {none:.2} µs, with {with:.2} µs: {:.2}; CPU {cpu_none:.2} µs, \
         {cpu_with:.2} µs: {:.2} |",
        with / 1000.0,
        with / none,
        cpu_with / cpu_none
    );
}

pub(super) async fn measure(sizes: &Sizes) {
    if !sizes.wants("publish") {
        return;
    }
    let count = (sizes.patterns / PATTERNS_EACH).max(1);
    for is_on_disk in [false, true] {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let engine_of = |folder: &tempfile::TempDir| -> Arc<dyn Engine> {
            if is_on_disk {
                return open(folder.path());
            }
            Arc::new(MemoryEngine::new(DAY))
        };
        let [none, with] = folders
            .each_ref()
            .map(|f| Bus::start(engine_of(f), options()));
        // One subscription of a few patterns that nobody publishes to is beside them, too.
        let _one = subscribe(&none, &["other.*".to_owned()], Start::Latest).await;
        let _all = subscribe_all(&with, count).await;
        let kind = if is_on_disk { "SQLite" } else { "memory" };
        let runs = if is_on_disk { 300 } else { 5000 };
        for (matched, text) in [(false, "none matches"), (true, "one matches each")] {
            let topics = topics(count, matched);
            let name = format!("publish on {kind}, {} filters, {text}", sizes.patterns);
            compare(&name, [&none, &with], &topics, runs, 1).await;
            let name = format!("{name}, 100 events");
            compare(&name, [&none, &with], &topics, runs / 10, 100).await;
        }
    }
}
