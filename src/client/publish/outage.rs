//! How long a gateway has been away, and when it is asked again.
//!
//! Invariants:
//! - an outage ends with the first line that is settled;
//! - waits are those of a reader ([`RetryBackoff`]).

use std::time::Duration;

use tokio::time::Instant;

use crate::client::backoff::{ConnectionEnd, RetryBackoff};
use crate::client::clock::ClientClock;
use crate::client::error::ClientError;

/// See the module.
pub(super) struct Outage {
    longest: Duration,
    clock: ClientClock,
    since: Option<Instant>,
    backoff: RetryBackoff,
}

impl Outage {
    /// The gateway is given up when it is away for longer than this.
    pub(super) fn new(longest: Duration, clock: ClientClock) -> Self {
        Outage {
            longest,
            clock,
            since: None,
            backoff: RetryBackoff::default(),
        }
    }

    pub(super) fn end(&mut self) {
        *self = Outage::new(self.longest, self.clock.clone());
    }

    /// Has it lasted since before this error?
    pub(super) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// The outage begins or goes on: how long to wait. None when it has lasted too long.
    pub(super) fn wait(&mut self, error: &ClientError, random: f64) -> Option<Duration> {
        let lasted = self.since.get_or_insert_with(Instant::now).elapsed();
        let end = ConnectionEnd {
            asked: Some(error.retry_after()),
            ..ConnectionEnd::default()
        };
        let wait = self.backoff.wait(end, random);
        let is_over = lasted + self.clock.wait(wait) >= self.clock.limit(self.longest);
        (!is_over).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    const MINUTE: Duration = Duration::from_secs(60);

    fn outage(longest: Duration) -> Outage {
        Outage::new(longest, ClientClock::default())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_for_in_growing_steps_until_it_has_lasted_too_long() {
        let gone = ClientError::unreachable("gone");
        let mut outage = outage(MINUTE);
        let begun = Instant::now();
        let mut tries = 0;
        while let Some(wait) = outage.wait(&gone, 1.0) {
            assert!(wait <= limits::CLIENT_RETRY_MAX);
            tokio::time::advance(wait).await;
            tries += 1;
        }
        assert!(begun.elapsed() + limits::CLIENT_RETRY_MAX >= MINUTE && tries > 6);
        outage.end();
        assert!(!outage.has_begun());
        assert_eq!(outage.wait(&gone, 1.0), Some(limits::CLIENT_RETRY_BASE));
    }

    #[tokio::test(start_paused = true)]
    async fn publishers_that_lost_a_gateway_together_do_not_come_back_together() {
        let gone = ClientError::unreachable("gone");
        for random in [0.0, 0.3, 1.0] {
            let wait = outage(MINUTE).wait(&gone, random);
            assert_eq!(wait, Some(limits::CLIENT_RETRY_BASE.mul_f64(random)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_gateway_is_left_alone_for_as_long_as_it_asks_or_given_up_at_once() {
        let busy = |seconds| {
            ClientError::unreachable("busy").with_retry_after(Duration::from_secs(seconds))
        };
        let wait = outage(MINUTE).wait(&busy(10), 0.0);
        assert_eq!(wait, Some(Duration::from_secs(10)));
        assert_eq!(outage(MINUTE).wait(&busy(61), 0.0), None);
        assert_eq!(outage(Duration::ZERO).wait(&busy(0), 0.0), None);
    }
}
