//! What a large log and many filters cost: `cargo bench --bench large_log -- --events 10000000
//! --topics 1000000 --patterns 100000`, or `make bench-large`.
//!
//! Fills a log on SQLite through the engine, in a temporary folder that is deleted afterwards, then
//! measures on it: the start, the first answer from the oldest event on to filters of several
//! kinds, lists of topics and snapshots, a publish beside many filters, and the steps in which
//! everything expires. Prints a table. Small by default. `--folder PATH` keeps the log there, and
//! takes it from there the next time; `--only WORD` measures only rows that contain the word.

#[path = "large_log/events.rs"]
mod events;
#[path = "large_log/publishing.rs"]
mod publishing;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::Names;
use vidette::bus::{Bus, BusOptions, OnGap, Step, SubscribeRequest, Subscription};
use vidette::caller::Caller;
use vidette::cursor::Start;
use vidette::engine::{Engine, Moment, Retention, SqliteEngine};
use vidette::topic::Filter;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Events of one append while the log is filled.
const BATCH: usize = 10_000;
/// Each figure is the median of so many, of fewer where each takes long.
const RUNS: usize = 5;
const ENOUGH: Duration = Duration::from_secs(6);

/// What is asked for on the command line.
struct Sizes {
    events: u64,
    topics: u64,
    patterns: usize,
    folder: Option<PathBuf>,
    only: String,
}

impl Sizes {
    fn from_arguments() -> Self {
        let mut sizes = Sizes {
            events: 100_000,
            topics: 10_000,
            patterns: 1000,
            folder: None,
            only: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().expect("a value behind the name");
            match name.as_str() {
                "--events" => sizes.events = value().parse().expect("a number"),
                "--topics" => sizes.topics = value().parse().expect("a number"),
                "--patterns" => sizes.patterns = value().parse().expect("a number"),
                "--folder" => sizes.folder = Some(value().into()),
                "--only" => sizes.only = value(),
                _ => {} // cargo's own
            }
        }
        sizes
    }

    fn wants(&self, row: &str) -> bool {
        row.contains(&self.only)
    }
}

fn options() -> BusOptions {
    BusOptions {
        heartbeat: DAY,
        max_subscribers: 100_000,
        max_event_bytes: 10_000,
        retention: keep(u64::MAX),
    }
}

fn keep(max_events: u64) -> Retention {
    Retention {
        max_age: DAY * 365,
        max_events,
        max_bytes: u64::MAX,
        dedupe_window: DAY,
    }
}

fn open(folder: &Path) -> Arc<SqliteEngine> {
    Arc::new(SqliteEngine::open(folder, Duration::from_secs(120)).expect("an engine"))
}

#[tokio::main]
async fn main() {
    let sizes = Sizes::from_arguments();
    let temporary = tempfile::TempDir::new().expect("a folder");
    let folder = sizes.folder.as_deref().unwrap_or(temporary.path());
    let names = Names::of(sizes.topics);
    println!(
        "| {} events, {} topics | median ms | longest ms | |",
        sizes.events, sizes.topics
    );
    println!("|---|--:|--:|---|");
    if open(folder).state().bounds.last == 0 {
        fill(folder, &sizes, &names).await;
    }
    measure_start(folder, &sizes);
    measure_reading(folder, &sizes, &names).await;
    measure_topics(folder, &sizes, &names).await;
    publishing::measure(&sizes).await;
    measure_expiry(folder, &sizes).await;
}

async fn fill(folder: &Path, sizes: &Sizes, names: &Names) {
    let engine = open(folder);
    let begun = Instant::now();
    let now = wall_clock();
    for first in (0..sizes.events).step_by(BATCH) {
        let numbers = first..sizes.events.min(first + BATCH as u64);
        let batch: Vec<_> = numbers.map(|number| names.event(number)).collect();
        let appended = engine.append(vec![batch], now).await;
        appended
            .expect("an append")
            .batches
            .pop()
            .expect("one")
            .expect("durable");
    }
    let took_ms = begun.elapsed().as_millis().max(1);
    let bytes = engine.state().sizes.bytes;
    let on_disk = std::fs::metadata(folder.join("vidette.db")).map_or(0, |m| m.len());
    println!(
        "| filled | {took_ms} | | {} events/s, {} MB of events, {} MB on disk |",
        u128::from(sizes.events) * 1000 / took_ms,
        bytes / 1_000_000,
        on_disk / 1_000_000
    );
}

fn wall_clock() -> Moment {
    let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let time_ms = i64::try_from(since_1970.as_millis()).expect("not so late");
    Moment {
        time_ms,
        counted_ms: time_ms,
    }
}

fn print_row(name: &str, took: &mut [Duration], note: &str) {
    took.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "| {name} | {:.2} | {:.2} | {note} |",
        ms(median),
        ms(longest)
    );
}

/// From the first look at the folder to a bus that publishes and reads.
fn measure_start(folder: &Path, sizes: &Sizes) {
    let name = "start to ready";
    if !sizes.wants(name) {
        return;
    }
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let bus = Bus::start(open(folder), options());
        bus.ready().expect("ready");
        took.push(begun.elapsed());
        drop(bus);
        // The log is closed by the threads that hold it, a moment later.
        std::thread::sleep(Duration::from_millis(300));
    }
    print_row(name, &mut took, "");
}

async fn subscribe(bus: &Bus, patterns: &[String], start: Start) -> Subscription {
    let request = SubscribeRequest {
        filter: Filter::parse(patterns.iter().map(String::as_str)).expect("a filter"),
        start,
        on_gap: OnGap::Continue,
        limit: None,
    };
    let opened = Subscription::open(bus, &Caller::gateway(), request).await;
    opened.expect("a subscription")
}

/// How long the first answer takes, and reading all there is; with the number of events.
async fn read(bus: &Bus, pattern: &str, start: Start) -> (Duration, Duration, usize) {
    let begun = Instant::now();
    let mut reader = subscribe(bus, &[pattern.to_owned()], start).await;
    let (mut first, mut count) = (None, 0);
    loop {
        match reader.next().await.expect("a step").expect("not the end") {
            Step::Events(batch, _) => count += batch.len(),
            Step::CaughtUp(_) => {
                let all = begun.elapsed();
                return (first.unwrap_or(all), all, count);
            }
            _ => continue,
        }
        first.get_or_insert(begun.elapsed());
    }
}

async fn measure_read(engine: &Arc<SqliteEngine>, sizes: &Sizes, pattern: &str, start: Start) {
    let name = match start {
        Start::Snapshot => "snapshot of",
        _ => "earliest of",
    };
    let name = format!("{name} `{pattern}`");
    if !sizes.wants(&name) {
        return;
    }
    let (mut firsts, mut alls, mut count) = (Vec::new(), Vec::new(), 0);
    let begun = Instant::now();
    while firsts.is_empty() || firsts.len() < RUNS && begun.elapsed() < ENOUGH {
        // A fresh one, whose caches are empty; those of the disk and of the engine are not.
        let bus = Bus::start(engine.clone(), options());
        let (first, all, events) = read(&bus, pattern, start.clone()).await;
        firsts.push(first);
        alls.push(all);
        count = events;
    }
    let very_first = firsts[0].as_secs_f64() * 1000.0;
    print_row(
        &name,
        &mut firsts,
        &format!("the very first {very_first:.2}"),
    );
    print_row(
        &format!("{name}, to the end"),
        &mut alls,
        &format!("{count} events"),
    );
}

async fn measure_reading(folder: &Path, sizes: &Sizes, names: &Names) {
    let engine = open(folder);
    for pattern in names.patterns() {
        measure_read(&engine, sizes, &pattern, Start::Earliest).await;
    }
    for pattern in names.patterns() {
        measure_read(&engine, sizes, &pattern, Start::Snapshot).await;
    }
}

async fn measure_topics(folder: &Path, sizes: &Sizes, names: &Names) {
    let engine = open(folder);
    for pattern in names.patterns().into_iter().chain([">".to_owned()]) {
        let name = format!("topics of `{pattern}`, a page of 1,000");
        if !sizes.wants(&name) {
            continue;
        }
        let (mut took, mut count) = (Vec::new(), 0);
        for _ in 0..RUNS {
            let filter = Filter::parse([pattern.as_str()]).expect("a filter");
            let begun = Instant::now();
            let found = engine.topics(filter, None, 1000).await.expect("topics");
            took.push(begun.elapsed());
            count = found.len();
        }
        print_row(&name, &mut took, &format!("{count} topics"));
    }
}

/// Everything expires: of the log that is deleted anyway, not of one that is kept.
async fn measure_expiry(folder: &Path, sizes: &Sizes) {
    if sizes.folder.is_some() || !sizes.wants("expiry") {
        return;
    }
    let engine = open(folder);
    let (mut steps, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < ENOUGH {
        let one = Instant::now();
        let step = engine
            .trim(keep(0), wall_clock().counted_ms)
            .await
            .expect("a step");
        steps.push(one.elapsed());
        if !step.more {
            break;
        }
    }
    let note = format!(
        "{} steps in {:.1} s",
        steps.len(),
        begun.elapsed().as_secs_f64()
    );
    print_row("a step of expiry", &mut steps, &note);
}

/// The mean time of one of so many runs.
async fn mean<F: Future>(runs: u32, mut run: impl FnMut(u32) -> F) -> Duration {
    let begun = Instant::now();
    for number in 0..runs {
        run(number).await;
    }
    begun.elapsed() / runs
}
