//! Starting on a data folder that cannot be used: a clear refusal, and nothing is changed.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, SubscribeParams, read_all};
use crate::folders::{Disk, EVENTS, difference, files, make_killed_log, make_log, sqlite3};

/// Fails to start, names the folder, says what is wrong and what to do, and leaves everything as it
/// was.
fn is_refused(data_dir: &Path, what: &str, says: &[&str]) {
    let before = files(data_dir);
    let said = fails(data_dir, what, says);
    let changed = difference(&before, &files(data_dir));
    assert!(
        changed.is_empty(),
        "{what}: {changed:?}, though it said: {said}"
    );
}

fn fails(data_dir: &Path, what: &str, says: &[&str]) -> String {
    let (code, said) = Gateway::fails_to_start(&Setup::default(), data_dir);
    assert_eq!(code, 1, "{what}: {said}");
    let path = data_dir.to_str().expect("UTF-8");
    for part in says.iter().chain([&path]) {
        assert!(
            said.contains(part),
            "{what}: {part:?} is missing in: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
    said
}

fn new_dir() -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let data_dir = folder.path().join("data");
    (folder, data_dir)
}

/// Writes random bytes over a part of a file.
fn scramble(file: &Path, at: usize, length: usize) {
    let mut bytes = fs::read(file).expect("the file");
    let mut random = fastrand::Rng::with_seed(1);
    bytes[at..at + length].fill_with(|| random.u8(..));
    fs::write(file, bytes).expect("the file");
}

#[tokio::test]
async fn a_folder_that_another_gateway_holds_is_refused_with_its_pid() {
    let holder = Gateway::start();
    holder.publish_numbers("a", 3).await;
    let pid = format!("pid {}", holder.pid());
    for _ in 0..2 {
        is_refused(holder.data_dir(), "held", &[&pid, "--data-dir", "stop"]);
    }
    assert_eq!(
        holder.publish_numbers("a", 1).await.split('-').next(),
        Some("4"),
        "the holder goes on"
    );
}

#[tokio::test]
async fn a_folder_is_free_again_when_its_holder_was_killed() {
    let mut holder = Gateway::start();
    holder.publish_numbers("a", 3).await;
    holder.kill();
    let next = Gateway::start_at(Setup::default(), holder.data_dir());
    assert_eq!(next.get("/v1/bus").await["last"], 3);
    is_refused(next.data_dir(), "held", &[&format!("pid {}", next.pid())]);
}

#[tokio::test]
async fn a_read_only_disk_is_refused() {
    let Some(disk) = Disk::of("4m") else { return };
    let data_dir = disk.path().join("data");
    make_log(&data_dir).await;
    let before = files(&data_dir);
    disk.make_read_only();
    is_refused(
        &data_dir,
        "read-only",
        &["Read-only file system", "--data-dir"],
    );
    fails(
        &disk.path().join("new"),
        "read-only, no folder yet",
        &["Read-only file system", "--data-dir"],
    );
    assert_eq!(difference(&before, &files(&data_dir)), Vec::<String>::new());
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let (_folder, data_dir) = new_dir();
    fs::write(&data_dir, "a file").expect("a file");
    fails(&data_dir, "a file", &["--data-dir"]);
    fails(&data_dir.join("deeper"), "below a file", &["--data-dir"]);
    assert_eq!(fs::read(&data_dir).expect("the file"), b"a file");
}

#[tokio::test]
async fn a_new_log_on_a_full_disk_is_refused_and_one_that_is_there_is_served() {
    let Some(disk) = Disk::of("1m") else { return };
    let new = disk.path().join("new");
    disk.fill_but(0);
    fails(&new, "full, no log yet", &["full", "space"]);
    disk.make_room();
    disk.fill_but(16_384);
    fails(&new, "full while the log is made", &["full", "space"]);
    disk.make_room();
    make_log(&new).await;
    disk.fill_but(0);
    for _ in 0..2 {
        let mut gateway = Gateway::start_at(Setup::default(), &new);
        for via in ALL {
            let read = read_all(via, &gateway, &SubscribeParams::earliest()).await;
            assert_eq!(read.len() as u64, EVENTS, "{via:?}, full, with a log");
        }
        gateway.kill();
    }
    disk.make_room();
    let gateway = Gateway::start_at(Setup::default(), &new);
    assert_eq!(
        gateway.get("/v1/bus").await["events"],
        EVENTS,
        "after space was freed"
    );
}

/// It cannot be served before its new epoch is written, for which the reserve is given up.
#[tokio::test]
async fn a_copy_on_a_full_disk_begins_its_new_epoch() {
    let Some(disk) = Disk::of("4m") else { return };
    let data_dir = disk.path().join("data");
    make_log(&data_dir).await;
    let database = data_dir.join("vidette.db");
    let copy = database.with_extension("copy");
    fs::copy(&database, &copy).expect("a copy");
    fs::rename(&copy, &database).expect("it takes the place of the database");
    disk.fill_but(0);

    let gateway = Gateway::start_at(Setup::default(), &data_dir);
    assert!(gateway.log().contains("a new epoch begins"));
    let epoch = gateway.get("/v1/bus").await["epoch"].clone();
    drop(gateway);
    let gateway = Gateway::start_at(Setup::default(), &data_dir);
    assert_eq!(gateway.get("/v1/bus").await["epoch"], epoch);
}

/// Without it two events could have one vid in one epoch.
#[tokio::test]
async fn a_copy_whose_new_epoch_cannot_be_written_is_refused() {
    let (_folder, data_dir) = new_dir();
    make_log(&data_dir).await;
    let copy = data_dir.with_file_name("copy");
    fs::create_dir(&copy).expect("a folder");
    fs::copy(data_dir.join("vidette.db"), copy.join("vidette.db")).expect("a copy");
    let other = rusqlite::Connection::open(copy.join("vidette.db")).expect("the database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    fails(
        &copy,
        "locked",
        &["in use by another program", "End its transaction"],
    );
    other.execute_batch("ROLLBACK").expect("it ends");
    let gateway = Gateway::start_at(Setup::default(), &copy);
    assert!(gateway.log().contains("a new epoch begins"));
}

/// What happens to a database, and what has to be said of it.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

const DAMAGES: [Damage; 8] = [
    (
        "random bytes in the header",
        |db| scramble(db, 0, 100),
        &["damaged", "Restore"],
    ),
    (
        "random bytes in the middle of pages",
        |db| scramble(db, 8 * 4096 + 1500, 6000),
        &["damaged", "Restore"],
    ),
    (
        "truncated to half",
        |db| truncate(db, 2),
        &["damaged", "Restore"],
    ),
    (
        "truncated to nothing",
        |db| fs::write(db, "").expect("the file"),
        &["damaged", "Restore"],
    ),
    (
        "garbage",
        |db| fs::write(db, "no database ".repeat(1000)).expect("the file"),
        &["damaged", "Restore"],
    ),
    (
        "of another program",
        |db| another_program(db),
        &["another program", "--data-dir"],
    ),
    (
        "of a newer version",
        |db| drop(sqlite3(db, "PRAGMA user_version = 999")),
        &["999", "newer"],
    ),
    (
        "a folder in place of the database",
        |db| folder_in_place(db),
        &["cannot be read"],
    ),
];

fn truncate(file: &Path, divided_by: u64) {
    let opened = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .expect("the file");
    let length = opened.metadata().expect("its length").len();
    opened.set_len(length / divided_by).expect("it is cut");
}

fn another_program(database: &Path) {
    fs::remove_file(database).expect("the file");
    sqlite3(
        database,
        "CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')",
    );
}

fn folder_in_place(database: &Path) {
    fs::remove_file(database).expect("the file");
    fs::create_dir(database).expect("a folder");
}

#[tokio::test]
async fn a_damaged_or_foreign_database_is_refused_and_nothing_is_changed() {
    for (what, damage, says) in DAMAGES {
        let (_folder, data_dir) = new_dir();
        make_log(&data_dir).await;
        let database = data_dir.join("vidette.db");
        damage(&database);
        if database.is_dir() {
            fails(&data_dir, what, says);
            continue;
        }
        // Also the second time, when the first has left its traces.
        is_refused(&data_dir, what, says);
        is_refused(&data_dir, what, says);
    }
}

/// What is left after a crash is all that there is to recover from: the write-ahead log, too, stays
/// as it was.
#[tokio::test]
async fn a_database_that_was_damaged_in_a_crash_is_refused_with_its_write_ahead_log_untouched() {
    for (what, damage, says) in &DAMAGES[..6] {
        let (_folder, data_dir) = new_dir();
        make_killed_log(&data_dir).await;
        // The write-ahead log would mend what it has newer pages of.
        fs::write(data_dir.join("vidette.db-shm"), "").expect("the file");
        damage(&data_dir.join("vidette.db"));
        is_refused(&data_dir, what, says);
        is_refused(&data_dir, what, says);
    }
}

#[tokio::test]
async fn a_write_ahead_log_without_its_database_is_refused() {
    let (_folder, data_dir) = new_dir();
    make_killed_log(&data_dir).await;
    fs::remove_file(data_dir.join("vidette.db")).expect("the file");
    is_refused(&data_dir, "no database", &["vidette.db-wal", "Restore"]);
}

/// A newer vidette was killed right after it had changed the schema: its version is in the
/// write-ahead log only.
#[tokio::test]
async fn a_newer_version_that_is_in_the_write_ahead_log_only_is_refused() {
    let (_folder, data_dir) = new_dir();
    make_log(&data_dir).await;
    let crashed = data_dir.with_file_name("crashed");
    fs::create_dir(&crashed).expect("a folder");
    let newer = rusqlite::Connection::open(data_dir.join("vidette.db")).expect("the database");
    newer
        .pragma_update(None, "user_version", 999)
        .expect("a newer version");
    for name in ["vidette.db", "vidette.db-wal"] {
        fs::copy(data_dir.join(name), crashed.join(name)).expect("a copy of the running database");
    }
    is_refused(&crashed, "newer in the write-ahead log", &["999", "newer"]);
}

#[tokio::test]
async fn an_undamaged_folder_works_again_after_an_end_and_after_a_kill() {
    let (_folder, data_dir) = new_dir();
    make_log(&data_dir).await;
    let mut gateway = Gateway::start_at(Setup::default(), &data_dir);
    let bus = gateway.get("/v1/bus").await;
    assert_eq!((&bus["first"], &bus["last"]), (&json!(1), &json!(EVENTS)));
    gateway.publish_numbers("door.2", 5).await;
    for round in 1..=3 {
        gateway.kill();
        gateway.start_again();
        gateway.publish_numbers("door.2", 5).await;
        assert!(gateway.terminate().await.success(), "{}", gateway.log());
        gateway.start_again();
        let again = gateway.get("/v1/bus").await;
        assert_eq!(
            (&again["epoch"], &again["last"]),
            (&bus["epoch"], &json!(EVENTS + 5 + 5 * round))
        );
        for via in ALL {
            let vids: Vec<u64> = read_all(via, &gateway, &SubscribeParams::earliest())
                .await
                .iter()
                .map(|e| e.vid)
                .collect();
            assert_eq!(
                vids,
                (1..=EVENTS + 5 + 5 * round).collect::<Vec<_>>(),
                "{via:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_start_that_was_killed_while_it_made_the_log_is_no_damage() {
    let (_folder, data_dir) = new_dir();
    fs::create_dir(&data_dir).expect("a folder");
    // Half a database under the name that it has until it is complete, and its journal.
    fs::write(data_dir.join("vidette.db.new"), [7; 5000]).expect("a file");
    fs::write(data_dir.join("vidette.db.new-journal"), [9; 600]).expect("a file");
    let gateway = Gateway::start_at(Setup::default(), &data_dir);
    assert_eq!(
        gateway.publish_numbers("a", 2).await.split('-').next(),
        Some("2")
    );
    assert_eq!(
        sqlite3(&data_dir.join("vidette.db"), "PRAGMA integrity_check"),
        "ok"
    );
}

#[tokio::test]
async fn sqlite3_reads_the_log_while_the_gateway_runs_and_afterwards() {
    let mut gateway = Gateway::start();
    let database = gateway.data_dir().join("vidette.db");
    gateway.publish_numbers("door.1", 7).await;
    let newest = "SELECT vid, topic, CAST(data AS TEXT) FROM events JOIN topics USING (topic_id) ORDER BY vid DESC LIMIT 1";
    assert_eq!(sqlite3(&database, newest), r#"7|door.1|{"n":7}"#);
    assert_eq!(sqlite3(&database, "PRAGMA integrity_check"), "ok");
    gateway.publish_numbers("door.2", 1).await;
    assert_eq!(
        sqlite3(&database, newest),
        r#"8|door.2|{"n":1}"#,
        "publishing went on"
    );
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    assert_eq!(sqlite3(&database, newest), r#"8|door.2|{"n":1}"#);
    gateway.start_again();
    gateway.kill();
    let bus = "SELECT epoch IS NOT NULL, first_vid, max(last_vid, (SELECT max(vid) FROM events)) FROM bus";
    assert_eq!(
        sqlite3(&database, bus),
        "1|1|8",
        "last_vid may be behind the events"
    );
}
