//! What happens to a gateway: kills, ends, and a time of day that jumps (history §1.1, §1.4, §1.5).
//!
//! While it runs its clock may be corrected by a few seconds, which the gateway follows, or jump by
//! minutes, hours or ten years, for a moment or until its next start, which it does not follow. At
//! a start the clock is about right or far back: when it is wrong by years ahead, no gateway can
//! know whether it was stopped for years.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::common::gateway::Gateway;
use crate::record::Start;
use crate::shared::Shared;

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
/// By how much the time of day may be wrong at a start.
const AT_START_MS: i64 = 2 * SECOND_MS;
/// By how much it may be wrong after a correction: from any such time to any other the gateway
/// follows at once (`limits::CLOCK_STEP`).
const CORRECTED_MS: i64 = 3 * SECOND_MS;
/// By how much it is wrong, at least, after a jump: the gateway never follows.
const JUMPED_MS: i64 = 20 * SECOND_MS;

/// The kinds of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// SIGKILL, and a start.
    Kill,
    /// SIGTERM, and a start.
    End,
    /// The clock is corrected by a few seconds.
    Correction,
    /// The clock jumps by so much at most, either way.
    Jump(i64),
    /// The clock jumps by years, and back after a moment.
    YearsForAMoment,
    Nothing,
}

/// Each kind once, in the order of a run's first disturbances.
const FIRST_ONES: [Kind; 8] = [
    Kind::Correction,
    Kind::Jump(60 * SECOND_MS),
    Kind::YearsForAMoment,
    Kind::Kill,
    Kind::Jump(10 * YEAR_MS),
    Kind::End,
    Kind::Jump(24 * HOUR_MS),
    Kind::Kill,
];

pub(crate) struct Disturbance {
    pub(crate) gateway: Gateway,
    clock: Clock,
    shared: Arc<Shared>,
    random: fastrand::Rng,
    count: usize,
}

impl Disturbance {
    pub(crate) fn new(gateway: Gateway, clock: Clock, shared: Arc<Shared>, seed: u64) -> Self {
        Disturbance {
            gateway,
            clock,
            shared,
            random: fastrand::Rng::with_seed(seed),
            count: 0,
        }
    }

    /// Waits for a while; then something happens: each kind once, then as it comes.
    pub(crate) async fn next(&mut self) {
        sleep(Duration::from_millis(self.random.u64(100..2000))).await;
        let kind = FIRST_ONES.get(self.count).copied();
        let kind = kind.unwrap_or_else(|| self.any());
        self.count += 1;
        match kind {
            Kind::Kill => {
                self.gateway.kill();
                self.start_again();
                self.shared.history().done.kills += 1;
            }
            Kind::End => {
                let status = self.gateway.terminate().await;
                assert!(status.success(), "{}", self.gateway.log());
                self.start_again();
                self.shared.history().done.ends += 1;
            }
            Kind::Correction => self.correct(),
            Kind::Jump(most_ms) => self.jump(most_ms),
            Kind::YearsForAMoment => self.years_for_a_moment().await,
            Kind::Nothing => {}
        }
    }

    fn any(&mut self) -> Kind {
        match self.random.u8(..100) {
            ..20 => Kind::Kill,
            20..35 => Kind::End,
            35..45 => Kind::Correction,
            45..55 => Kind::Jump(60 * SECOND_MS),
            55..70 => Kind::Jump(24 * HOUR_MS),
            70..82 => Kind::Jump(10 * YEAR_MS),
            82..95 => Kind::YearsForAMoment,
            _ => Kind::Nothing,
        }
    }

    /// For a moment nobody can say by which of the two times an event goes.
    fn correct(&mut self) {
        let to_ms = self.random.i64(-CORRECTED_MS..=CORRECTED_MS);
        let offset_ms = Some(to_ms);
        let now = self.shared.now();
        let mut history = self.shared.history();
        let before_ms = history.starts.last().and_then(|start| start.offset_ms);
        for offset_ms in [offset_ms, before_ms] {
            history.starts.push(Start { at: now, offset_ms });
        }
        drop(history);
        self.clock.set(to_ms);
        let at = self.shared.now();
        let mut history = self.shared.history();
        history.starts.push(Start { at, offset_ms });
        history.done.jumps += 1;
    }

    fn jump(&mut self, most_ms: i64) {
        let before_ms = self.clock.offset_ms();
        let mut by_ms = self.random.i64(-most_ms..=most_ms);
        while (before_ms + by_ms).abs() < JUMPED_MS {
            by_ms = self.random.i64(-most_ms..=most_ms);
        }
        self.clock.jump(by_ms);
        self.noted(by_ms);
    }

    async fn years_for_a_moment(&mut self) {
        let before_ms = self.clock.offset_ms();
        let by_ms = self.random.i64(YEAR_MS..=10 * YEAR_MS);
        let by_ms = if self.random.bool() { by_ms } else { -by_ms };
        self.clock.jump(by_ms);
        sleep(Duration::from_millis(self.random.u64(500..3000))).await;
        self.clock.set(before_ms);
        self.noted(by_ms);
    }

    fn noted(&mut self, by_ms: i64) {
        let done = &mut self.shared.history().done;
        if by_ms.abs() < YEAR_MS {
            done.jumps += 1;
        } else {
            done.jumps_of_years += 1;
        }
    }

    /// Starts it again, with a time of day that is about right, or now and then far back.
    fn start_again(&mut self) {
        let is_far_back = self.random.u8(..8) == 0;
        let offset_ms = if is_far_back {
            -self.random.i64(YEAR_MS..=10 * YEAR_MS)
        } else {
            self.random.i64(-AT_START_MS..=AT_START_MS)
        };
        self.clock.set(offset_ms);
        self.note_panics();
        let start = Start {
            at: self.shared.now(),
            offset_ms: (!is_far_back).then_some(offset_ms),
        };
        self.shared.history().starts.push(start);
        self.gateway.start_again();
    }

    /// Counts the panics in the log of a gateway that has ended or goes on undisturbed.
    pub(crate) fn note_panics(&self) {
        self.shared.history().panics += self.gateway.log().matches("panicked").count();
    }
}
