//! A log that goes on from a copy begins a new epoch, and serves cursors of the earlier ones as far
//! as they are good for it.

use std::fs;
use std::path::{Path, PathBuf};

use vidette::engine::{Bounds, SqliteEngine};
use vidette::lineage::Lineage;

use crate::bench::{Bench, T0};
use crate::common::closing::all_closed;

fn lineage(bench: &Bench) -> Lineage {
    bench.engine().state().lineage.clone()
}

/// The earlier epochs and up to which vid each is good, as text.
fn earlier(lineage: &Lineage) -> Vec<String> {
    let earlier = lineage.earlier().iter();
    earlier
        .map(|e| format!("{}-{}", e.good_through, e.epoch))
        .collect()
}

async fn append(bench: &Bench, count: u64) {
    bench.append_many("a", count, T0).await;
}

/// Closes the log, and waits until its threads have.
async fn close(bench: &mut Bench) {
    bench.close();
    all_closed(&bench.data_dir()).await;
}

/// A copy of the closed log's folder.
fn back_up(bench: &Bench, name: &str) -> PathBuf {
    let backup = bench.data_dir().with_file_name(name);
    fs::create_dir(&backup).expect("a folder");
    overwrite(&bench.data_dir(), &backup);
    backup
}

/// Copies each file of a folder over those of another, as `cp -a FROM/. TO/` does.
fn overwrite(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// Puts a backup in the place of the log, whose folder is moved away.
fn restore(bench: &Bench, backup: &Path) {
    let away = format!("away-{}", fastrand::u64(..));
    fs::rename(bench.data_dir(), bench.data_dir().with_file_name(away)).expect("it is moved away");
    fs::create_dir(bench.data_dir()).expect("a folder");
    overwrite(backup, &bench.data_dir());
}

/// A log with three events that has been backed up, gone on to six and been closed.
async fn backed_up_log() -> (Bench, PathBuf, Lineage) {
    let mut bench = Bench::sqlite();
    append(&bench, 3).await;
    close(&mut bench).await;
    let backup = back_up(&bench, "backup");
    bench.reopen();
    append(&bench, 3).await;
    let before = lineage(&bench);
    close(&mut bench).await;
    (bench, backup, before)
}

#[tokio::test]
async fn a_copy_begins_a_new_epoch_at_its_last_vid() {
    let (mut bench, backup, before) = backed_up_log().await;
    restore(&bench, &backup);
    bench.reopen();
    let branched = lineage(&bench);
    assert_ne!(branched.epoch(), before.epoch());
    assert_eq!(earlier(&branched), [format!("3-{}", before.epoch())]);
    assert_eq!(bench.engine().state().bounds, Bounds { first: 1, last: 3 });

    append(&bench, 1).await;
    bench.reopen();
    assert_eq!(lineage(&bench), branched, "it begins one epoch only");
}

#[tokio::test]
async fn a_log_that_is_opened_again_or_moved_keeps_its_epoch() {
    let mut bench = Bench::sqlite();
    let before = lineage(&bench);
    append(&bench, 3).await;
    bench.reopen();
    close(&mut bench).await;

    let moved = bench.data_dir().with_file_name("moved");
    fs::rename(bench.data_dir(), &moved).expect("it is moved");
    let elsewhere = SqliteEngine::open(&moved, std::time::Duration::from_secs(1));
    drop(elsewhere.expect("it opens there"));
    all_closed(&moved).await;
    fs::rename(&moved, bench.data_dir()).expect("it is moved back");
    bench.reopen();
    assert_eq!(lineage(&bench), before);
}

#[tokio::test]
async fn a_backup_that_is_copied_over_the_database_itself_begins_a_new_epoch() {
    let (mut bench, backup, before) = backed_up_log().await;
    fs::copy(backup.join("vidette.db"), bench.database()).expect("it is overwritten");
    bench.reopen();
    assert_eq!(
        earlier(&lineage(&bench)),
        [format!("3-{}", before.epoch())],
        "the file is the same, but it has lost events"
    );
}

#[tokio::test]
async fn a_folder_that_is_copied_over_the_folder_itself_begins_a_new_epoch() {
    let (mut bench, backup, before) = backed_up_log().await;
    overwrite(&backup, &bench.data_dir());
    bench.reopen();
    assert_eq!(earlier(&lineage(&bench)), [format!("3-{}", before.epoch())]);

    // And once more: the backup knows nothing of the epoch that was begun meanwhile.
    append(&bench, 9).await;
    close(&mut bench).await;
    overwrite(&backup, &bench.data_dir());
    bench.reopen();
    assert_eq!(earlier(&lineage(&bench)), [format!("3-{}", before.epoch())]);
}

#[tokio::test]
async fn a_backup_that_has_all_events_may_be_copied_over_the_database() {
    let mut bench = Bench::sqlite();
    append(&bench, 3).await;
    let before = lineage(&bench);
    close(&mut bench).await;
    let backup = back_up(&bench, "backup");
    overwrite(&backup, &bench.data_dir());
    bench.reopen();
    assert_eq!(
        lineage(&bench),
        before,
        "nothing was lost, so nothing changes"
    );
}

#[tokio::test]
async fn a_copy_of_a_copy_remembers_all_epochs() {
    let (mut bench, backup, first) = backed_up_log().await;
    restore(&bench, &backup);
    bench.reopen();
    let second = lineage(&bench);
    append(&bench, 4).await;
    close(&mut bench).await;
    let newer_backup = back_up(&bench, "newer");
    restore(&bench, &newer_backup);
    bench.reopen();
    let third = lineage(&bench);
    let expected = [
        format!("3-{}", first.epoch()),
        format!("7-{}", second.epoch()),
    ];
    assert_eq!(earlier(&third), expected);
    assert_ne!(third.epoch(), second.epoch());
}

/// As on a file system that gives another inode at each mount.
#[tokio::test]
async fn epochs_without_events_are_served_as_well() {
    let (mut bench, backup, first) = backed_up_log().await;
    restore(&bench, &backup);
    let mut epochs = vec![first.epoch().clone()];
    for _ in 0..3 {
        bench.reopen();
        epochs.push(lineage(&bench).epoch().clone());
        close(&mut bench).await;
        let copy = bench.database().with_extension("copy");
        fs::copy(bench.database(), &copy).expect("a copy");
        fs::rename(&copy, bench.database()).expect("it takes the place of the database");
    }
    bench.reopen();
    let now = lineage(&bench);
    for epoch in epochs {
        assert_eq!(now.good_through(&epoch), Some(3), "{epoch}");
    }
}

#[tokio::test]
async fn a_new_epoch_that_is_requested_begins_once() {
    let mut bench = Bench::sqlite();
    append(&bench, 3).await;
    let before = lineage(&bench);
    let refused = SqliteEngine::begin_new_epoch(&bench.data_dir());
    let refused = refused.expect_err("the log is open").to_string();
    assert!(refused.contains("is held by"), "{refused}");

    close(&mut bench).await;
    SqliteEngine::begin_new_epoch(&bench.data_dir()).expect("it begins");
    bench.reopen();
    let branched = lineage(&bench);
    assert_eq!(earlier(&branched), [format!("3-{}", before.epoch())]);
    bench.reopen();
    assert_eq!(lineage(&bench), branched);
}

#[tokio::test]
async fn a_folder_whose_database_was_removed_begins_a_log_without_a_past() {
    let mut bench = Bench::sqlite();
    append(&bench, 3).await;
    close(&mut bench).await;
    fs::remove_file(bench.database()).expect("it is removed");
    bench.reopen();
    assert!(earlier(&lineage(&bench)).is_empty());
    bench.reopen();
    assert!(earlier(&lineage(&bench)).is_empty());
}
