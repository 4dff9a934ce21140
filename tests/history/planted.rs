//! The checker finds each kind of error (history §2) that is planted in a good history, and nothing
//! else.

use crate::checker;
use crate::common::publisher::{Ack, Draft};
use crate::common::read::Data;
use crate::findings::Findings;
use crate::record::{Face, History, Micros, ReportedGap, Rules, Start, What, digest};

pub(crate) const SECOND: Micros = 1_000_000;

fn draft(vid: u64) -> Draft {
    Draft::new(
        if vid.is_multiple_of(2) { "even" } else { "odd" },
        format!("id-{vid}"),
    )
}

fn ack(vid: u64, epoch: &str) -> Ack {
    Ack {
        vid,
        cursor: format!("{vid}-{epoch}"),
        duplicate: false,
    }
}

pub(crate) fn face(vid: u64) -> Face {
    let Draft { topic, id, data } = draft(vid);
    let time_ms = i64::try_from(vid * 1000).expect("a time");
    Face {
        vid,
        id,
        topic,
        time_ms,
        digest: digest(&Data::Json(data)),
    }
}

/// Event n is sent in second n, acknowledged and shown within it. There are twelve; the first six
/// are trimmed in second 10, by when the log is to hold no more than four. Reading 0 is there all
/// the time, reading 1 is away from second 3 to 10 and receives a gap, reading 2 wants even ones
/// only, and reading 3 comes in second 11 for the first time. The eighth and the ninth are a batch.
pub(crate) fn good() -> History {
    let rules = Rules {
        max_events: 4,
        max_age_ms: 100_000,
    };
    let mut history = History {
        rules,
        starts: vec![Start {
            at: 0,
            offset_ms: Some(0),
        }],
        ..History::default()
    };
    for vid in 1..=12 {
        history.sending(if vid == 9 { 8 } else { vid } * SECOND, &[draft(vid)]);
        if !matches!(vid, 8 | 9) {
            history.acknowledged(
                vid * SECOND + 500,
                &[draft(vid)],
                &[ack(vid, "abcdef")],
                true,
            );
        }
    }
    history.acknowledged(
        9 * SECOND + 500,
        &[draft(8), draft(9)],
        &[ack(8, "abcdef"), ack(9, "abcdef")],
        true,
    );
    let even = ["even".to_owned()];
    for (topics, from_the_beginning) in [(&[][..], true), (&[], true), (&even, true), (&[], false)]
    {
        history.begin_reading(topics, from_the_beginning);
    }
    for (reading, after) in [(0, 0), (1, 0), (2, 0)] {
        history.received(1, reading, What::Asked);
        history.received(
            2,
            reading,
            What::Hello {
                first: 1,
                last: after,
            },
        );
        history.received(3, reading, What::CaughtUp(after));
    }
    show(&mut history, 0, 1..=12);
    show(&mut history, 1, 1..=2);
    history.received(10 * SECOND, 1, What::Asked);
    history.received(10 * SECOND + 50, 1, What::Hello { first: 7, last: 10 });
    history.received(10 * SECOND + 51, 1, What::Gap(Box::new(gap(2, 7, 10))));
    late(&mut history, 1, 7..=10, 10 * SECOND + 600);
    history.received(10 * SECOND + 700, 1, What::CaughtUp(10));
    show(&mut history, 1, 11..=12);
    show(&mut history, 2, (2..=12).step_by(2));
    history.received(12 * SECOND + 900, 2, What::Progress(12));
    history.received(11 * SECOND + 700, 3, What::Asked);
    history.received(11 * SECOND + 701, 3, What::Hello { first: 7, last: 11 });
    late(&mut history, 3, 7..=11, 11 * SECOND + 702);
    show(&mut history, 3, 12..=12);
    history
}

pub(crate) fn gap(requested: u64, first: u64, last: u64) -> ReportedGap {
    ReportedGap {
        reason: "expired".into(),
        requested,
        first,
        last,
    }
}

fn show(history: &mut History, reading: usize, vids: impl Iterator<Item = u64>) {
    for vid in vids {
        late(
            history,
            reading,
            vid..=vid,
            vid.max(if vid == 8 { 9 } else { 0 }) * SECOND + 600,
        );
    }
}

fn late(history: &mut History, reading: usize, vids: impl Iterator<Item = u64>, at: Micros) {
    for vid in vids {
        let number = history.number(face(vid));
        history.received(at, reading, What::Event(number));
    }
}

pub(crate) fn check(history: &History) -> Findings {
    checker::check(history).0
}

pub(crate) fn after(plant: impl FnOnce(&mut History)) -> Findings {
    let mut history = good();
    plant(&mut history);
    check(&history)
}

/// What this reading received about an event.
pub(crate) fn place(history: &History, reading: usize, vid: u64) -> usize {
    let is_it =
        |what: &What| matches!(what, What::Event(number) if history.faces[*number].vid == vid);
    history.readings[reading]
        .received
        .iter()
        .position(|(_, what)| is_it(what))
        .expect("it was shown")
}

pub(crate) fn forget(history: &mut History, reading: usize, vid: u64) {
    let place = place(history, reading, vid);
    history.readings[reading].received.remove(place);
}

pub(crate) fn change(
    history: &mut History,
    reading: usize,
    vid: u64,
    change: impl FnOnce(&mut Face),
) {
    let mut changed = face(vid);
    change(&mut changed);
    let (place, number) = (place(history, reading, vid), history.number(changed));
    history.readings[reading].received[place].1 = What::Event(number);
}

#[test]
fn a_good_history_is_clean() {
    assert_eq!(check(&good()), Findings::default());
}

#[test]
fn an_event_that_a_reader_was_not_shown_though_it_was_there_is_lost() {
    let lost = Findings {
        lost: 1,
        ..Findings::default()
    };
    assert_eq!(after(|history| forget(history, 0, 11)), lost);
    assert_eq!(
        after(|history| forget(history, 2, 8)),
        lost,
        "with a filter"
    );
    assert_eq!(
        after(|history| forget(history, 3, 10)),
        lost,
        "of a reader that came late"
    );
}

#[test]
fn an_acknowledged_event_that_nobody_ever_saw_is_lost() {
    let found = after(|history| {
        let never = Draft::new("odd", "never");
        history.sending(12 * SECOND + 1, std::slice::from_ref(&never));
        history.acknowledged(12 * SECOND + 700, &[never], &[ack(13, "abcdef")], true);
        history.received(12 * SECOND + 901, 0, What::Progress(13));
    });
    assert_eq!(
        found,
        Findings {
            lost: 1,
            ..Findings::default()
        }
    );
}

#[test]
fn what_is_shown_twice_is_repeated() {
    let repeated = Findings {
        repeated: 1,
        ..Findings::default()
    };
    assert_eq!(
        after(|history| late(history, 0, 12..=12, 13 * SECOND)),
        repeated
    );
    let again = after(|history| {
        let again = Face {
            vid: 13,
            time_ms: 13_000,
            ..face(12)
        };
        let number = history.number(again);
        history.received(13 * SECOND, 0, What::Event(number));
    });
    assert_eq!(
        (again.repeated, again.double_vid),
        (1, 0),
        "one id at two vids: {again:?}"
    );
}

#[test]
fn what_comes_after_a_later_one_or_behind_a_told_position_is_reordered() {
    let found = after(|history| {
        let (one, other) = (place(history, 0, 3), place(history, 0, 4));
        history.readings[0].received.swap(one, other);
    });
    assert_eq!(
        found,
        Findings {
            reordered: 1,
            ..Findings::default()
        }
    );
    let overtaken = after(|history| {
        let place = place(history, 2, 4);
        history.readings[2]
            .received
            .insert(place, (4 * SECOND + 550, What::Progress(4)));
    });
    assert_eq!(
        overtaken,
        Findings {
            reordered: 1,
            ..Findings::default()
        }
    );
    let fell = after(|history| history.received(13 * SECOND, 0, What::Progress(3)));
    assert_eq!(
        fell,
        Findings {
            reordered: 1,
            ..Findings::default()
        }
    );
}

#[test]
fn what_is_not_as_it_was_sent_acknowledged_or_shown_to_others_is_changed() {
    assert_eq!(
        after(|history| change(history, 0, 5, |face| face.topic = "even".into())).changed,
        2
    );
    assert!(after(|history| change(history, 0, 5, |face| face.digest += 1)).changed > 0);
    let other_time = after(|history| change(history, 0, 8, |face| face.time_ms += 1));
    assert_eq!(
        other_time,
        Findings {
            changed: 1,
            ..Findings::default()
        },
        "for one reader only"
    );
    let contradicted =
        after(|history| history.acknowledged(13 * SECOND, &[draft(3)], &[ack(4, "abcdef")], false));
    assert_eq!(
        contradicted,
        Findings {
            changed: 1,
            ..Findings::default()
        }
    );
    let epoch =
        after(|history| history.acknowledged(13 * SECOND, &[draft(3)], &[ack(3, "other9")], false));
    assert_eq!(
        epoch,
        Findings {
            changed: 1,
            ..Findings::default()
        }
    );
}

#[test]
fn a_vid_of_two_events_is_a_double_vid() {
    let sent = |history: &mut History| history.sending(5 * SECOND, &[Draft::new("odd", "other")]);
    let acknowledged = after(|history| {
        sent(history);
        history.acknowledged(
            5 * SECOND + 500,
            &[Draft::new("odd", "other")],
            &[ack(5, "abcdef")],
            false,
        );
    });
    assert_eq!(
        acknowledged,
        Findings {
            double_vid: 1,
            ..Findings::default()
        }
    );
    let shown = after(|history| {
        sent(history);
        let other = Draft::new("odd", "other");
        let digest = digest(&Data::Json(other.data));
        change(history, 0, 5, |face| {
            (face.id, face.digest) = (other.id, digest);
        });
    });
    assert_eq!(
        shown,
        Findings {
            double_vid: 2,
            ..Findings::default()
        },
        "shown twice, and acknowledged otherwise"
    );
}

#[test]
fn an_event_that_nobody_sent_or_wanted_is_made_up() {
    let stranger = after(|history| {
        change(history, 0, 12, |face| {
            (face.vid, face.id) = (13, "stranger".into());
        });
    });
    assert!(stranger.made_up == 1, "{stranger:?}");
    let unwanted = after(|history| {
        let place = place(history, 2, 4);
        let number = history.number(face(3));
        history.readings[2]
            .received
            .insert(place, (3 * SECOND + 600, What::Event(number)));
    });
    assert_eq!(
        unwanted,
        Findings {
            made_up: 1,
            ..Findings::default()
        }
    );
}

#[test]
fn a_batch_with_another_event_in_between_is_split() {
    let split = Findings {
        split_batches: 1,
        ..Findings::default()
    };
    assert_eq!(after(|history| history.batches.push(vec![3, 5])), split);
    assert_eq!(after(|history| history.batches.push(vec![4, 3])), split);
}

#[test]
fn a_wrong_refusal_is_found() {
    let found = after(|history| history.refusals.push("BadRequest".into()));
    assert_eq!(
        found,
        Findings {
            wrong_refusals: 1,
            ..Findings::default()
        }
    );
}
