//! How many events a second one gateway appends, in groups of several sizes. No test: it prints a
//! table, by `make bench-nats-publish`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use vidette::engine::{Engine, JetStreamEngine, Moment};
use vidette::event::{EventParts, NewEvent};

use crate::common::nats::{NatsCluster, requirements};

/// How long each size is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// Bytes of the data of an event.
const DATA_BYTES: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, for a quiet machine"]
async fn appended_events_a_second() {
    println!("| servers | ids | events in a group | events/s | p50 | p99 |");
    println!("|--:|---|--:|--:|--:|--:|");
    for servers in [1, 3] {
        let nats = NatsCluster::start(servers).await;
        for has_ids in [false, true] {
            let name = format!("speed{has_ids}");
            let engine = JetStreamEngine::open(nats.options(&name), requirements()).await;
            let engine = engine.expect("an engine");
            for size in [1, 10, 100, 1000] {
                let times = measure(&engine, size, has_ids).await;
                let whole: Duration = times.iter().sum();
                let events = u32::try_from(times.len() * size).expect("some seconds' events");
                let rate = f64::from(events) / whole.as_secs_f64();
                let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
                println!(
                    "| {servers} | {} | {size} | {rate:.0} | {:.1} ms | {:.1} ms |",
                    if has_ids { "all" } else { "none" },
                    at(50),
                    at(99)
                );
            }
        }
    }
}

/// How long each group took, the shortest first.
async fn measure(engine: &JetStreamEngine, size: usize, has_ids: bool) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < MEASURED {
        let events: Vec<_> = (0..size).map(|_| event(has_ids)).collect();
        let now = Moment {
            time_ms: 0,
            counted_ms: 0,
        };
        let sent = Instant::now();
        let appended = engine.append(vec![events], now).await.expect("an answer");
        times.push(sent.elapsed());
        assert!(appended.batches[0].is_ok());
    }
    times.sort();
    times
}

fn event(has_id: bool) -> NewEvent {
    let id = has_id.then(|| format!("{:016x}", fastrand::u64(..)));
    let parts = EventParts {
        topic: "door.3.opened",
        kind: Some("opened"),
        id: id.as_deref(),
        content_type: Some("application/octet-stream"),
        data: Bytes::from_static(&[b'x'; DATA_BYTES]),
        ..EventParts::default()
    };
    NewEvent::check(parts, DATA_BYTES).expect("an event")
}
