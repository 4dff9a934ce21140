//! Trimming, beside publishing and in small steps.
//!
//! Invariant: what the log has trimmed leaves the ring and the shared pages, so all tell the same
//! gaps.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Bus, Shared};
use crate::engine::Retention;
use crate::error::Result;
use crate::limits;

/// How often retention looks whether something is due.
const TRIM_INTERVAL: Duration = Duration::from_millis(250);

/// Trims until the bus has gone.
pub(super) async fn run(bus: Weak<Shared>) {
    let mut ticks = interval(TRIM_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(bus) = bus.upgrade() else { return };
        let retention = bus.options.retention;
        let done = match trim_what_is_due(&bus, retention).await {
            Ok(()) => note_time(&bus).await,
            failed => failed,
        };
        match done {
            Ok(()) => failing = false,
            Err(fault) if !failing => {
                tracing::warn!(%fault, "retention could not trim; it goes on trying");
                failing = true;
            }
            Err(_) => {}
        }
    }
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

/// An idle log grows older, too, and a restart has to know by how much.
async fn note_time(bus: &Shared) -> Result<()> {
    let now = bus.clock.now();
    let Some(noted) = bus.engine.newest_moment() else {
        return Ok(());
    };
    let unnoted_ms = u64::try_from(now.counted_ms - noted.counted_ms).unwrap_or(0);
    if Duration::from_millis(unnoted_ms) < limits::CLOCK_NOTED_EVERY {
        return Ok(());
    }
    bus.engine.note_moment(now).await
}

async fn trim_what_is_due(bus: &Shared, retention: Retention) -> Result<()> {
    loop {
        let step = bus
            .engine
            .trim(retention, bus.clock.now().counted_ms)
            .await?;
        if step.trimmed > 0 {
            bus.metrics.trimmed.inc_by(u64::from(step.trimmed));
            bus.ring.trim_below(bus.engine.bounds().first);
            bus.pages_in_common.forget_all();
        }
        if !step.more {
            return Ok(());
        }
    }
}
