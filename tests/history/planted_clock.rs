//! The checker finds what a clock that jumps does to times and to retention.

use crate::findings::Findings;
use crate::planted::{SECOND, after, change, check, good};
use crate::record::{History, Micros, Rules, Start};

const HOUR_MS: i64 = 3_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;

/// All readers are shown this event with another time.
fn change_time(history: &mut History, readings: &[usize], vid: u64, time_ms: i64) {
    for reading in readings {
        change(history, *reading, vid, |face| face.time_ms = time_ms);
    }
}

fn start(at: Micros, offset_ms: Option<i64>) -> Start {
    Start { at, offset_ms }
}

#[test]
fn a_time_that_falls_is_found() {
    let found = after(|history| change_time(history, &[0, 2], 4, 2500));
    assert_eq!(found.times_fell, 1, "{found:?}");
}

#[test]
fn a_time_of_a_clock_that_has_jumped_is_found() {
    let ahead = after(|history| change_time(history, &[0, 1, 2, 3], 12, TEN_YEARS_MS));
    assert_eq!((ahead.wrong_times, ahead.times_fell), (1, 0), "{ahead:?}");
    let stands = after(|history| change_time(history, &[0, 1, 2, 3], 12, 11_000 - 3000));
    assert_eq!(
        (stands.wrong_times, stands.times_fell),
        (1, 1),
        "{stands:?}"
    );
}

#[test]
fn a_time_is_as_right_as_the_clock_that_the_gateway_was_started_with() {
    let started = |offset_ms, time_ms| {
        after(|history| {
            history.starts.push(start(11 * SECOND + 600, offset_ms));
            change_time(history, &[0, 1, 2, 3], 12, time_ms);
        })
        .wrong_times
    };
    assert_eq!(started(Some(9000), 21_000), 0);
    assert_eq!(started(Some(9000), 12_000), 1, "behind it");
    assert_eq!(started(Some(9000), 25_000), 1, "ahead of it");
    // Times stand until a clock that was set back comes up with them.
    assert_eq!(started(Some(-9000), 11_000), 0);
    assert_eq!(started(None, 11_000), 0, "years back");
    assert_eq!(started(None, 25_000), 1);
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
    assert!(check(&old).trimmed_early > 0, "as by a jump");
}

#[test]
fn a_clock_that_is_wrong_at_a_start_makes_nothing_old() {
    let mut old = good();
    old.rules = Rules {
        max_events: 100,
        max_age_ms: 60_000,
    };
    old.starts.push(start(9 * SECOND + 700, None));
    for offset_ms in [Some(HOUR_MS), Some(-HOUR_MS), None] {
        old.starts[1].offset_ms = offset_ms;
        assert!(check(&old).trimmed_early > 0, "{offset_ms:?}");
    }
}
