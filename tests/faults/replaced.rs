//! Somebody removes, replaces or cuts the log while the gateway runs: nothing more is acknowledged,
//! readiness says so, and what was put in its place stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Reader, SubscribeParams, read_all};
use crate::health::{gauge, health_of, status};
use crate::outside::Sqlite3;
use crate::publisher::{Draft, Publisher, Way};
use crate::refusals::assert_publishing_refused;

const FILES: [&str; 4] = [
    "vidette.db",
    "vidette.db-wal",
    "vidette.db-shm",
    "vidette.lock",
];

fn cut(path: &Path, divided_by: u64) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file");
    let bytes = file.metadata().expect("its length").len();
    file.set_len(bytes / divided_by).expect("it is cut");
}

fn copy_of(data_dir: &Path) -> PathBuf {
    let copy = data_dir.with_file_name("copy");
    fs::create_dir(&copy).expect("a folder");
    for name in FILES {
        fs::copy(data_dir.join(name), copy.join(name)).expect("a copy");
    }
    copy
}

fn replace(data_dir: &Path, names: &[&str]) {
    let copy = copy_of(data_dir);
    for name in names {
        fs::rename(copy.join(name), data_dir.join(name)).expect("another file in its place");
    }
}

fn replace_folder(data_dir: &Path) {
    let copy = copy_of(data_dir);
    fs::rename(data_dir, data_dir.with_file_name("old")).expect("it is moved away");
    fs::rename(copy, data_dir).expect("another folder in its place");
}

type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 11] = [
    ("the folder is removed", |dir| {
        fs::remove_dir_all(dir).expect("it is removed");
    }),
    ("the folder is moved away", |dir| {
        fs::rename(dir, dir.with_file_name("moved")).expect("it is moved");
    }),
    ("the folder is replaced", replace_folder),
    ("the database is removed", |dir| {
        fs::remove_file(dir.join("vidette.db")).expect("it is removed");
    }),
    ("the database is replaced", |dir| {
        replace(dir, &["vidette.db"]);
    }),
    ("the write-ahead log is removed", |dir| {
        fs::remove_file(dir.join("vidette.db-wal")).expect("it is removed");
    }),
    ("the write-ahead log is replaced", |dir| {
        replace(dir, &["vidette.db-wal"]);
    }),
    ("the shared memory is removed", |dir| {
        fs::remove_file(dir.join("vidette.db-shm")).expect("it is removed");
    }),
    ("the lock is removed", |dir| {
        fs::remove_file(dir.join("vidette.lock")).expect("it is removed");
    }),
    ("the write-ahead log is emptied", |dir| {
        cut(&dir.join("vidette.db-wal"), u64::MAX);
    }),
    ("the database is cut", |dir| {
        cut(&dir.join("vidette.db"), 2);
    }),
];

async fn is_noticed(gateway: &Gateway, what: &str, harm: fn(&Path)) {
    let mut live = Reader::open(ALL[1], gateway, &SubscribeParams::after("latest"))
        .await
        .expect("a subscription");
    live.until_caught_up().await;
    harm(gateway.data_dir());

    let is_red = async || status(gateway, "/readyz").await == 503;
    gateway.until(what, is_red).await;
    assert_publishing_refused(gateway, ("broken", "restart"), what).await;
    let not_serving = async || health_of(gateway, "").await == "NOT_SERVING";
    gateway.until(what, not_serving).await;
    assert_eq!(status(gateway, "/healthz").await, 200, "{what}");
    for via in ALL {
        let read = read_all(via, gateway, &SubscribeParams::after("20")).await;
        assert_eq!(read.len(), 20, "{what}, {via:?}: readers of memory go on");
    }
}

/// A gateway with some of its log in the database and some in the write-ahead log.
async fn gateway_with_events(data_dir: &Path) -> Gateway {
    let mut gateway = Gateway::start_at(Setup::default(), data_dir);
    for n in 0..20 {
        let draft = Draft::of_size("a", format!("first-{n}"), 100_000);
        Publisher::new(Way::Events, &gateway.url())
            .publish(&[draft])
            .await
            .all();
    }
    assert!(gateway.terminate().await.success());
    gateway = Gateway::start_at(Setup::default(), data_dir);
    for n in 0..20 {
        let draft = Draft::of_size("a", format!("second-{n}"), 100_000);
        Publisher::new(Way::Events, &gateway.url())
            .publish(&[draft])
            .await
            .all();
    }
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_removed_replaced_or_cut_is_broken_within_seconds() {
    for (what, harm) in HARMS {
        let folder = TempDir::new().expect("a folder");
        let gateway = gateway_with_events(&folder.path().join("data")).await;
        is_noticed(&gateway, what, harm).await;
    }
}

/// Between two looks at it the log is written again, and is as long as it should be.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_the_write_ahead_log_is_noticed_though_its_length_is_right() {
    let folder = TempDir::new().expect("a folder");
    let gateway = gateway_with_events(&folder.path().join("data")).await;
    let wal = gateway.data_dir().join("vidette.db-wal");
    let bytes = fs::metadata(&wal).expect("the file").len();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&wal)
        .expect("the file");
    file.set_len(0).expect("it is emptied");
    file.set_len(bytes).expect("and has its length again");
    let is_red = async || status(&gateway, "/readyz").await == 503;
    gateway.until("it is noticed", is_red).await;
}

/// What sqlite3 may do to a running log without harm is no error.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_another_program_has_checkpointed_or_vacuumed_is_not_broken() {
    let gateway = Gateway::start_with(Setup {
        config: "[retention]\nmax_events = 5".to_owned(),
        ..Setup::default()
    });
    let wal = gateway.data_dir().join("vidette.db-wal");
    for round in 0..6 {
        for n in 0..10 {
            let draft = Draft::of_size("a", format!("{round}-{n}"), 100_000);
            Publisher::new(Way::Events, &gateway.url())
                .publish(&[draft])
                .await
                .all();
        }
        let is_trimmed = async || gauge(&gateway, "vidette_retained_events").await == 5;
        gateway.until("it is trimmed", is_trimmed).await;
        let statement = ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"][round % 2];
        Sqlite3::open(gateway.data_dir()).run(&format!(".timeout 5000\n{statement}; SELECT 1;"));
        // The gauge is as old as the last look at the log.
        let has_looked = async || {
            let bytes = fs::metadata(&wal).expect("the file").len();
            gauge(&gateway, "vidette_wal_bytes").await == bytes
        };
        gateway.until("it has looked at the log", has_looked).await;
        assert_eq!(status(&gateway, "/readyz").await, 200, "{}", gateway.log());
    }
    gateway.publish_numbers("a", 1).await;
}

/// A copy is restored in place of the folder of a running gateway, which is ended then: closing the
/// old files must not take away the write-ahead log of the new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_put_in_place_of_a_running_one_keeps_its_write_ahead_log() {
    let folder = TempDir::new().expect("a folder");
    let mut gateway = gateway_with_events(&folder.path().join("data")).await;
    replace_folder(gateway.data_dir());
    let before = fs::read(gateway.data_dir().join("vidette.db-wal")).expect("the file");
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    let after = fs::read(gateway.data_dir().join("vidette.db-wal")).expect("it is still there");
    assert!(before == after, "it was changed");
    let again = Gateway::start_at(Setup::default(), gateway.data_dir());
    assert_eq!(
        read_all(ALL[0], &again, &SubscribeParams::earliest())
            .await
            .len(),
        40
    );
}
