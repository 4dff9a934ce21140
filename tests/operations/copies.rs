//! A log that goes on from a copy: no reader misses an event, and none gets one twice that it can
//! resume behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Gap, Reader, Step, SubscribeParams};

/// What a reader got up to the live end, in short.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    epoch: String,
    gaps: Vec<Gap>,
    vids: Vec<u64>,
    data: Vec<String>,
}

async fn read_after(via: crate::common::read::Transport, gateway: &Gateway, cursor: &str) -> Read {
    let ask = SubscribeParams::after(cursor);
    let opened = Reader::open(via, gateway, &ask).await;
    let (steps, _) = opened.expect("a subscription").until_caught_up().await;
    let mut read = Read::default();
    for step in steps {
        match step {
            Step::Hello { epoch, .. } => read.epoch = epoch,
            Step::Gap(gap) => read.gaps.push(gap),
            Step::Event(event, _) => {
                read.vids.push(event.vid);
                read.data.push(event.topic);
            }
            other => assert!(matches!(other, Step::Progress(_)), "{other:?}"),
        }
    }
    read
}

async fn epoch(gateway: &Gateway) -> String {
    let bus = gateway.get("/v1/bus").await;
    bus["epoch"].as_str().expect("an epoch").to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

async fn end(gateway: &mut Gateway) {
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
}

/// Events 1 to 3, a backup of the folder, and events 4 to 6 of the original.
async fn backed_up() -> (Gateway, PathBuf, String) {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("shared", 3).await;
    let epoch = epoch(&gateway).await;
    end(&mut gateway).await;
    let backup = gateway.data_dir().with_file_name("backup");
    copy_folder(gateway.data_dir(), &backup);
    gateway.start_again();
    gateway.publish_numbers("original", 3).await;
    (gateway, backup, epoch)
}

#[tokio::test]
async fn readers_of_a_restored_backup_miss_nothing() {
    let (mut original, backup, old_epoch) = backed_up().await;
    end(&mut original).await;
    let restored = Gateway::start_at(Setup::default(), &backup);
    restored.publish_numbers("restored", 4).await;
    let new_epoch = epoch(&restored).await;
    assert_ne!(new_epoch, old_epoch);

    for via in ALL {
        // It has seen events that this log never had: everything comes again, after a word.
        let beyond = format!("6-{old_epoch}");
        let read = read_after(via, &restored, &beyond).await;
        let reset = Gap {
            reason: "reset".into(),
            requested: beyond,
            first: 1,
            last: 7,
            epoch: new_epoch.clone(),
        };
        assert_eq!(read.gaps, [reset], "{via:?}");
        assert_eq!(read.vids, [1, 2, 3, 4, 5, 6, 7], "{via:?}");
        assert_eq!(read.epoch, new_epoch, "{via:?}");

        // It has seen nothing else than this log has.
        for (cursor, after) in [(format!("3-{old_epoch}"), 3), (format!("1-{old_epoch}"), 1)] {
            let read = read_after(via, &restored, &cursor).await;
            assert_eq!(read.gaps, [], "{via:?} {cursor}");
            let expected: Vec<u64> = (after + 1..=7).collect();
            assert_eq!(read.vids, expected, "{via:?} {cursor}");
            assert_eq!(read.data.last().expect("an event"), "restored");
        }

        // It does not say of which epoch it is, so its vid counts.
        let read = read_after(via, &restored, "6").await;
        assert_eq!((read.gaps, read.vids), (vec![], vec![7]), "{via:?}");
        let read = read_after(via, &restored, &format!("5-{new_epoch}")).await;
        assert_eq!((read.gaps, read.vids), (vec![], vec![6, 7]), "{via:?}");
    }
}

#[tokio::test]
async fn a_copy_and_its_original_go_on_side_by_side() {
    let (original, backup, old_epoch) = backed_up().await;
    let copy = Gateway::start_at(Setup::default(), &backup);
    copy.publish_numbers("copy", 9).await;
    let new_epoch = epoch(&copy).await;
    assert_eq!(epoch(&original).await, old_epoch, "the original is none");

    for via in ALL {
        let read = read_after(via, &original, &format!("3-{old_epoch}")).await;
        assert_eq!((read.gaps, read.vids), (vec![], vec![4, 5, 6]), "{via:?}");
        for (gateway, cursor) in [
            (&copy, format!("4-{old_epoch}")),
            (&original, format!("4-{new_epoch}")),
        ] {
            let read = read_after(via, gateway, &cursor).await;
            let reasons: Vec<_> = read.gaps.iter().map(|gap| gap.reason.as_str()).collect();
            assert_eq!(reasons, ["reset"], "{via:?} {cursor}");
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_copy_serves_the_readers_of_all_epochs() {
    let (mut original, backup, first_epoch) = backed_up().await;
    end(&mut original).await;
    let mut second = Gateway::start_at(Setup::default(), &backup);
    let second_epoch = epoch(&second).await;
    second.publish_numbers("second", 2).await;
    end(&mut second).await;
    let newer = backup.with_file_name("newer");
    copy_folder(&backup, &newer);
    let third = Gateway::start_at(Setup::default(), &newer);
    third.publish_numbers("third", 2).await;

    let cases: [(String, &[&str], u64); 5] = [
        (format!("3-{first_epoch}"), &[], 4),
        (format!("4-{first_epoch}"), &["reset"], 1),
        (format!("3-{second_epoch}"), &[], 4),
        (format!("5-{second_epoch}"), &[], 6),
        (format!("6-{second_epoch}"), &["reset"], 1),
    ];
    for via in ALL {
        for (cursor, reasons, first) in &cases {
            let read = read_after(via, &third, cursor).await;
            let seen: Vec<_> = read.gaps.iter().map(|gap| gap.reason.as_str()).collect();
            assert_eq!(seen, *reasons, "{via:?} {cursor}");
            assert_eq!(read.vids.first(), Some(first), "{via:?} {cursor}");
        }
    }
}

#[tokio::test]
async fn a_log_that_is_restarted_killed_or_moved_keeps_its_epoch() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("a", 3).await;
    let before = epoch(&gateway).await;
    end(&mut gateway).await;
    gateway.start_again();
    assert_eq!(epoch(&gateway).await, before, "restarted");
    gateway.publish_numbers("a", 3).await;
    gateway.kill();
    gateway.start_again();
    assert_eq!(epoch(&gateway).await, before, "killed");
    gateway.kill();

    let moved = gateway.data_dir().with_file_name("moved");
    fs::rename(gateway.data_dir(), &moved).expect("it is moved");
    let moved = Gateway::start_at(Setup::default(), &moved);
    assert_eq!(epoch(&moved).await, before, "moved");
    assert!(!moved.log().contains("a new epoch begins"));
}

/// The one copy that nothing shows: the same file, as it was before.
#[tokio::test]
async fn a_snapshot_is_not_noticed_and_a_new_epoch_can_be_requested() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("a", 3).await;
    let before = epoch(&gateway).await;
    end(&mut gateway).await;

    let setup = Setup {
        flags: vec!["--new-epoch".into()],
        ..Setup::default()
    };
    let data_dir = gateway.data_dir().to_owned();
    let mut requested = Gateway::start_at(setup, &data_dir);
    let after = epoch(&requested).await;
    assert_ne!(after, before);
    assert!(requested.log().contains("a new epoch was requested"));
    requested.publish_numbers("b", 1).await;
    for via in ALL {
        let read = read_after(via, &requested, &format!("3-{before}")).await;
        assert_eq!((read.gaps, read.vids), (vec![], vec![4]), "{via:?}");
        let read = read_after(via, &requested, &format!("4-{before}")).await;
        assert_eq!(read.gaps[0].reason, "reset", "{via:?}");
    }
    end(&mut requested).await;
    gateway.start_again();
    assert_eq!(epoch(&gateway).await, after, "without the flag it goes on");
}

#[tokio::test]
async fn a_log_in_memory_has_no_use_for_a_requested_epoch() {
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        flags: vec!["--new-epoch".into()],
        ..Setup::default()
    });
    assert!(gateway.log().contains("--new-epoch changes nothing"));
    gateway.publish_numbers("a", 1).await;
}
