//! A token bucket of events.
//!
//! It is one number, the time at which it is full again (the generic cell rate algorithm of ATM
//! Forum TM 4.0): taking a token moves that time on. Invariants:
//! - in any span of time no more tokens are taken than a burst and what the rate gives in it;
//! - tokens that were taken and not used can be given back;
//! - who may wait takes its tokens now and uses them when they are there, so that those who wait
//!   have their turns in the order they came;
//! - the rate may differ from one call to the next: after a new configuration nobody waits for
//!   longer than the old one's waiting time.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rules::PublishRate;
use crate::limits;

/// When it is full again, in nanoseconds; at first it is full.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes tokens for so many events, no more than a burst, that are used after the wait that
    /// comes back; none are taken where that would be longer than `patience`.
    ///
    /// # Errors
    /// That wait.
    pub(crate) fn take(
        &self,
        rate: PublishRate,
        events: NonZeroU32,
        now: Duration,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        let (now, burst) = (nanos(now), nanos(rate.time_for(rate.burst_events)));
        let cost = nanos(rate.time_for(events));
        let moved_on = |full_at: u64| full_at.max(now) + cost;
        let wait = |full_at: u64| moved_on(full_at).saturating_sub(now + burst);

        // Only another configuration, with a longer burst, has moved it further than this.
        let latest = now + burst + nanos(limits::PUBLISH_RATE_WAIT);
        self.0.fetch_min(latest, Ordering::AcqRel);

        let patience = nanos(patience);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let taken = self.0.fetch_update(set, fetch, |full_at| {
            (wait(full_at) <= patience).then(|| moved_on(full_at))
        });
        let in_time = |full_at| Duration::from_nanos(wait(full_at));
        taken.map(in_time).map_err(in_time)
    }

    /// Gives back tokens that were not used.
    pub(crate) fn give_back(&self, rate: PublishRate, events: NonZeroU32) {
        let cost = nanos(rate.time_for(events));
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        // It is never fuller than full.
        let fuller = |full_at: u64| Some(full_at.saturating_sub(cost));
        let _ = self.0.fetch_update(set, fetch, fuller);
    }
}

/// Enough for five centuries, so none is cut off.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
