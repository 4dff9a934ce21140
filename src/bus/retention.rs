//! Trimming, beside publishing and in small steps.
//!
//! Invariant: what the log has trimmed leaves the ring and the shared pages, so all tell the same
//! gaps.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Bus, Shared, now_ms};
use crate::engine::Retention;
use crate::error::Result;

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
        match trim_what_is_due(&bus, retention).await {
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

async fn trim_what_is_due(bus: &Shared, retention: Retention) -> Result<()> {
    loop {
        let step = bus.engine.trim(retention, now_ms()).await?;
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
