//! When the end of a log is known, on fake times.

use std::sync::Arc;

use super::*;
use crate::engine::jetstream::api::ApiError;
use crate::engine::jetstream::watch::StreamView;
use crate::engine::{Bounds, Sizes};

const STALE_AFTER: Duration = Duration::from_secs(15);

/// A liveness on fake times, in seconds from the beginning.
struct Fake {
    start: Instant,
    liveness: Liveness,
    asked: u64,
}

impl Fake {
    fn new() -> Self {
        let start = Instant::now() + Duration::from_secs(100);
        Fake {
            start,
            liveness: Liveness::new(STALE_AFTER, start),
            asked: 0,
        }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// An answer of a leader that heard of a majority so many seconds before.
    fn answer(&mut self, seconds: f64, last: Vid, unheard_for: f64) {
        let unheard_for = Duration::from_secs_f64(unheard_for);
        let view = StreamView {
            epoch: "aaaaaa".parse().expect("an epoch"),
            earlier: std::sync::Arc::default(),
            bounds: Bounds { first: 1, last },
            sizes: Sizes::default(),
            is_confirmed: unheard_for < limits::NATS_REPLICA_SILENCE,
            unheard_for,
        };
        self.take(seconds, Ok(Arc::new(view)));
    }

    fn silence(&mut self, seconds: f64) {
        self.take(seconds, Err(ApiError::NoResponders));
    }

    fn take(&mut self, seconds: f64, answer: crate::engine::jetstream::watch::Answer) {
        self.asked += 1;
        self.liveness.answered(&Asked {
            number: self.asked,
            at: self.at(seconds),
            answer,
        });
    }

    fn judge(&mut self, seconds: f64, tail: Vid) -> Verdict {
        let now = self.at(seconds);
        self.liveness.judge(now, tail)
    }

    /// Live from the beginning, with the tail at 10.
    fn live() -> Self {
        let mut fake = Fake::new();
        fake.answer(0.0, 10, 0.0);
        assert_eq!(fake.judge(0.01, 10).live, Some(true));
        fake
    }
}

#[test]
fn the_end_is_known_once_the_tail_has_come_to_what_the_first_answer_said() {
    let mut fake = Fake::new();
    assert_eq!(fake.judge(0.0, 3).live, None);
    fake.answer(0.1, 10, 0.2);
    assert_eq!(fake.judge(0.2, 9).live, None);
    assert_eq!(fake.judge(0.3, 10).live, Some(true));
    assert_eq!(fake.judge(0.4, 10).live, None, "it has been told");
}

#[test]
fn an_answer_from_before_the_tail_began_does_not_count() {
    let mut fake = Fake::new();
    fake.liveness = Liveness::new(STALE_AFTER, fake.at(1.0));
    fake.answer(0.9, 10, 0.0);
    assert_eq!(fake.judge(1.1, 10).live, None);
    fake.answer(1.1, 10, 0.0);
    assert_eq!(fake.judge(1.2, 10).live, Some(true));
}

#[test]
fn a_tail_may_be_two_seconds_behind_and_no_more() {
    let mut fake = Fake::live();
    for second in 1..=30 {
        // Ten events a second, and a tail that is 1.5 s behind.
        let (now, end) = (
            f64::from(second),
            10 + 10 * u64::try_from(second).expect("few"),
        );
        fake.answer(now, end, 0.5);
        let verdict = fake.judge(now + 0.1, end - 15);
        assert_eq!(verdict, Verdict::default(), "at {second}");
    }
    // From here on it does not move.
    let mut told = None;
    for tenth in 310..=600 {
        let now = f64::from(tenth) / 10.0;
        if tenth % 10 == 0 {
            fake.answer(now, 10 + u64::try_from(tenth).expect("few"), 0.5);
        }
        if fake.judge(now, 295).live == Some(false) {
            told = told.or(Some(tenth));
        }
    }
    let told = told.expect("it is told");
    assert!((440..=480).contains(&told), "{told}");
}

#[test]
fn a_leader_that_is_cut_off_is_told_stale_after_it_last_heard_of_others() {
    let mut fake = Fake::live();
    let mut told = None;
    for tenth in 1..=250 {
        let now = f64::from(tenth) / 10.0;
        if tenth % 10 == 0 {
            // It answers for ever; at 0 it has heard of the others for the last time.
            fake.answer(now, 10, now);
        }
        if fake.judge(now, 10).live == Some(false) {
            told = Some(tenth);
        }
    }
    assert_eq!(told, Some(150));
    fake.answer(25.5, 40, 0.1);
    assert_eq!(
        fake.judge(25.6, 10).live,
        None,
        "the tail has to come there"
    );
    assert_eq!(fake.judge(25.7, 40).live, Some(true));
}

#[test]
fn another_consumer_is_tried_every_so_often_unless_the_tail_moves() {
    let mut fake = Fake::live();
    fake.silence(1.0);
    let mut tried = Vec::new();
    for tenth in 10..=100 {
        let now = f64::from(tenth) / 10.0;
        if fake.judge(now, 10).needs_another_consumer {
            tried.push(tenth);
        }
    }
    assert_eq!(tried, [35, 60, 85]);

    let mut fake = Fake::live();
    fake.answer(1.0, 1000, 0.1);
    fake.answer(3.0, 1000, 0.1);
    for tenth in 30..=100 {
        let tail = 10 + u64::try_from(tenth).expect("few");
        let verdict = fake.judge(f64::from(tenth) / 10.0, tail);
        assert!(!verdict.needs_another_consumer, "it catches up");
    }
}

#[test]
fn many_answers_a_second_are_a_few_to_remember() {
    let mut fake = Fake::live();
    for hundredth in 1..=2000_u32 {
        let now = f64::from(hundredth) / 100.0;
        fake.answer(now, u64::from(hundredth), 0.1);
        assert_eq!(fake.judge(now, u64::from(hundredth)), Verdict::default());
        assert!(fake.liveness.ends.len() <= 6);
    }
    // What was the end two seconds before is enough.
    assert_eq!(fake.judge(20.0, 1800), Verdict::default());
    assert!(fake.liveness.doubted_at.is_none());
    fake.judge(20.0, 1740);
    assert!(fake.liveness.doubted_at.is_some());
}
