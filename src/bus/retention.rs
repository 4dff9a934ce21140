//! Trimming, beside publishing and in small steps.
//!
//! Invariant: what the log has trimmed leaves the ring, so both tell the same gaps.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, now_ms};

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
        match trim_what_is_due(&bus).await {
            Ok(()) => failing = false,
            Err(fault) if !failing => {
                tracing::warn!(%fault, "retention could not trim; it goes on trying");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

async fn trim_what_is_due(bus: &Shared) -> crate::error::Result<()> {
    loop {
        let step = bus.engine.trim(bus.options.retention, now_ms()).await?;
        if step.trimmed > 0 {
            bus.metrics.trimmed.inc_by(u64::from(step.trimmed));
            bus.ring.trim_below(bus.engine.bounds().first);
        }
        if !step.more {
            return Ok(());
        }
    }
}
