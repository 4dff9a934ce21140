//! The checker finds gaps that are reported falsely or not at all, and what contradicts the order
//! in time.

use crate::findings::Findings;
use crate::planted::{SECOND, after, forget, gap, place};
use crate::record::{History, ReportedGap, What};

fn change_gap(history: &mut History, change: impl FnOnce(&mut ReportedGap)) {
    let received = history.readings[1].received.iter_mut();
    let gaps = received.filter_map(|(_, what)| {
        if let What::Gap(gap) = what {
            Some(gap)
        } else {
            None
        }
    });
    change(gaps.last().expect("a gap"));
}

#[test]
fn a_gap_that_is_not_told_is_found() {
    let silent = after(|history| {
        history.readings[1]
            .received
            .retain(|(_, what)| !matches!(what, What::Gap(_)));
    });
    assert_eq!(
        silent,
        Findings {
            gaps_not_reported: 4,
            ..Findings::default()
        }
    );
    let too_short = after(|history| change_gap(history, |gap| gap.first = 5));
    assert_eq!(
        (too_short.gaps_not_reported, too_short.lost),
        (2, 0),
        "{too_short:?}"
    );
}

#[test]
fn a_gap_that_is_told_falsely_is_found() {
    let shown_anyway = after(|history| change_gap(history, |gap| gap.first = 8));
    assert!(shown_anyway.gaps_reported_falsely > 0, "{shown_anyway:?}");
    let seen_before = after(|history| change_gap(history, |gap| gap.requested = 1));
    assert_eq!(
        seen_before,
        Findings {
            gaps_reported_falsely: 2,
            ..Findings::default()
        },
        "its bound, and the event"
    );
    for reason in ["reset", "ahead"] {
        let other = after(|history| change_gap(history, |gap| gap.reason = reason.into()));
        assert_eq!(
            other,
            Findings {
                gaps_reported_falsely: 1,
                ..Findings::default()
            }
        );
    }
    let empty =
        after(|history| history.received(13 * SECOND, 0, What::Gap(Box::new(gap(12, 13, 12)))));
    assert_eq!(empty.gaps_reported_falsely, 1);
    let still_there = after(|history| {
        // Reading 0 is notified that all up to 8 is gone, and yet reading 3 gets 7 later on.
        let place = place(history, 0, 11);
        let reported = What::Gap(Box::new(gap(10, 8, 10)));
        history.readings[0]
            .received
            .insert(place, (10 * SECOND + 900, reported));
    });
    assert!(still_there.gaps_reported_falsely >= 2, "{still_there:?}");
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
        history.received(13 * SECOND, 0, What::Asked);
        history.received(13 * SECOND + 1, 0, What::Hello { first: 7, last: 11 });
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
        history.received(13 * SECOND, 0, What::Asked);
        history.received(13 * SECOND + 1, 0, What::Hello { first: 6, last: 12 });
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
        history.received(13 * SECOND, 1, What::Asked);
        history.readings[1].received.pop();
        forget(history, 1, 12);
        history.received(13 * SECOND, 1, What::Asked);
        history.received(13 * SECOND + 1, 1, What::CaughtUp(11));
    });
    assert_eq!(
        not_caught_up,
        Findings {
            out_of_time: 1,
            ..Findings::default()
        }
    );
}
