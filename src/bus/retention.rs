//! Trimming, beside publishing and in small steps.
//!
//! Invariants:
//! - between two steps publishers have their turn, unless they add faster than a step deletes: then
//!   as much is deleted as they have added, before they add more;
//! - what the log has trimmed leaves memory, so that all readers see the same gaps.

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Bus, Shared};
use crate::cursor::Vid;
use crate::engine::{Retention, TrimStep};
use crate::error::{Error, Result};
use crate::limits;

/// How often retention looks whether something is due.
const TRIM_INTERVAL: Duration = Duration::from_millis(250);

/// Trims until the bus has been dropped.
pub(super) async fn run(bus: Weak<Shared>) {
    let mut ticks = interval(TRIM_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_failing = false;
    loop {
        ticks.tick().await;
        let Some(bus) = bus.upgrade() else { return };
        let error = look_after(&bus).await.err();

        // Once when it begins, not four times a second.
        if let Some(error) = error.as_ref().filter(|_| !was_failing) {
            report(error);
        }
        was_failing = error.is_some();
    }
}

fn report(error: &Error) {
    tracing::warn!(%error, "retention could not trim; it goes on trying");
}

impl Bus {
    /// Trims at once what is due by these rules, which may be stricter than the configured ones.
    ///
    /// # Errors
    /// What the engine's `trim` says.
    pub async fn trim(&self, retention: Retention) -> Result<()> {
        trim_what_is_due(&self.0, retention).await
    }
}

async fn look_after(bus: &Shared) -> Result<()> {
    trim_what_is_due(bus, bus.options.retention).await?;
    note_time(bus).await
}

/// An idle log grows older, too, and a restart has to know by how much.
async fn note_time(bus: &Shared) -> Result<()> {
    let now = bus.clock.now();
    let Some(noted) = bus.engine.newest_moment() else {
        return Ok(());
    };
    let unnoted_ms = u64::try_from(now.counted_ms - noted.counted_ms).unwrap_or(0);
    // A commit notes the time as well, so a busy log has nothing to write here.
    if Duration::from_millis(unnoted_ms) < limits::CLOCK_NOTED_EVERY {
        return Ok(());
    }
    bus.engine.note_moment(now).await
}

/// Trims round by round; publishers have their turn after each. A round is one step, and one more
/// for each step's worth of events that have come since the last round: otherwise who publishes
/// faster than that would have the log outgrow its bounds.
async fn trim_what_is_due(bus: &Shared, retention: Retention) -> Result<()> {
    let mut last = bus.engine.state().bounds.last;
    loop {
        let before = std::mem::replace(&mut last, bus.engine.state().bounds.last);
        let steps = steps_for(last.saturating_sub(before));
        let begun = Instant::now();
        if !trim_round(bus, retention, steps).await? {
            return Ok(());
        }

        // Where one step is enough, publishers have as much time as it took.
        if steps == 1 {
            sleep(begun.elapsed().min(limits::TRIM_MAX_PAUSE)).await;
        }
    }
}

/// Steps of a round after so many vids have been given.
fn steps_for(appended: Vid) -> usize {
    let appended = usize::try_from(appended).unwrap_or(usize::MAX);
    let steps = 1 + appended / limits::TRIM_STEP_EVENTS as usize;
    steps.min(limits::TRIM_STEPS_IN_A_ROW)
}

/// So many steps in a row. True when there is more to trim.
async fn trim_round(bus: &Shared, retention: Retention, steps: usize) -> Result<bool> {
    let counted_ms = bus.clock.now().counted_ms;
    // Asked for together, so that no append comes in between.
    let round = (0..steps).map(|_| bus.engine.trim(retention, counted_ms));
    let round: Vec<Result<TrimStep>> = join_all(round).await;

    let trimmed = round.iter().flatten().map(|step| u64::from(step.trimmed));
    bus.forget_trimmed(trimmed.sum());

    // Whether there is more is what the last step has found.
    let mut is_more = false;
    for step in round {
        is_more = step?.more;
    }
    Ok(is_more)
}

impl Shared {
    /// Takes out of memory what the engine has trimmed, so many events.
    fn forget_trimmed(&self, trimmed: u64) {
        if trimmed == 0 {
            return;
        }
        self.metrics.count_trimmed(trimmed);
        // The tail of a shared log reports what is gone, in the order of the log.
        if !self.follows_tail() {
            let first = self.engine.state().bounds.first;
            self.pages.trimmed_below(first);
        }
    }
}
