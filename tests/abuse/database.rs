//! Others have the database open, as a backup or a person with `sqlite3` may.

use std::time::Duration;

use rusqlite::Connection;
use tokio::time::{Instant, sleep};
use vidette::proto::NewEvent;

use crate::common::gateway::Gateway;
use crate::ground::Ground;
use crate::h1;
use crate::memory::MIB;

/// Data of one event.
const EVENT_BYTES: usize = 500_000;
/// What the write-ahead log may take once nobody keeps it from being copied, in bytes.
const LOG_BYTES: u64 = 64 * MIB;
/// How long it may take to come down to that.
const SHRINK_WAIT: Duration = Duration::from_secs(20);
/// How long the write lock is held: longer than SQLite waits for it.
const LOCKED: Duration = Duration::from_secs(7);
/// The longest that a publisher may wait for an answer meanwhile.
const ANSWER_WAIT: Duration = Duration::from_millis(4500);

fn database(gateway: &Gateway) -> Connection {
    let path = gateway.data_dir().join("vidette.db");
    Connection::open(path).expect("the database")
}

/// A read transaction that stands until it is dropped.
fn old_reader(gateway: &Gateway) -> Connection {
    let reader = database(gateway);
    reader.execute_batch("BEGIN").expect("a transaction");
    let count = reader.query_row("SELECT count(*) FROM events", [], |row| {
        row.get::<_, i64>(0)
    });
    count.expect("a read");
    reader
}

fn log_bytes(gateway: &Gateway) -> u64 {
    let path = gateway.data_dir().join("vidette.db-wal");
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// A read transaction older than much of the log; then a restart under it.
pub async fn outside_reader(ground: &mut Ground) {
    ground.begin();
    let events = ground.count(160, 800);
    let event = |_| NewEvent {
        topic: "beside".into(),
        data: vec![b'7'; EVENT_BYTES].into(),
        ..NewEvent::default()
    };
    sleep(Duration::from_millis(300)).await; // so that there is something to read
    let reader = old_reader(&ground.gateway);
    ground.fill((0..events).map(event)).await;
    let grown = log_bytes(&ground.gateway) / MIB;
    ground.got(format!("log of {grown} MiB"));
    drop(reader);
    let is_small = async |gateway: &Gateway| log_bytes(gateway) <= LOG_BYTES;
    ground
        .check_soon(SHRINK_WAIT, "the log stays as large as it was", is_small)
        .await;

    ground.end_live().await;
    let reader = old_reader(&ground.gateway);
    ground.fill((0..4).map(event)).await;
    ground.note_peak();
    let status = ground.gateway.terminate().await;
    ground.check(status.success(), format!("SIGTERM: {status}"));
    if ground.start_again() {
        ground.got("restart under a reader");
        drop(reader);
    } else {
        drop(reader);
        ground.start_again();
    }
}

/// Another process holds the write lock.
pub async fn held_write_lock(ground: &mut Ground) {
    ground.begin();
    sleep(Duration::from_millis(300)).await;
    let address = ground.target();
    let stranger = database(&ground.gateway);
    stranger
        .busy_timeout(Duration::from_secs(5))
        .expect("a setting");
    stranger
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    let until = Instant::now() + LOCKED;
    let mut was_ready = true;
    while Instant::now() < until {
        let request = h1::post_event(address, "locked");
        let answer = h1::ask(address, &request, ANSWER_WAIT).await;
        ground.got(format!("publish {}", answer.label()));
        let ready = h1::ask(address, &h1::get(address, "/readyz"), ANSWER_WAIT).await;
        ground.got(format!("ready {}", ready.label()));
        was_ready &= ready.label() == "200";
        sleep(Duration::from_millis(200)).await;
    }
    stranger.execute_batch("ROLLBACK").expect("it ends");
    ground.check(!was_ready, "it called itself ready all the time");
    ground.check_got_only(&["publish 429", "publish 503", "ready 200", "ready 503"]);
}
