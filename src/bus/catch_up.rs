//! Room for live readers beside those that come back.
//!
//! A thousand readers that are ten thousand events behind could keep every core busy for seconds,
//! and whoever reads live would wait behind them. Invariants:
//! - pages of readers that are more than a page behind leave at a bounded rate, in the order in
//!   which they were read;
//! - a reader that is no more than one page behind never waits, and no page waits longer than
//!   [`limits::CATCH_UP_MAX_WAIT`], however many come back: heartbeats and the end of the gateway
//!   are not held up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::batch::Batch;
use crate::limits;

#[derive(Debug)]
pub(super) struct CatchUp {
    bytes_per_second: u64,
    /// When the pages that have been let go are paid for.
    free_at: Mutex<Instant>,
}

impl CatchUp {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bytes_per_second = limits::CATCH_UP_BYTES_PER_SECOND_PER_CORE * cores as u64;
        CatchUp {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for this page's turn.
    pub(super) async fn turn(&self, page: &Batch) {
        let bytes: usize = page
            .iter()
            .map(|event| event.size_bytes() + limits::EVENT_OVERHEAD_ON_WIRE_BYTES)
            .sum();
        let turn = self.reserve(bytes as u64, Instant::now());
        sleep_until(turn).await;
    }

    fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*free_at).min(now + limits::CATCH_UP_MAX_WAIT);
        *free_at =
            turn + Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_take_turns_at_the_rate() {
        let catch_up = CatchUp::new();
        let now = Instant::now() + Duration::from_secs(1);
        let second = catch_up.bytes_per_second;
        assert_eq!(catch_up.reserve(second / 2, now), now);
        assert_eq!(
            catch_up.reserve(second / 4, now),
            now + Duration::from_millis(500)
        );
        assert_eq!(
            catch_up.reserve(second, now),
            now + Duration::from_millis(750)
        );
        assert_eq!(
            catch_up.reserve(1, now),
            now + limits::CATCH_UP_MAX_WAIT,
            "nobody waits for ever"
        );
        let later = now + Duration::from_secs(9);
        assert_eq!(catch_up.reserve(1, later), later, "nothing is saved up");
    }
}
