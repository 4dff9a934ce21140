//! Steps of a tail, from messages and answers that nobody has sent.

use async_nats::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::engine::{Bounds, Sizes};
use crate::lineage::Lineage;

fn log(epoch: &str, first: Vid, last: Vid) -> LogState {
    LogState {
        lineage: Lineage::new(epoch.parse().expect("an epoch")),
        bounds: Bounds { first, last },
        sizes: Sizes::default(),
        live: true,
    }
}

fn message(vid: Vid, time_ms: i64, subject: &str) -> StoredMessage {
    StoredMessage {
        vid,
        time_ms,
        subject: subject.to_owned(),
        headers: HeaderMap::new(),
        data: "{}".into(),
    }
}

fn messages(vids: &[Vid]) -> Vec<StoredMessage> {
    vids.iter()
        .map(|vid| message(*vid, 0, "doors.door"))
        .collect()
}

fn vids(messages: &[StoredMessage]) -> Vec<Vid> {
    messages.iter().map(|message| message.vid).collect()
}

/// The vids and times of a step, and how far it goes.
fn seen(step: Option<TailStep>) -> (Vec<(Vid, i64)>, Vid) {
    match step {
        Some(TailStep::Events { events, through }) => {
            let events = events.iter().map(|event| (event.vid, event.time_ms));
            (events.collect(), through)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_are_split_at_the_first_hole() {
    let progress = Progress::at(&log("aaaaaa", 1, 10), 10);
    let mut rest = messages(&[9, 10, 11, 12, 14, 15, 17]);
    assert_eq!(vids(&progress.split(&mut rest)), [11, 12]);
    assert_eq!(vids(&rest), [14, 15, 17]);

    let mut rest = messages(&[8, 9, 10]);
    assert!(progress.split(&mut rest).is_empty() && rest.is_empty());

    let mut rest = messages(&[12]);
    assert!(progress.split(&mut rest).is_empty());
    assert_eq!(vids(&rest), [12]);
}

#[test]
fn times_never_fall_and_what_is_no_event_moves_the_tail() {
    let subjects = Subjects::behind("doors");
    let mut progress = Progress::at(&log("aaaaaa", 1, 10), 10);
    let mut skipped = 0;
    let batch = vec![
        message(11, 500, "doors.door"),
        message(12, 400, "doors.door"),
        message(13, 600, "doors.vidette.other"),
        message(15, 450, "doors.door"),
        message(16, 450, "windows.window"),
    ];
    let step = progress.take(batch, &subjects, &mut skipped);
    assert_eq!(seen(step), (vec![(11, 500), (12, 500), (15, 500)], 16));
    assert_eq!((skipped, progress.last()), (2, 16));

    let nothing_new = progress.take(messages(&[15, 16]), &subjects, &mut skipped);
    assert!(nothing_new.is_none());
    assert_eq!(skipped, 2, "what was met before is not counted again");
}

#[test]
fn trimming_is_a_step_once_and_moves_the_tail_where_it_goes_beyond() {
    let mut progress = Progress::at(&log("aaaaaa", 1, 10), 10);
    assert!(progress.trim(1).is_none());
    assert!(matches!(
        progress.trim(5),
        Some(TailStep::Trimmed { first: 5 })
    ));
    assert!(progress.trim(5).is_none() && progress.trim(4).is_none());
    assert_eq!(progress.last(), 10);
    assert!(matches!(
        progress.trim(100),
        Some(TailStep::Trimmed { first: 100 })
    ));
    assert_eq!(progress.last(), 99);
}

#[test]
fn only_what_is_far_behind_is_skipped_and_only_by_who_can_be_believed() {
    let view = |epoch: &str, last, is_confirmed| StreamView {
        epoch: epoch.parse().expect("an epoch"),
        earlier: std::sync::Arc::default(),
        bounds: Bounds { first: 1, last },
        sizes: Sizes::default(),
        is_confirmed,
        unheard_for: std::time::Duration::ZERO,
    };
    let far = 10 + limits::NATS_TAIL_VIDS;
    let mut progress = Progress::at(&log("aaaaaa", 1, 10), 10);
    assert!(progress.skip(&view("aaaaaa", far, true)).is_none());
    assert!(progress.skip(&view("aaaaaa", far + 5, false)).is_none());
    assert!(progress.skip(&view("bbbbbb", far + 5, true)).is_none());
    let step = progress.skip(&view("aaaaaa", far + 5, true));
    assert!(matches!(step, Some(TailStep::Skipped { through: 15 })));
    assert_eq!(progress.last(), 15);
}

proptest! {
    #[test]
    fn nothing_comes_twice_or_out_of_place(
        batches in prop::collection::vec(prop::collection::btree_set(1..200_u64, 0..40), 0..20),
        start in 0..50_u64,
    ) {
        let subjects = Subjects::behind("doors");
        let mut progress = Progress::at(&log("aaaaaa", 1, start), start);
        let (mut before, mut skipped) = (start, 0);
        for batch in batches {
            let mut rest = messages(&batch.into_iter().collect::<Vec<_>>());
            let next = progress.split(&mut rest);
            for part in [next, rest] {
                let Some(TailStep::Events { events, through }) =
                    progress.take(part, &subjects, &mut skipped) else { continue };
                for event in &events {
                    prop_assert!(event.vid > before);
                    before = event.vid;
                }
                prop_assert_eq!(through, before);
            }
        }
    }
}
