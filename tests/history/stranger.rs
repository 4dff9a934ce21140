//! Another process has the database open, again and again, as a backup or a person with `sqlite3`
//! (history §1.6): it holds a read transaction for seconds, and now and then the write lock for a
//! moment.
//!
//! It is a connection of SQLite beside the gateway's, on a thread of its own; also while the
//! gateway is down, and while it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::shared::Shared;

/// Read transactions are held for so many milliseconds; a start used to wait for five seconds.
const READ_MS: std::ops::Range<u64> = 500..8000;
/// Write locks are held for so many milliseconds.
const LOCK_MS: std::ops::Range<u64> = 20..400;
/// Between them.
const PAUSE_MS: std::ops::Range<u64> = 50..800;

/// Runs until the writers end.
pub(crate) fn open_again_and_again(
    data_dir: &Path,
    shared: Arc<Shared>,
    seed: u64,
) -> JoinHandle<()> {
    let database = data_dir.join("vidette.db");
    std::thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(seed);
        // One of each, then as it comes.
        let mut first_ones = [true, false].into_iter();
        while !shared.is_stopped() {
            let is_lock = first_ones.next().unwrap_or_else(|| random.u8(..) < 80);
            let duration =
                Duration::from_millis(random.u64(if is_lock { LOCK_MS } else { READ_MS }));
            let outcome = if is_lock {
                hold_write_lock(&database, duration)
            } else {
                hold_read(&database, duration, &shared)
            };
            // Busy, for one: it comes back.
            if outcome.is_ok() {
                let mut history = shared.history();
                history.done.outside_locks += u32::from(is_lock);
                history.done.outside_reads += u32::from(!is_lock);
            }
            sleep(Duration::from_millis(random.u64(PAUSE_MS)));
        }
    })
}

fn open(database: &PathBuf) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(Duration::from_millis(200))?;
    Ok(connection)
}

fn hold_read(database: &PathBuf, hold: Duration, shared: &Shared) -> rusqlite::Result<()> {
    let connection = open(database)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM events", [], |_| Ok(()))?;
    let until = Instant::now() + hold;
    while Instant::now() < until && !shared.is_stopped() {
        sleep(Duration::from_millis(20));
    }
    connection.execute_batch("ROLLBACK")
}

fn hold_write_lock(database: &PathBuf, hold: Duration) -> rusqlite::Result<()> {
    let connection = open(database)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    sleep(hold);
    connection.execute_batch("ROLLBACK")
}
