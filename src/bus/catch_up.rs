//! Capacity for live readers beside those that come back.
//!
//! A thousand readers that are ten thousand events behind could keep every core busy for seconds,
//! and whoever reads live would wait behind a page of each of them. Invariants:
//! - while more than [`limits::CATCH_UP_AT_FULL_SPEED`] readers are more than a page behind, their
//!   pages leave at a bounded rate, in the order in which they were read;
//! - a reader that is no more than one page behind never waits, and no page waits longer than
//!   [`limits::CATCH_UP_MAX_WAIT`], however many come back: heartbeats and the end of the gateway
//!   are not held up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::batch::Batch;
use crate::limits;

/// Spaces the pages of readers that are behind.
#[derive(Debug)]
pub(super) struct CatchUpLimiter {
    bytes_per_second: u64,
    /// Readers that are more than a page behind.
    behind: AtomicUsize,
    /// When the pages that have been let through are paid for.
    free_at: Mutex<Instant>,
}

impl CatchUpLimiter {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        CatchUpLimiter {
            bytes_per_second: limits::CATCH_UP_BYTES_PER_SECOND_PER_CORE * cores as u64,
            behind: AtomicUsize::new(0),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Counts a reader that is more than a page behind from now on, or that no longer is.
    pub(super) fn count_behind(&self, is_behind: bool) {
        if is_behind {
            self.behind.fetch_add(1, Ordering::Relaxed);
        } else {
            self.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn are_few(&self) -> bool {
        self.behind.load(Ordering::Relaxed) <= limits::CATCH_UP_AT_FULL_SPEED
    }

    /// Waits until this page may leave.
    pub(super) async fn acquire(&self, page: &Batch) {
        if self.are_few() {
            return;
        }
        // What counts is what is written, not what was read.
        let on_wire = page
            .iter()
            .map(|event| event.size_bytes() + limits::EVENT_OVERHEAD_ON_WIRE_BYTES);
        let bytes: usize = on_wire.sum();
        let now = Instant::now();
        let leaves_at = self.reserve(bytes as u64, now);
        // A timer waits for the end of a millisecond, even if its time has come.
        if leaves_at > now {
            sleep_until(leaves_at).await;
        }
    }

    /// When a page of so many bytes may leave.
    fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is saved up while nobody comes back, and nobody waits for ever.
        let leaves_at = now.max(*free_at).min(now + limits::CATCH_UP_MAX_WAIT);
        *free_at = leaves_at + self.takes(bytes);
        leaves_at
    }

    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_readers_are_not_held_up() {
        let limiter = CatchUpLimiter::new();
        (0..limits::CATCH_UP_AT_FULL_SPEED).for_each(|_| limiter.count_behind(true));
        assert!(limiter.are_few());
        limiter.count_behind(true);
        assert!(!limiter.are_few());
        limiter.count_behind(false);
        assert!(limiter.are_few());
    }

    #[test]
    fn pages_leave_one_after_the_other_at_the_rate() {
        let limiter = CatchUpLimiter::new();
        let now = Instant::now() + Duration::from_secs(1);
        let second = limiter.bytes_per_second;
        for (bytes, waits_ms) in [(second / 2, 0), (second / 4, 500), (second, 750)] {
            let leaves_at = now + Duration::from_millis(waits_ms);
            assert_eq!(limiter.reserve(bytes, now), leaves_at);
        }
        assert_eq!(
            limiter.reserve(1, now),
            now + limits::CATCH_UP_MAX_WAIT,
            "nobody waits for ever"
        );
        let later = now + Duration::from_secs(9);
        assert_eq!(limiter.reserve(1, later), later, "nothing is saved up");
    }
}
