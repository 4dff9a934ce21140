//! The run: many writers, many readers, and a gateway that is killed, ended and set to other times.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::checker::check;
use crate::clock::Clock;
use crate::common::gateway::{Gateway, Setup};
use crate::common::publisher::WAYS;
use crate::findings::{Report, Totals};
use crate::reader::read;
use crate::record::Rules;
use crate::shared::Shared;
use crate::writer::{TOPICS, write};

const RULES: Rules = Rules {
    max_events: 500,
    max_age_ms: 8000,
};
const HOUR_MS: i64 = 3_600_000;

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

#[tokio::test(flavor = "multi_thread")]
async fn one_log_explains_all_that_publishers_and_readers_were_told() {
    let (seed, seconds) = (
        from_env("VIDETTE_SEED", fastrand::u64(..1_000_000)),
        from_env("VIDETTE_HISTORY_SECONDS", 20),
    );
    println!("VIDETTE_SEED={seed} VIDETTE_HISTORY_SECONDS={seconds}");
    let mut clock = Clock::new();
    let setup = Setup {
        config: config(),
        env: clock.env(),
        ..Setup::default()
    };
    let mut gateway = Gateway::start_on_a_port_of_its_own(setup);
    let shared = Shared::new(gateway.address(), RULES);

    let writers: Vec<_> = (0..)
        .zip(WAYS.into_iter().chain(WAYS))
        .map(|(n, way)| {
            tokio::spawn(write(
                format!("{n}-{way:?}").to_lowercase(),
                way,
                shared.clone(),
                seed + n,
            ))
        })
        .collect();
    let filters: [&[&str]; 3] = [&[], &TOPICS[..2], &TOPICS[4..]];
    let readers: Vec<_> = (0..9)
        .zip(filters.into_iter().cycle())
        .map(|(n, topics)| {
            let topics = topics.iter().map(|t| (*t).to_owned()).collect();
            tokio::spawn(read(topics, shared.clone(), seed + 100 + n))
        })
        .collect();

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = fastrand::Rng::with_seed(seed);
    // Each kind once, then as it comes.
    let mut first_ones = [0, 45, 65, 30, 82].into_iter();
    while Instant::now() < until {
        let kind = first_ones.next().unwrap_or_else(|| random.u8(..100));
        disturb(kind, &mut gateway, &mut clock, &shared, &mut random).await;
    }
    shared.stop();
    for writer in writers {
        timeout(Duration::from_secs(60), writer)
            .await
            .expect("in time")
            .expect("a writer");
    }
    shared.end_at(
        gateway.get("/v1/bus").await["last"]
            .as_u64()
            .expect("a vid"),
    );
    for reader in readers {
        timeout(Duration::from_secs(60), reader)
            .await
            .expect("in time")
            .expect("a reader");
    }

    let history = std::mem::take(&mut *shared.history());
    let ((found, examples), totals) = (check(&history), Totals::of(&history));
    println!("{}", Report(totals, history.done, &found));
    assert!(
        found.is_clean(),
        "VIDETTE_SEED={seed}: {found:?} {:?} {examples:#?}",
        history.refusals
    );
    assert_eq!(
        totals.written, totals.acknowledged,
        "every writer goes on until it is acknowledged"
    );
    let done = history.done;
    let has_tested = [done.kills + done.ends, done.cuts, done.stalls, done.jumps]
        .iter()
        .all(|count| *count > 0);
    assert!(
        has_tested && totals.gaps > 0 && totals.again > 0,
        "the run tests too little"
    );
}

/// One of the things that happen to a gateway.
async fn disturb(
    kind: u8,
    gateway: &mut Gateway,
    clock: &mut Clock,
    shared: &Shared,
    random: &mut fastrand::Rng,
) {
    sleep(Duration::from_millis(random.u64(100..2000))).await;
    let by_ms = random.i64(100..20_000);
    match kind {
        ..25 => {
            tokio::task::block_in_place(|| {
                gateway.kill();
                match random.u8(..4) {
                    0 => jump(clock, shared, -by_ms),
                    1 => jump(clock, shared, by_ms),
                    _ => {}
                }
                gateway.start_again();
            });
            shared.history().done.kills += 1;
        }
        25..40 => {
            assert!(gateway.terminate().await.success(), "{}", gateway.log());
            tokio::task::block_in_place(|| gateway.start_again());
            shared.history().done.ends += 1;
        }
        40..60 => jump(clock, shared, -by_ms),
        60..80 => jump(clock, shared, by_ms),
        80..85 => {
            // Further than ids are remembered: nobody may send one again afterwards.
            let _unused = shared.ids_in_use.write().await;
            sleep(Duration::from_secs(1)).await;
            jump(clock, shared, HOUR_MS);
        }
        85..87 => jump(clock, shared, -HOUR_MS),
        _ => {}
    }
}

fn jump(clock: &mut Clock, shared: &Shared, by_ms: i64) {
    clock.jump(by_ms);
    shared.history().done.jumps += 1;
}
