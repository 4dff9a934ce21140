//! What time it is: a clock that does not jump.
//!
//! The machine's wall clock can be wrong at start, and it can be set at any moment. What is done
//! to it must neither trim the log nor forget an id, and a clock that is wrong for a moment must
//! not mark the log for ever, as times of events never fall. Invariants:
//! - `counted_ms` only goes on as real time does while the gateway runs, in whatever state the wall
//!   clock is; it goes on from where the log stopped, so it is the measure of all ages;
//! - `time_ms` is the wall clock's time, but a jump of more than [`limits::CLOCK_STEP`] is followed
//!   only once it has lasted for [`limits::CLOCK_SETTLES`];
//! - a jump is reported when it is seen and when it is over, at most once a minute.

mod time_source;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::engine::Moment;
use crate::limits;

pub use time_source::{MachineTime, SettableTime, TimeSource};

/// The clock of one log.
pub(super) struct Clock {
    source: Box<dyn TimeSource>,
    /// What `counted_ms` was when the source's elapsed time was 0.
    counted_at_zero_ms: i64,
    /// Held for one look.
    wall: Mutex<WallClock>,
}

/// What is made of the wall clock.
struct WallClock {
    /// Added to `counted_ms` it is the time.
    ahead_ms: i64,
    jump: Option<Jump>,
    reported_at_ms: Option<i64>,
}

/// A jump that is not followed yet.
#[derive(Clone, Copy)]
struct Jump {
    since_ms: i64,
    by_ms: i64,
}

const RIGHT_AGAIN: &str = "the wall clock is right again";
const NEW_TIME_KEPT: &str = "the wall clock has kept its new time: events have it from now on, \
                             unless it is before that of the last event";
const JUMPED: &str = "the wall clock jumped: nothing is trimmed or forgotten for that, and events \
                      keep to the time before unless it stays so";

impl Clock {
    /// Goes on from the newest moment of the log. Time during which the gateway did not run is not
    /// counted, because only the wall clock could say how long it was.
    pub(super) fn start(source: Box<dyn TimeSource>, newest: Option<Moment>) -> Self {
        // A new log begins with the wall clock, whatever it says.
        let (wall_ms, elapsed_ms) = (source.wall_ms(), source.elapsed_ms());
        let from = newest.unwrap_or(wall_ms.into());
        let clock = Clock {
            source,
            counted_at_zero_ms: from.counted_ms - elapsed_ms,
            wall: Mutex::new(WallClock {
                ahead_ms: time_at_start_ms(wall_ms, from) - from.counted_ms,
                jump: None,
                reported_at_ms: None,
            }),
        };
        clock.now(); // reports a wall clock that is not followed
        clock
    }

    pub(super) fn now(&self) -> Moment {
        let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        // Both clocks are read under the lock, so that looks come in their order.
        let counted_ms = self.counted_at_zero_ms + self.source.elapsed_ms();
        wall.look(self.source.wall_ms(), counted_ms);
        Moment {
            time_ms: counted_ms + wall.ahead_ms,
            counted_ms,
        }
    }
}

/// The wall clock is followed at once unless it is behind the log, or so far ahead of it that it is
/// rather wrong.
fn time_at_start_ms(wall_ms: i64, from: Moment) -> i64 {
    let stopped_ms = wall_ms.saturating_sub(from.time_ms);
    let is_likely = (0..=millis(limits::CLOCK_MAX_DOWNTIME)).contains(&stopped_ms);
    if is_likely { wall_ms } else { from.time_ms }
}

impl WallClock {
    fn look(&mut self, wall_ms: i64, counted_ms: i64) {
        let off_ms = wall_ms - counted_ms - self.ahead_ms;
        // Small steps are followed at once.
        if is_small_step(off_ms) {
            self.follow(off_ms, counted_ms);
            return;
        }

        // A clock that jumps to and fro begins to settle anew each time.
        match self.jump.filter(|jump| is_small_step(jump.by_ms - off_ms)) {
            Some(jump) => self.wait_for_it_to_settle(jump, off_ms, counted_ms),
            None => self.note_jump(off_ms, counted_ms),
        }
    }

    /// A small step, as NTP makes them, or the end of a jump that did not last.
    fn follow(&mut self, off_ms: i64, counted_ms: i64) {
        self.ahead_ms += off_ms;
        if self.jump.take().is_some() {
            self.report(counted_ms, off_ms, RIGHT_AGAIN);
        }
    }

    fn wait_for_it_to_settle(&mut self, jump: Jump, off_ms: i64, counted_ms: i64) {
        // Somebody who sets a clock by mistake mends that within minutes.
        if counted_ms - jump.since_ms >= millis(limits::CLOCK_SETTLES) {
            self.ahead_ms += off_ms;
            self.jump = None;
            self.report(counted_ms, off_ms, NEW_TIME_KEPT);
        }
    }

    fn note_jump(&mut self, off_ms: i64, counted_ms: i64) {
        self.jump = Some(Jump {
            since_ms: counted_ms,
            by_ms: off_ms,
        });
        self.report(counted_ms, off_ms, JUMPED);
    }

    fn report(&mut self, counted_ms: i64, by_ms: i64, text: &str) {
        let is_due = |then: i64| counted_ms - then >= millis(limits::CLOCK_REPORTED_EVERY);
        if self.reported_at_ms.is_none_or(is_due) {
            self.reported_at_ms = Some(counted_ms);
            tracing::warn!(by_ms, "{text}");
        }
    }
}

fn is_small_step(by_ms: i64) -> bool {
    by_ms.abs() <= millis(limits::CLOCK_STEP)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;
    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    const TEN_YEARS: i64 = 3650 * DAY;
    const TODAY: i64 = 1_800_000_000_000;

    fn start(machine: &SettableTime, newest: Option<Moment>) -> Clock {
        Clock::start(Box::new(machine.clone()), newest)
    }

    #[test]
    fn time_goes_on_as_it_does_outside() {
        let machine = SettableTime::new(TODAY);
        let clock = start(&machine, None);
        assert_eq!(clock.now(), TODAY.into());
        for _ in 0..1000 {
            machine.pass(HOUR);
            machine.jump(3); // as NTP mends it
            clock.now();
        }
        let now = clock.now();
        assert_eq!(now.time_ms, TODAY + 1000 * HOUR + 3000);
        assert_eq!(now.counted_ms, TODAY + 1000 * HOUR);
    }

    #[test]
    fn a_jump_that_does_not_last_leaves_no_mark() {
        for by_ms in [TEN_YEARS, -TEN_YEARS, HOUR, -HOUR, 11 * SECOND] {
            let machine = SettableTime::new(TODAY);
            let clock = start(&machine, None);
            machine.jump(by_ms);
            for second in 0..60 {
                assert_eq!(clock.now(), (TODAY + second * SECOND).into(), "{by_ms}");
                machine.pass(SECOND);
            }
            machine.jump(-by_ms);
            assert_eq!(clock.now(), (TODAY + 60 * SECOND).into(), "{by_ms}");
        }
    }

    #[test]
    fn a_new_time_that_lasts_is_followed_and_nothing_grows_older_by_it() {
        for by_ms in [TEN_YEARS, -TEN_YEARS, DAY] {
            let machine = SettableTime::new(TODAY);
            let clock = start(&machine, None);
            machine.jump(by_ms);
            let settles_ms = millis(limits::CLOCK_SETTLES);
            clock.now();
            machine.pass(settles_ms - 1);
            assert_eq!(clock.now(), (TODAY + settles_ms - 1).into());
            machine.pass(1);
            let now = clock.now();
            assert_eq!(now.time_ms, TODAY + settles_ms + by_ms);
            assert_eq!(now.counted_ms, TODAY + settles_ms);
        }
    }

    #[test]
    fn a_clock_that_jumps_to_and_fro_is_not_followed() {
        let machine = SettableTime::new(TODAY);
        let clock = start(&machine, None);
        for round in 0..1000_i64 {
            machine.jump(TEN_YEARS + round * HOUR);
            assert_eq!(clock.now(), (TODAY + round * HOUR).into());
            machine.jump(-TEN_YEARS - round * HOUR);
            machine.jump(HOUR / 2);
            assert_eq!(clock.now(), (TODAY + round * HOUR).into());
            machine.jump(-HOUR / 2);
            machine.pass(HOUR);
        }
    }

    #[test]
    fn a_restart_goes_on_from_where_the_log_stopped() {
        let stopped = Moment {
            time_ms: TODAY,
            counted_ms: TODAY - DAY,
        };
        // The wall clock at the start, and the time that events get then.
        for (wall_ms, time_ms) in [
            (TODAY, TODAY),
            (TODAY + HOUR, TODAY + HOUR),
            (TODAY + 29 * DAY, TODAY + 29 * DAY),
            (TODAY - 5 * SECOND, TODAY - 5 * SECOND),
            (TODAY + TEN_YEARS, TODAY),
            (TODAY - HOUR, TODAY),
            (0, TODAY),
        ] {
            let machine = SettableTime::new(wall_ms);
            let clock = start(&machine, Some(stopped));
            assert_eq!(clock.now().time_ms, time_ms, "{wall_ms}");
            assert_eq!(clock.now().counted_ms, TODAY - DAY, "no age by a restart");
            machine.pass(2 * millis(limits::CLOCK_SETTLES));
            let now = clock.now().time_ms;
            assert_eq!(now, machine.wall_ms(), "in the end it is followed");
        }
    }

    #[test]
    fn the_machine_has_clocks() {
        let (wall_ms, elapsed_ms) = (MachineTime.wall_ms(), MachineTime.elapsed_ms());
        assert!(wall_ms > 1_700_000_000_000 && elapsed_ms >= 0);
        assert!(MachineTime.elapsed_ms() >= elapsed_ms);
    }
}
