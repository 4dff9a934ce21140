//! Each committed row becomes one event and none is skipped, whatever is killed meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::gateway::Gateway;
use crate::common::read::Seen;
use crate::database::Database;
use crate::outbox::{database, events, gateway_with, state, until_all_done, words};
use crate::writers::{self, LEDGER, Shared};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// Rows committed between two kills, on average.
const ROWS_A_KILL: u64 = 100;

/// Kills the gateway, crashes the server or ends it in order; and starts it again.
async fn disturb(
    gateway: &mut Gateway,
    database: &mut Database,
    random: &mut fastrand::Rng,
    disturbances: &mut [u32; 3],
) {
    match random.u8(..10) {
        0..6 => {
            tokio::task::block_in_place(|| {
                gateway.kill();
                gateway.start_again();
            });
            disturbances[0] += 1;
        }
        6..8 => {
            tokio::task::block_in_place(|| database.crash());
            database.start_again().await;
            disturbances[1] += 1;
        }
        _ => {
            tokio::task::block_in_place(|| database.stop());
            database.start_again().await;
            disturbances[2] += 1;
        }
    }
}

/// Every word of the ledger once, each writer's in its order.
fn check(ledger: &[String], log: &[Seen]) {
    let mut times: HashMap<&str, u32> = ledger.iter().map(|word| (word.as_str(), 0)).collect();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let words = words(log);
    for word in &words {
        *times
            .get_mut(word.as_str())
            .unwrap_or_else(|| panic!("{word} was never committed")) += 1;
        let (writer, number) = word.split_once('-').expect("a word of a writer's");
        let number = number.parse().expect("a number");
        let before = newest.insert(writer, number).unwrap_or_default();
        assert!(before < number, "{writer} has {number} after {before}");
    }
    let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(wrong.is_empty(), "not once: {wrong:?}");
}

async fn each_row_once(delete_after_publish: bool) {
    let (seed, rows) = (
        from_env("VIDETTE_SEED", fastrand::u64(..1_000_000)),
        from_env("VIDETTE_OUTBOX_ROWS", 1000),
    );
    println!("VIDETTE_SEED={seed} VIDETTE_OUTBOX_ROWS={rows}");
    let mut random = fastrand::Rng::with_seed(seed);
    let begun = Instant::now();
    let mut database = database().await;
    database
        .client()
        .await
        .batch_execute(LEDGER)
        .await
        .expect("a ledger");
    // No id is known for long, so nothing but the source itself keeps a row from coming twice.
    let dedupe = "[retention]\ndedupe_window = \"1ms\"";
    let settings =
        format!("delete_after_publish = {delete_after_publish}\npoll_interval = \"200ms\"");
    let mut gateway = gateway_with(&database, &settings, dedupe);

    let shared = Arc::new(Shared::default());
    let writers = writers::start(&database.url(), seed, &shared);
    let mut disturbances = [0; 3];
    for round in 1..=(rows / ROWS_A_KILL) {
        while shared.committed.load(Ordering::Relaxed) < round * ROWS_A_KILL {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Two times of three the source has got on since the last time; the third may hit it while
        // it begins.
        if random.u8(..3) > 0 {
            let last = gateway.get("/v1/bus").await["last"].as_u64();
            gateway
                .until("new events", || async {
                    gateway.get("/v1/bus").await["last"].as_u64() > last
                })
                .await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..100))).await;
        disturb(&mut gateway, &mut database, &mut random, &mut disturbances).await;
    }
    shared.is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }

    let client = database.client().await;
    until_all_done(&client).await;
    let ledger: Vec<String> = client
        .query("SELECT word FROM ledger", &[])
        .await
        .expect("words")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let log = events(&gateway).await;
    check(&ledger, &log);
    let [kills, crashes, stops] = disturbances;
    println!(
        "{} rows of 8 writers, {} events, each row once; {kills} kills of the gateway, {crashes} \
         crashes and {stops} stops of the server, {:.0?}",
        ledger.len(),
        log.len(),
        begun.elapsed()
    );
    println!("the last gateway says {}", state(&gateway).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_becomes_one_event_while_gateway_and_server_are_killed() {
    each_row_once(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_becomes_one_event_where_rows_are_deleted() {
    each_row_once(true).await;
}
