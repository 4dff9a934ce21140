//! Pauses between attempts.

use std::time::Duration;

use crate::limits;

/// A pause that doubles up to [`limits::SOURCE_BACKOFF_MAX`]. Up to half of it is random, so that
/// many sources do not come back at the same moment.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff(limits::SOURCE_BACKOFF_MIN)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(limits::SOURCE_BACKOFF_MAX);
        pause
    }
}
