//! How long to wait before the next connection, or the next try to publish.
//!
//! Invariants:
//! - never less than the server asked for;
//! - never a fixed time, so that many clients do not come back at the same moment.

use std::time::Duration;

use crate::limits;

/// Failures in a row, and the random wait after them.
#[derive(Debug, Default)]
pub(in crate::client) struct RetryBackoff {
    failures: u32,
}

/// How a connection ended, as far as the wait before the next one depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::client) struct ConnectionEnd {
    /// The server said that it would end, or it lasted long enough.
    pub(in crate::client) is_orderly: bool,
    /// It brought an event, or lasted long enough.
    pub(in crate::client) was_good: bool,
    /// The wait that the server asked for.
    pub(in crate::client) asked: Option<Duration>,
}

impl RetryBackoff {
    /// How long to wait; `random` is from 0 to 1.
    pub(in crate::client) fn wait(&mut self, end: ConnectionEnd, random: f64) -> Duration {
        // What worked for a while is likely to work again.
        if end.was_good {
            self.failures = 0;
        }
        // A server that asks for years is not obeyed.
        let asked = end
            .asked
            .map(|pause| pause.min(limits::READ_RETRY_AFTER_MAX));

        // An orderly end with a time of its own is no failure.
        if let (true, Some(pause)) = (end.is_orderly, asked) {
            return pause.mul_f64(1.0 + random / 2.0);
        }

        // Full jitter, behind whatever the server asked for.
        let doubled = limits::CLIENT_RETRY_BASE * 2_u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        asked.unwrap_or_default() + doubled.min(limits::CLIENT_RETRY_MAX).mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: ConnectionEnd = ConnectionEnd {
        is_orderly: false,
        was_good: false,
        asked: None,
    };

    #[test]
    fn the_longest_wait_doubles_up_to_its_bound_and_begins_anew_after_a_good_connection() {
        let mut backoff = RetryBackoff::default();
        let mut longest = || backoff.wait(FAILED, 1.0);
        assert_eq!(longest(), limits::CLIENT_RETRY_BASE);
        assert_eq!(longest(), limits::CLIENT_RETRY_BASE * 2);
        for _ in 0..100 {
            longest();
        }
        assert_eq!(longest(), limits::CLIENT_RETRY_MAX);
        let good = ConnectionEnd {
            was_good: true,
            ..FAILED
        };
        assert_eq!(backoff.wait(good, 1.0), limits::CLIENT_RETRY_BASE);
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks() {
        let asked = |seconds, is_orderly| ConnectionEnd {
            is_orderly,
            asked: Some(Duration::from_secs(seconds)),
            ..FAILED
        };
        for random in [0.0, 0.3, 1.0] {
            let mut backoff = RetryBackoff::default();
            for is_orderly in [false, true] {
                let wait = backoff.wait(asked(3, is_orderly), random);
                assert!(wait >= Duration::from_secs(3) && wait <= Duration::from_secs(5));
            }
            let wait = backoff.wait(asked(1_000_000, true), random);
            assert!(wait <= limits::READ_RETRY_AFTER_MAX * 2);
        }
    }

    #[test]
    fn waits_are_spread_over_their_whole_range() {
        let mut waits: Vec<_> = (0..200)
            .map(|_| RetryBackoff::default().wait(FAILED, fastrand::f64()))
            .collect();
        waits.sort_unstable();
        assert!(waits[0] < limits::CLIENT_RETRY_BASE / 4);
        assert!(waits[199] > limits::CLIENT_RETRY_BASE * 3 / 4);
    }
}
