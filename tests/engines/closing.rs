//! An engine that is closed leaves alone what is no longer its own, or no longer whole.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use vidette::engine::{Engine as _, SqliteEngine};

use crate::bench::{T0, event};
use crate::common::closing::all_closed;

/// SQLite removes the write-ahead log by its name when it closes.
#[tokio::test]
async fn closing_a_log_that_was_replaced_keeps_the_write_ahead_log_of_the_other_one() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().canonicalize().expect("a path").join(name);
    let engine = SqliteEngine::open(&path("data"), Duration::from_secs(120)).expect("a log");
    let appended = engine.append(vec![vec![event("a", "1"), event("b", "2")]], T0.into());
    appended.await.expect("it is appended");

    fs::create_dir(path("copy")).expect("a folder");
    for name in ["vidette.db", "vidette.db-wal"] {
        fs::copy(path("data").join(name), path("copy").join(name)).expect("a copy");
    }
    fs::rename(path("data"), path("old")).expect("it is moved away");
    fs::rename(path("copy"), path("data")).expect("another one is in its place");
    let wal = path("data").join("vidette.db-wal");
    let before = fs::read(&wal).expect("the file");
    drop(engine);
    all_closed(&path("old")).await;
    assert!(
        fs::read(&wal).is_ok_and(|after| after == before),
        "it is gone"
    );

    let again = SqliteEngine::open(&path("data"), Duration::from_secs(120)).expect("the other log");
    assert_eq!(again.state().bounds.last, 2);
}

/// The last connection that closes copies the write-ahead log into the database.
#[tokio::test]
async fn closing_a_log_that_was_cut_writes_no_hole_into_the_database() {
    let folder = TempDir::new().expect("a folder");
    let data_dir = folder.path().canonicalize().expect("a path").join("data");
    let engine = SqliteEngine::open(&data_dir, Duration::from_secs(120)).expect("a log");
    let appended = engine.append(vec![vec![event("a", "1"), event("b", "2")]], T0.into());
    appended.await.expect("it is appended");

    let before = fs::read(data_dir.join("vidette.db")).expect("the file");
    let wal = fs::OpenOptions::new()
        .write(true)
        .open(data_dir.join("vidette.db-wal"))
        .expect("the file");
    let bytes = wal.metadata().expect("its length").len();
    wal.set_len(0).expect("it is emptied");
    wal.set_len(bytes).expect("and has its length again");
    drop(wal);
    drop(engine);
    all_closed(&data_dir).await;
    let after = fs::read(data_dir.join("vidette.db")).expect("the file");
    assert!(before == after, "zeros were copied into the database");
}
