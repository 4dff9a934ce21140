//! One clock for the heartbeats of all subscriptions, and for the ends of their credentials.
//!
//! A subscription keeps no timer: a step stores the tick it was made in, and a task looks at all of
//! them once a tick. Invariants:
//! - a subscription that has yielded nothing for a heartbeat is woken before the heartbeat is over;
//! - one whose credential has expired by the wall clock, wherever that was set to, is woken within
//!   [`limits::CREDENTIAL_CHECK`].

use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;
use super::waiter::Waiter;
use crate::caller;
use crate::limits;

/// Ticks of one heartbeat, at least. What is stored is up to one tick older than the step, so the
/// last is not waited for.
const TICKS: u32 = 16;

#[derive(Debug)]
pub(super) struct Heartbeat {
    now_ticks: AtomicU32,
    /// Ticks of one heartbeat.
    ticks: u32,
}

impl Heartbeat {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Heartbeat {
            now_ticks: AtomicU32::new(0),
            ticks: ticks_of(heartbeat),
        }
    }

    pub(super) fn now_ticks(&self) -> u32 {
        self.now_ticks.load(Ordering::Relaxed)
    }

    fn set_ticks(&self, ticks: u32) {
        self.now_ticks.store(ticks, Ordering::Relaxed);
    }

    /// Has this subscription been silent for so long that it has to yield something?
    pub(super) fn is_due(&self, waiter: &Waiter) -> bool {
        waiter.quiet_ticks(self.now_ticks()) >= self.ticks
    }
}

/// More where a heartbeat is long: credentials end within it.
fn ticks_of(heartbeat: Duration) -> u32 {
    let checks = heartbeat
        .as_nanos()
        .div_ceil(limits::CREDENTIAL_CHECK.as_nanos());
    u32::try_from(checks).unwrap_or(u32::MAX).max(TICKS)
}

/// Ticks until the bus has been dropped.
pub(super) async fn run(bus: Weak<Shared>, heartbeat: Duration) {
    let tick = (heartbeat / ticks_of(heartbeat)).max(Duration::from_millis(1));
    let (start, mut ticks) = (Instant::now(), interval(tick));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = ticks.tick().await;
        let Some(bus) = bus.upgrade() else { return };
        // First: who wakes up compares its last step with this.
        bus.heartbeat.set_ticks(ticks_between(start, now, tick));

        // Most are not due: they are passed over without waking them.
        let now_s = caller::wall_clock_s();
        let is_due = |waiter: &Waiter| bus.heartbeat.is_due(waiter) || waiter.has_expired(now_s);
        bus.interest.everybody.wake(is_due, Duration::ZERO).await;
    }
}

/// By the clock, as ticks may be missed under load. The count begins anew after 2^32 ticks.
fn ticks_between(start: Instant, now: Instant, tick: Duration) -> u32 {
    let passed = (now - start).as_nanos() / tick.as_nanos();
    u32::try_from(passed & u128::from(u32::MAX)).unwrap_or(0)
}
