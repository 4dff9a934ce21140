//! What a durable event costs, beside what it cannot cost less than: `cargo bench --bench
//! commit_floor`.
//!
//! Three layers on the same disk: pages of the same number written to a file that has its length
//! already, and synced; the same events by SQLite alone, in the tables and with the settings of a
//! log; and publishers of a gateway over HTTP, each with one event a request. Bounded: some
//! 20 seconds and 100 MB in a temporary folder, loopback only.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vidette::config::{Config, Overrides};
use vidette::engine::SqliteEngine;
use vidette::server::Gateway;

const COMMITS: u64 = 3000;
const PUBLISH_FOR: Duration = Duration::from_secs(2);
/// The write-ahead log is copied after so many commits, outside of what is measured.
const COPIED_AFTER: u64 = 250;
const PAGE_BYTES: usize = 4096;
const FILE_BYTES: u64 = 8 << 20;
const DATA: [u8; 128] = [b'x'; 128];

const SETTINGS: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
PRAGMA foreign_keys = 0;";
const INSERT: &str = "
INSERT INTO events
    (vid, time_ms, skew_ms, topic_id, bytes, type, id, content_type, headers, data)
VALUES (?1, 1790000000000, 0, 1, 150, NULL, NULL, 'text/plain', NULL, ?2)";

type Micros = Histogram<u64>;

fn micros() -> Micros {
    Histogram::new(3).expect("a histogram")
}

fn record(micros: &mut Micros, begun: Instant) {
    let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    micros.record(took).expect("recorded");
}

/// Writes so many pages and syncs them, again and again.
fn bare_sync(folder: &Path, pages: usize) -> Micros {
    let path = folder.join("bare");
    let file = File::create(&path).expect("a file");
    let zeros = vec![0; usize::try_from(FILE_BYTES).expect("small")];
    file.write_all_at(&zeros, 0).expect("its length");
    file.sync_all().expect("synced");

    let (mut took, bytes, mut at) = (micros(), vec![1; pages * PAGE_BYTES], 0);
    for _ in 0..COMMITS {
        let begun = Instant::now();
        file.write_all_at(&bytes, at).expect("written");
        file.sync_data().expect("synced");
        record(&mut took, begun);
        at = (at + bytes.len() as u64) % (FILE_BYTES / 2);
    }
    took
}

/// A log that was opened and closed, so that it has its tables.
fn closed_log(folder: &Path) -> Connection {
    drop(SqliteEngine::open(folder, Duration::from_secs(120)).expect("a log"));
    // Its threads end by themselves.
    while folder.join("vidette.db-wal").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let connection = Connection::open(folder.join("vidette.db")).expect("the database");
    connection.execute_batch(SETTINGS).expect("set");
    connection
}

/// Commits by SQLite alone, so many events a transaction; how long one takes, and its pages.
fn plain_sqlite(events: u64) -> (Micros, u64) {
    let folder = TempDir::new().expect("a folder");
    let connection = closed_log(folder.path());
    let mut last = 0;
    // The write-ahead log has its length before anything is measured.
    for _ in 0..2 {
        commit_many(&connection, &mut last, COPIED_AFTER, events, &mut micros());
    }

    let (mut took, mut pages) = (micros(), 0);
    for _ in 0..COMMITS / COPIED_AFTER {
        pages += commit_many(&connection, &mut last, COPIED_AFTER, events, &mut took);
    }
    (took, pages.div_ceil(COMMITS))
}

/// So many commits, and then the write-ahead log is copied; its pages.
fn commit_many(
    connection: &Connection,
    last: &mut u64,
    commits: u64,
    events: u64,
    took: &mut Micros,
) -> u64 {
    for _ in 0..commits {
        let begun = Instant::now();
        let execute = |sql: &str| {
            let statement = connection.prepare_cached(sql);
            statement.and_then(|mut s| s.raw_execute()).expect("done")
        };
        execute("BEGIN IMMEDIATE");
        for _ in 0..events {
            *last += 1;
            let row = params![last.cast_signed(), &DATA[..]];
            let insert = connection.prepare_cached(INSERT);
            insert.and_then(|mut s| s.execute(row)).expect("inserted");
        }
        execute("COMMIT");
        record(took, begun);
    }
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |r| r.get(1));
    u64::try_from(copied.unwrap_or(0_i64)).expect("pages")
}

/// One publisher after the other answer, until the end; how long each answer took.
async fn publisher(address: String, ends: Instant) -> Micros {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    connection.set_nodelay(true).expect("set");
    let head = "POST /v1/topics/door.3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
    let head = format!("{head}Content-Length: {}\r\n\r\n", DATA.len());
    let request = [head.as_bytes(), &DATA].concat();

    let (mut took, mut answer) = (micros(), vec![0; 4096]);
    while Instant::now() < ends {
        let begun = Instant::now();
        connection.write_all(&request).await.expect("sent");
        let bytes = connection.read(&mut answer).await.expect("an answer");
        assert!(answer[..bytes].starts_with(b"HTTP/1.1 20"), "refused");
        record(&mut took, begun);
    }
    took
}

/// So many publishers of one gateway.
async fn publish(publishers: usize) -> Micros {
    let folder = TempDir::new().expect("a folder");
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".to_owned()],
        data_dir: Some(folder.path().to_owned()),
        ..Overrides::default()
    };
    let config = Config::parse("", overrides).expect("a configuration");
    let gateway = Gateway::start(&config).await.expect("a gateway");
    let address = gateway.addresses()[0].to_string();
    let serving = tokio::spawn(gateway.run(std::future::pending()));

    let ends = Instant::now() + PUBLISH_FOR;
    let tasks: Vec<_> = (0..publishers)
        .map(|_| tokio::spawn(publisher(address.clone(), ends)))
        .collect();
    let mut all = micros();
    for task in tasks {
        all.add(task.await.expect("a publisher")).expect("added");
    }
    serving.abort();
    all
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let folder = TempDir::new().expect("a folder");
    println!("| events a commit | pages | bare sync, µs | SQLite alone, µs | ratio | events/s |");
    println!("|--:|--:|--:|--:|--:|--:|");
    for events in [1, 4, 8, 32, 64] {
        let (sqlite, pages) = plain_sqlite(events);
        let bare = bare_sync(folder.path(), usize::try_from(pages).expect("few"));
        let (bare, sqlite) = (bare.value_at_quantile(0.5), sqlite.value_at_quantile(0.5));
        let (ratio, rate) = (ratio(sqlite, bare), 1_000_000 * events / sqlite);
        println!("| {events} | {pages} | {bare} | {sqlite} | {ratio:.2} | {rate} |");
    }

    let bare = bare_sync(folder.path(), 1).value_at_quantile(0.5);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("\n| publishers | events/s | answered p50, µs | p99, µs | p50 / bare sync |");
    println!("|--:|--:|--:|--:|--:|");
    for publishers in [1, 8, 64] {
        let took = runtime.block_on(publish(publishers));
        let rate = took.len() / PUBLISH_FOR.as_secs();
        let (p50, p99) = (took.value_at_quantile(0.5), took.value_at_quantile(0.99));
        let ratio = ratio(p50, bare);
        println!("| {publishers} | {rate} | {p50} | {p99} | {ratio:.2} |");
    }
}
