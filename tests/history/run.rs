//! The run: many writers, many readers, and a gateway that is killed, ended and set to other times
//! while strangers open its database and clients hang up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::checker::check;
use crate::clock::Clock;
use crate::common::gateway::{Gateway, Setup};
use crate::common::publisher::WAYS;
use crate::disturbance::Disturbance;
use crate::findings::{Findings, Report, Totals};
use crate::leaver::come_and_leave;
use crate::reader::read;
use crate::record::Rules;
use crate::shared::Shared;
use crate::stranger::open_again_and_again;
use crate::writer::{TOPICS, write};

const RULES: Rules = Rules {
    max_events: 500,
    max_age_ms: 8000,
};
/// A run goes on for so much longer at most until each thing has happened.
const LONGER: Duration = Duration::from_secs(30);
/// How long writers and then readers may take to come to their end.
const END_WAIT: Duration = Duration::from_secs(60);

/// `VIDETTE_SEED` chooses the run, `VIDETTE_HISTORY_SECONDS` its length.
fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

fn config() -> String {
    let Rules {
        max_events,
        max_age_ms,
    } = RULES;
    format!(
        "[bus]\nheartbeat = \"1s\"\n[limits]\nwrite_timeout = \"5s\"\n\
         [retention]\nmax_age = \"{max_age_ms}ms\"\nmax_events = {max_events}\ndedupe_window = \"5m\"\n"
    )
}

#[tokio::test]
async fn one_log_explains_all_that_publishers_and_readers_were_told() {
    let (seed, seconds) = (
        from_env("VIDETTE_SEED", fastrand::u64(..1_000_000)),
        from_env("VIDETTE_HISTORY_SECONDS", 20),
    );
    println!("VIDETTE_SEED={seed} VIDETTE_HISTORY_SECONDS={seconds}");
    let clock = Clock::new();
    let gateway = Gateway::start_on_a_port_of_its_own(Setup {
        config: config(),
        env: clock.env(),
        ..Setup::default()
    });
    let shared = Shared::new(gateway.address(), RULES);
    let stranger = open_again_and_again(gateway.data_dir(), shared.clone(), seed + 200);
    let clients = run_clients(shared.clone(), seed);

    let mut disturbance = Disturbance::new(gateway, clock, shared.clone(), seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let has_tested = || shared.history().done.has_tested();
    while Instant::now() < until || (!has_tested() && Instant::now() < until + LONGER) {
        disturbance.next().await;
    }
    shared.stop();
    clients.join().expect("clients come to their end in time");
    stranger.join().expect("the stranger ends");
    disturbance.note_panics();

    let history = std::mem::take(&mut *shared.history());
    let ((found, examples), totals) = (check(&history), Totals::of(&history));
    println!("{}", Report(totals, history.done, &found));
    assert!(
        found == Findings::default(),
        "VIDETTE_SEED={seed}: {found:?} {:?} {examples:#?}",
        history.refusals
    );
    assert_eq!(
        totals.written, totals.acknowledged,
        "every writer goes on until it is acknowledged"
    );
    assert!(
        history.done.has_tested() && totals.again > 0,
        "the run tests too little"
    );
}

/// All clients, on one thread: those of a gateway that is killed must not hand requests between
/// threads.
fn run_clients(shared: Arc<Shared>, seed: u64) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(write_and_read(shared, seed));
    })
}

/// Writes until the writers are stopped, and reads until all has been read.
async fn write_and_read(shared: Arc<Shared>, seed: u64) {
    let mut writers = JoinSet::new();
    for (n, way) in (0..).zip(WAYS.into_iter().chain(WAYS)) {
        let name = format!("{n}-{way:?}").to_lowercase();
        writers.spawn(write(name, way, shared.clone(), seed + n));
    }
    for n in 0..2 {
        writers.spawn(come_and_leave(shared.clone(), seed + 300 + n));
    }
    let mut readers = JoinSet::new();
    let filters: [&[&str]; 3] = [&[], &TOPICS[..2], &TOPICS[4..]];
    for (n, topics) in (0..9).zip(filters.into_iter().cycle()) {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        readers.spawn(read(topics, shared.clone(), seed + 100 + n));
    }

    while !shared.is_stopped() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    timeout(END_WAIT, writers.join_all())
        .await
        .expect("writers end in time");
    let bus = reqwest::get(format!("http://{}/v1/bus", shared.gateway)).await;
    let bus: serde_json::Value = bus.expect("an answer").json().await.expect("JSON");
    shared.end_at(bus["last"].as_u64().expect("a vid"));
    timeout(END_WAIT, readers.join_all())
        .await
        .expect("readers end in time");
}
