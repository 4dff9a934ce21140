//! Another program, the real `sqlite3`, reads or locks the database while the gateway starts, runs
//! and ends: it decides neither whether the gateway starts nor how long publishers wait.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, SubscribeParams, Transport, read_all};
use crate::health::{gauge, health_of, status, watch};
use crate::publisher::{Draft, Publisher, WAYS, Way};
use crate::refusals::assert_publishing_refused;
use crate::shim::Shim;

/// A `sqlite3` with a database open; it is ended when this is dropped.
pub(crate) struct Sqlite3 {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Sqlite3 {
    /// Opens the database of a data folder.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let mut child = Command::new("sqlite3")
            .arg(data_dir.join("vidette.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`sqlite3` is needed for these tests");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Sqlite3 {
            child,
            input,
            output,
        }
    }

    /// Runs statements; gives the only line that they print, a mark if they print none.
    pub(crate) fn run(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}").expect("it takes statements");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    /// Begins to read, and stays at that state of the log; gives the number of its events.
    pub(crate) fn reading(data_dir: &Path) -> (Self, u64) {
        let mut sqlite3 = Self::open(data_dir);
        let count = sqlite3.run("BEGIN; SELECT count(*) FROM events;");
        (sqlite3, count.parse().expect("a number"))
    }

    /// Takes the write lock, and keeps it.
    pub(crate) fn locking(data_dir: &Path) -> Self {
        let mut sqlite3 = Self::open(data_dir);
        let locked = sqlite3.run(".timeout 5000\nBEGIN IMMEDIATE; SELECT 'locked';");
        assert_eq!(locked, "locked");
        sqlite3
    }
}

impl Drop for Sqlite3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wal_bytes(data_dir: &Path) -> u64 {
    std::fs::metadata(data_dir.join("vidette.db-wal")).map_or(0, |m| m.len())
}

/// Publishes so many MiB that are not known yet.
async fn publish_mib(gateway: &Gateway, mib: usize, name: &str) {
    let mut publisher = Publisher::new(Way::Publish, &gateway.url());
    for n in 0..mib.div_ceil(4) {
        let batch: Vec<Draft> = (0..8)
            .map(|m| Draft::of_size("much", format!("{name}-{n}-{m}"), 512 << 10))
            .collect();
        publisher.publish(&batch).await.all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_older_than_the_last_event_does_not_keep_the_gateway_from_starting() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("a", 3).await;
    let (mut reader, count) = Sqlite3::reading(gateway.data_dir());
    assert_eq!(count, 3);
    gateway.publish_numbers("a", 2).await;

    for (round, ends_well) in [(1, true), (2, false), (3, true)] {
        if ends_well {
            assert!(gateway.terminate().await.success(), "{}", gateway.log());
        } else {
            gateway.kill();
        }
        tokio::task::block_in_place(|| gateway.start_again());
        assert_eq!(status(&gateway, "/readyz").await, 200);
        gateway.publish_numbers("a", 1).await;
        for via in ALL {
            let read = read_all(via, &gateway, &SubscribeParams::earliest()).await;
            assert_eq!(read.len(), 5 + round, "{via:?}, round {round}");
        }
        assert_eq!(
            reader.run("SELECT count(*) FROM events;"),
            "3",
            "the reader keeps its view"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_does_not_keep_the_gateway_from_starting_and_publishing_begins_when_it_ends() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("a", 3).await;
    let writer = Sqlite3::locking(gateway.data_dir());
    gateway.kill();
    tokio::task::block_in_place(|| gateway.start_again());
    for via in ALL {
        assert_eq!(
            read_all(via, &gateway, &SubscribeParams::earliest())
                .await
                .len(),
            3,
            "{via:?}"
        );
    }
    let is = async |wanted| status(&gateway, "/readyz").await == wanted;
    gateway.until("it is not ready", || is(503)).await;
    drop(writer);
    gateway.until("it is ready", || is(200)).await;
    gateway.publish_numbers("a", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_lock_of_another_program_is_reported_at_once_to_publishers_and_by_readiness() {
    let gateway = Gateway::start();
    gateway.publish_numbers("a", 2).await;
    let mut watched = watch(&gateway, "vidette.v1.EventBus").await;
    assert_eq!(watched.next().await, "SERVING");
    let writer = Sqlite3::locking(gateway.data_dir());

    // Five seconds each, one after the other, would be more than any client waits.
    let refusals = async {
        for _ in 0..5 {
            assert_publishing_refused(&gateway, ("locked", "write lock"), "locked").await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), refusals).await;
    assert!(in_time.is_ok(), "publishers wait for the lock one by one");

    let answer = reqwest::get(format!("{}/readyz", gateway.url()))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await.expect("text").contains("write lock"));
    assert_eq!(gauge(&gateway, "vidette_ready").await, 0);
    assert_eq!(watched.next().await, "NOT_SERVING");
    for name in ["", "vidette.v1.EventBus"] {
        assert_eq!(health_of(&gateway, name).await, "NOT_SERVING", "{name:?}");
    }
    assert_eq!(
        read_all(Transport::Sse, &gateway, &SubscribeParams::earliest())
            .await
            .len(),
        2
    );

    drop(writer);
    assert_eq!(watched.next().await, "SERVING", "without any publisher");
    assert_eq!(status(&gateway, "/readyz").await, 200);
    assert_eq!(gauge(&gateway, "vidette_ready").await, 1);
    for (vid, way) in (3..).zip(WAYS) {
        let acks = Publisher::new(way, &gateway.url())
            .publish(&[Draft::new("a", format!("{way:?}"))])
            .await
            .all();
        assert_eq!((acks[0].vid, acks[0].duplicate), (vid, false), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_notices_a_write_lock_without_any_publisher() {
    let gateway = Gateway::start();
    let writer = Sqlite3::locking(gateway.data_dir());
    let is = async |wanted| status(&gateway, "/readyz").await == wanted;
    gateway.until("it is not ready", || is(503)).await;
    drop(writer);
    gateway.until("it is ready", || is(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_an_outside_reader_has_made_large_is_counted_told_and_cut_when_it_has_gone() {
    for publishes_on in [false, true] {
        let gateway = Gateway::start();
        gateway.publish_numbers("a", 3).await;
        let (reader, _) = Sqlite3::reading(gateway.data_dir());
        publish_mib(&gateway, 80, "first").await;
        let is_reported = async || gateway.log().contains("another program reads the database");
        gateway
            .until("the large log is reported", is_reported)
            .await;
        let is_large = async || gauge(&gateway, "vidette_wal_bytes").await > 80_000_000;
        gateway.until("the gauge shows it", is_large).await;

        drop(reader);
        let is_small = async || {
            if publishes_on {
                gateway.publish_numbers("a", 1).await;
            }
            gauge(&gateway, "vidette_wal_bytes").await < 20_000_000
        };
        gateway.until("the log is cut", is_small).await;
        assert!(wal_bytes(gateway.data_dir()) < 20_000_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_stays_bounded_while_much_is_published_and_nobody_reads_it() {
    let gateway = Gateway::start();
    publish_mib(&gateway, 200, "much").await;
    let bytes = wal_bytes(gateway.data_dir());
    assert!(bytes < 64 << 20, "{bytes} bytes of write-ahead log");
}

/// The copy at the end of a long outside read takes seconds on a real disk. Here its sync lasts for
/// as long as the test likes.
#[tokio::test(flavor = "multi_thread")]
async fn publishing_goes_on_while_what_an_outside_reader_has_left_is_copied() {
    let shim = Shim::new();
    let gateway = shim.start();
    gateway.publish_numbers("a", 3).await;
    let (reader, _) = Sqlite3::reading(&shim.data_dir());
    publish_mib(&gateway, 40, "first").await;
    shim.on("hold", "vidette.db");
    drop(reader);
    let mut publisher = Publisher::new(Way::Events, &gateway.url());
    for n in 0..200 {
        publisher
            .publish(&[Draft::new("a", format!("meanwhile-{n}"))])
            .await
            .all();
    }
    shim.holds_a_sync().await;
    for n in 0..200 {
        publisher
            .publish(&[Draft::new("a", format!("while it is held-{n}"))])
            .await
            .all();
    }
    shim.off("hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_starts_at_once_on_a_large_log_that_is_still_read() {
    let mut gateway = Gateway::start_with(Setup::default());
    gateway.publish_numbers("a", 3).await;
    let (_reader, _) = Sqlite3::reading(gateway.data_dir());
    publish_mib(&gateway, 60, "first").await;
    gateway.kill();
    tokio::task::block_in_place(|| gateway.start_again());
    let bus = gateway.get("/v1/bus").await;
    assert_eq!(bus["last"], 3 + 60 * 2);
    gateway.publish_numbers("a", 1).await;
}
