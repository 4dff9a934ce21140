//! Writers whose transactions are of random length and commit in random order, some of them not at
//! all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use crate::database::connect;

/// What is written to the outbox is written here in the same transaction: so it is known what was
/// committed.
pub(crate) const LEDGER: &str = "CREATE TABLE ledger (word text PRIMARY KEY)";

/// Rows that one transaction writes at most.
const MAX_ROWS: u64 = 20;

#[derive(Default)]
pub(crate) struct Shared {
    /// Rows that are committed for sure.
    pub(crate) committed: AtomicU64,
    pub(crate) is_over: AtomicBool,
}

/// Eight of them, until they are stopped.
pub(crate) fn start(url: &str, seed: u64, shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let writer = |n| {
        write(
            n,
            url.to_owned(),
            fastrand::Rng::with_seed(seed + n),
            shared.clone(),
        )
    };
    (0..8).map(|n| tokio::spawn(writer(n))).collect()
}

async fn write(writer: u64, url: String, mut random: fastrand::Rng, shared: Arc<Shared>) {
    let mut next = 0;
    while !shared.is_over.load(Ordering::Relaxed) {
        let Ok(client) = connect(&url).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // A connection that breaks takes its transaction along, or leaves it in doubt; its numbers
        // are not used again.
        while !shared.is_over.load(Ordering::Relaxed) {
            let Ok(rows) = transaction(&client, writer, &mut next, &mut random).await else {
                break;
            };
            shared.committed.fetch_add(rows, Ordering::Relaxed);
        }
    }
}

/// Gives how many rows were committed.
async fn transaction(
    client: &Client,
    writer: u64,
    next: &mut u64,
    random: &mut fastrand::Rng,
) -> Result<u64, Error> {
    let (rows, is_slow) = (random.u64(1..=MAX_ROWS), random.u8(..) < 60);
    client.batch_execute("BEGIN").await?;
    for _ in 0..rows {
        *next += 1;
        let insert = format!(
            "INSERT INTO ledger VALUES ('w{writer}-{next}');
            INSERT INTO vidette_outbox (topic, data) VALUES ('door.{writer}', 'w{writer}-{next}')"
        );
        client.batch_execute(&insert).await?;
        if is_slow {
            tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
        }
    }
    let commits = random.u8(..) > 25;
    client
        .batch_execute(if commits { "COMMIT" } else { "ROLLBACK" })
        .await?;
    Ok(if commits { rows } else { 0 })
}
