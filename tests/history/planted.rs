//! The checker finds each kind of fault that is planted in a good history, and nothing else.

use crate::checker;
use crate::common::publisher::{Ack, Draft};
use crate::common::read::Data;
use crate::findings::Findings;
use crate::record::{Face, History, Micros, Rules, ToldGap, What, digest};

const SECOND: Micros = 1_000_000;

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

fn face(vid: u64) -> Face {
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
/// the time, reading 1 is away from second 3 to 10 and is told a gap, reading 2 wants even ones
/// only, and reading 3 comes in second 11 for the first time. The eighth and the ninth are a batch.
fn good() -> History {
    let rules = Rules {
        max_events: 4,
        max_age_ms: 100_000,
    };
    let mut history = History {
        rules,
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
        history.told(1, reading, What::Asked);
        history.told(
            2,
            reading,
            What::Hello {
                first: 1,
                last: after,
            },
        );
        history.told(3, reading, What::CaughtUp(after));
    }
    show(&mut history, 0, 1..=12);
    show(&mut history, 1, 1..=2);
    history.told(10 * SECOND, 1, What::Asked);
    history.told(10 * SECOND + 50, 1, What::Hello { first: 7, last: 10 });
    history.told(10 * SECOND + 51, 1, What::Gap(Box::new(gap(2, 7, 10))));
    late(&mut history, 1, 7..=10, 10 * SECOND + 600);
    history.told(10 * SECOND + 700, 1, What::CaughtUp(10));
    show(&mut history, 1, 11..=12);
    show(&mut history, 2, (2..=12).step_by(2));
    history.told(12 * SECOND + 900, 2, What::Progress(12));
    history.told(11 * SECOND + 700, 3, What::Asked);
    history.told(11 * SECOND + 701, 3, What::Hello { first: 7, last: 11 });
    late(&mut history, 3, 7..=11, 11 * SECOND + 702);
    show(&mut history, 3, 12..=12);
    history
}

fn gap(requested: u64, first: u64, last: u64) -> ToldGap {
    ToldGap {
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
        history.told(at, reading, What::Event(number));
    }
}

fn check(history: &History) -> Findings {
    checker::check(history).0
}

fn after(plant: impl FnOnce(&mut History)) -> Findings {
    let mut history = good();
    plant(&mut history);
    check(&history)
}

/// What this reading was told of an event.
fn place(history: &History, reading: usize, vid: u64) -> usize {
    let is_it =
        |what: &What| matches!(what, What::Event(number) if history.faces[*number].vid == vid);
    history.readings[reading]
        .told
        .iter()
        .position(|(_, what)| is_it(what))
        .expect("it was shown")
}

fn forget(history: &mut History, reading: usize, vid: u64) {
    let place = place(history, reading, vid);
    history.readings[reading].told.remove(place);
}

fn change(history: &mut History, reading: usize, vid: u64, change: impl FnOnce(&mut Face)) {
    let mut changed = face(vid);
    change(&mut changed);
    let (place, number) = (place(history, reading, vid), history.number(changed));
    history.readings[reading].told[place].1 = What::Event(number);
}

fn change_gap(history: &mut History, change: impl FnOnce(&mut ToldGap)) {
    let told = history.readings[1].told.iter_mut();
    let gaps = told.filter_map(|(_, what)| {
        if let What::Gap(gap) = what {
            Some(gap)
        } else {
            None
        }
    });
    change(gaps.last().expect("a gap"));
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
        history.told(12 * SECOND + 901, 0, What::Progress(13));
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
        history.told(13 * SECOND, 0, What::Event(number));
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
        history.readings[0].told.swap(one, other);
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
            .told
            .insert(place, (4 * SECOND + 550, What::Progress(4)));
    });
    assert_eq!(
        overtaken,
        Findings {
            reordered: 1,
            ..Findings::default()
        }
    );
    let fell = after(|history| history.told(13 * SECOND, 0, What::Progress(3)));
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
            .told
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
fn a_gap_that_is_not_told_is_found() {
    let silent = after(|history| {
        history.readings[1]
            .told
            .retain(|(_, what)| !matches!(what, What::Gap(_)));
    });
    assert_eq!(
        silent,
        Findings {
            gaps_not_told: 4,
            ..Findings::default()
        }
    );
    let too_short = after(|history| change_gap(history, |gap| gap.first = 5));
    assert_eq!(
        (too_short.gaps_not_told, too_short.lost),
        (2, 0),
        "{too_short:?}"
    );
}

#[test]
fn a_gap_that_is_told_falsely_is_found() {
    let shown_anyway = after(|history| change_gap(history, |gap| gap.first = 8));
    assert!(shown_anyway.gaps_told_falsely > 0, "{shown_anyway:?}");
    let seen_before = after(|history| change_gap(history, |gap| gap.requested = 1));
    assert_eq!(
        seen_before,
        Findings {
            gaps_told_falsely: 2,
            ..Findings::default()
        },
        "its bound, and the event"
    );
    for reason in ["reset", "ahead"] {
        let other = after(|history| change_gap(history, |gap| gap.reason = reason.into()));
        assert_eq!(
            other,
            Findings {
                gaps_told_falsely: 1,
                ..Findings::default()
            }
        );
    }
    let empty = after(|history| history.told(13 * SECOND, 0, What::Gap(Box::new(gap(12, 13, 12)))));
    assert_eq!(empty.gaps_told_falsely, 1);
    let still_there = after(|history| {
        // Reading 0 is told that all up to 8 is gone, and yet reading 3 gets 7 later on.
        let place = place(history, 0, 11);
        let told = What::Gap(Box::new(gap(10, 8, 10)));
        history.readings[0]
            .told
            .insert(place, (10 * SECOND + 900, told));
    });
    assert!(still_there.gaps_told_falsely >= 2, "{still_there:?}");
}

#[test]
fn what_contradicts_the_order_in_time_is_found() {
    let sent_late =
        after(|history| history.sent.get_mut("id-5").expect("sent").at = 6 * SECOND + 550);
    assert_eq!(
        sent_late.out_of_time, 1,
        "6 was acknowledged before 5 was sent: {sent_late:?}"
    );
    let seen_before_sent =
        after(|history| history.sent.get_mut("id-12").expect("sent").at = 13 * SECOND);
    assert_eq!(seen_before_sent.out_of_time, 1, "{seen_before_sent:?}");
    let behind = after(|history| {
        history.told(13 * SECOND, 0, What::Asked);
        history.told(13 * SECOND + 1, 0, What::Hello { first: 7, last: 11 });
    });
    assert_eq!(
        behind,
        Findings {
            out_of_time: 1,
            ..Findings::default()
        },
        "12 was acknowledged before"
    );
    let first_fell = after(|history| {
        history.told(13 * SECOND, 0, What::Asked);
        history.told(13 * SECOND + 1, 0, What::Hello { first: 6, last: 12 });
    });
    assert_eq!(
        first_fell,
        Findings {
            out_of_time: 1,
            ..Findings::default()
        },
        "what was gone is back"
    );
    let not_caught_up = after(|history| {
        history.told(13 * SECOND, 1, What::Asked);
        history.readings[1].told.pop();
        forget(history, 1, 12);
        history.told(13 * SECOND, 1, What::Asked);
        history.told(13 * SECOND + 1, 1, What::CaughtUp(11));
    });
    assert_eq!(
        not_caught_up,
        Findings {
            out_of_time: 1,
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
fn a_time_that_falls_is_found() {
    let found = after(|history| {
        for reading in [0, 2] {
            change(history, reading, 4, |face| face.time_ms = 2500);
        }
    });
    assert_eq!(found.times_fell, 1, "{found:?}");
}

#[test]
fn what_is_trimmed_though_it_is_neither_old_nor_too_much_is_found() {
    let early = after(|history| history.rules.max_events = 5);
    assert!(early.trimmed_early > 0, "{early:?}");
    let mut old = good();
    old.rules = Rules {
        max_events: 100,
        max_age_ms: 4000,
    };
    assert_eq!(
        check(&old),
        Findings::default(),
        "6 of second 6 is old in second 10"
    );
    old.rules.max_age_ms = 60_000;
    assert!(check(&old).trimmed_early > 0);
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
