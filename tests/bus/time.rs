//! Ages and times when the wall clock is wrong, is set, or the machine was off.

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use tempfile::TempDir;
use vidette::bus::{Bus, BusOptions, SettableTime};
use vidette::cursor::Start;
use vidette::engine::{Engine, MemoryEngine, PageBudget, ReadRequest, Retention, SqliteEngine};
use vidette::event::{EventParts, NewEvent};
use vidette::topic::Filter;

use crate::{options, subscribe, vids};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3650 * DAY;
const TODAY: i64 = 1_800_000_000_000;
const WINDOW: Duration = Duration::from_secs(120);

/// A bus that keeps events for 7 days and ids for 2 minutes.
fn bus_at(machine: &SettableTime, engine: Arc<dyn Engine>) -> Bus {
    let options = BusOptions {
        retention: week(),
        ..options()
    };
    Bus::start_with_time(engine, options, Box::new(machine.clone()))
}

fn week() -> Retention {
    Retention {
        max_age: Duration::from_secs(7 * 24 * 3600),
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        dedupe_window: WINDOW,
    }
}

/// Publishes an event with this id; its vid, its time, and whether the id was known.
async fn publish(bus: &Bus, id: &str) -> (u64, i64, bool) {
    let parts = EventParts {
        topic: "a",
        id: Some(id),
        ..EventParts::default()
    };
    let event = NewEvent::check(parts, 100).expect("an event");
    let receipt = bus
        .publish(&Caller::gateway(), vec![event])
        .await
        .expect("a receipt")[0];
    let request = ReadRequest {
        after: receipt.vid - 1,
        through: receipt.vid,
        filter: Filter::parse(["a"]).expect("a filter"),
        budget: PageBudget::of_events(1),
    };
    let page = bus.engine_for_tests().read(request).await.expect("a page");
    (receipt.vid, page.events[0].time_ms, receipt.duplicate)
}

async fn first_after_trimming(bus: &Bus) -> u64 {
    bus.trim(week()).await.expect("trimmed");
    bus.bounds().first
}

async fn a_jump_of_years_does_nothing_and_time_goes_on(engine: Arc<dyn Engine>) {
    let machine = SettableTime::new(TODAY);
    let bus = bus_at(&machine, engine);
    assert_eq!(publish(&bus, "x").await, (1, TODAY, false));
    machine.jump(TEN_YEARS);
    for second in 1..=3 {
        machine.pass(SECOND);
        assert_eq!(first_after_trimming(&bus).await, 1);
        let (_, time_ms, is_known) = publish(&bus, "x").await;
        assert_eq!((time_ms, is_known), (TODAY, true), "nothing is forgotten");
        let (_, time_ms, _) = publish(&bus, &format!("ahead {second}")).await;
        assert_eq!(time_ms, TODAY + second * SECOND);
    }
    machine.jump(-TEN_YEARS);
    assert_eq!(publish(&bus, "back").await, (5, TODAY + 3 * SECOND, false));
    assert_eq!(first_after_trimming(&bus).await, 1);

    machine.pass(2 * HOUR);
    let (vid, time_ms, is_known) = publish(&bus, "x").await;
    let later = TODAY + 3 * SECOND + 2 * HOUR;
    assert_eq!((vid, time_ms, is_known), (6, later, false));
    machine.pass(7 * DAY - HOUR);
    assert_eq!(
        first_after_trimming(&bus).await,
        6,
        "those before are a week old"
    );
    machine.pass(23 * DAY);
    assert_eq!(first_after_trimming(&bus).await, 7);
}

#[tokio::test]
async fn memory_a_jump_of_years_does_nothing_and_time_goes_on() {
    a_jump_of_years_does_nothing_and_time_goes_on(Arc::new(MemoryEngine::new(WINDOW))).await;
}

#[tokio::test]
async fn sqlite_a_jump_of_years_does_nothing_and_time_goes_on() {
    let folder = TempDir::new().expect("a folder");
    a_jump_of_years_does_nothing_and_time_goes_on(open(&folder)).await;
}

fn open(folder: &TempDir) -> Arc<dyn Engine> {
    Arc::new(SqliteEngine::open(folder.path(), WINDOW).expect("an engine"))
}

/// Opens the log again; whoever had it has to let it go first.
async fn restart(machine: &SettableTime, folder: &TempDir, bus: Bus) -> Bus {
    bus.close();
    drop(bus);
    loop {
        match SqliteEngine::open(folder.path(), WINDOW) {
            Ok(engine) => return bus_at(machine, Arc::new(engine)),
            Err(_) => tokio::task::yield_now().await, // a task of the bus is about to end
        }
    }
}

#[tokio::test]
async fn a_start_with_a_wrong_clock_trims_and_forgets_nothing() {
    for by_ms in [TEN_YEARS, -TEN_YEARS, 20 * DAY, -20 * DAY, HOUR, -HOUR] {
        let folder = TempDir::new().expect("a folder");
        let machine = SettableTime::new(TODAY);
        let bus = bus_at(&machine, open(&folder));
        publish(&bus, "x").await;
        machine.jump(by_ms);
        let bus = restart(&machine, &folder, bus).await;
        assert_eq!(publish(&bus, "x").await, (1, TODAY, true), "{by_ms}");
        assert_eq!(first_after_trimming(&bus).await, 1, "{by_ms}");
        machine.jump(-by_ms);
        publish(&bus, "y").await;

        machine.pass(2 * HOUR);
        assert!(!publish(&bus, "x").await.2, "{by_ms}");
        machine.pass(7 * DAY - HOUR);
        assert_eq!(first_after_trimming(&bus).await, 3, "{by_ms}");
    }
}

/// A week of nothing but running and restarts, of which no event says anything.
#[tokio::test(start_paused = true)]
async fn an_idle_log_grows_older_over_restarts() {
    let folder = TempDir::new().expect("a folder");
    let machine = SettableTime::new(TODAY);
    let mut bus = bus_at(&machine, open(&folder));
    publish(&bus, "x").await;
    for day in 0..8 {
        assert_eq!(bus.bounds().first, 1, "day {day}");
        machine.pass(DAY);
        // Retention has its turn, and notes the time.
        until(|| {
            bus.engine_for_tests()
                .newest_moment()
                .expect("it is noted")
                .counted_ms
                >= TODAY + (day + 1) * DAY
        })
        .await;
        bus = restart(&machine, &folder, bus).await;
    }
    until(|| bus.bounds().first == 2).await;
}

async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never");
}

#[tokio::test]
async fn since_means_the_time_that_events_have() {
    let machine = SettableTime::new(TODAY);
    let bus = bus_at(&machine, Arc::new(MemoryEngine::new(WINDOW)));
    publish(&bus, "x").await;
    machine.pass(HOUR);
    publish(&bus, "y").await;
    machine.pass(10 * 60 * SECOND);
    for by_ms in [0, TEN_YEARS, -TEN_YEARS] {
        machine.jump(by_ms);
        let mut reader = subscribe(&bus, "a", Start::SinceAgo(15 * 60 * SECOND)).await;
        assert_eq!(vids(&mut reader).await, [2], "{by_ms}");
        machine.jump(-by_ms);
    }
}
