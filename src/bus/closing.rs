//! Why a subscription ends although its cursor stays good (contract §2.6, §4).
//!
//! Invariant: a retry time is never the same for all, so that clients do not come back all at once.

use crate::limits;

/// Why the gateway ends a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingReason {
    /// The gateway is shutting down.
    Shutdown,
    /// There are too many subscribers, or there is no memory for one more.
    Busy,
    /// This gateway cannot reach the log.
    Behind,
    /// The reader's credentials have expired, or were revoked.
    Expired,
}

impl ClosingReason {
    /// The reason as every wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ClosingReason::Shutdown => "shutdown",
            ClosingReason::Busy => "busy",
            ClosingReason::Behind => "behind",
            ClosingReason::Expired => "expired",
        }
    }

    /// The shortest wait before the next try, in milliseconds. A gateway that shuts down is soon
    /// back; one that lacks capacity is not helped by readers that ask every second.
    fn least_retry_ms(self) -> u32 {
        match self {
            ClosingReason::Shutdown | ClosingReason::Expired => limits::RETRY_MS,
            ClosingReason::Busy | ClosingReason::Behind => limits::BUSY_RETRY_MS,
        }
    }
}

/// The last word of a subscription that the client should open again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Why it ends.
    pub reason: ClosingReason,
    /// Wait so long before the next try, in milliseconds.
    pub retry_ms: u32,
}

impl Closing {
    /// For this reason, with a retry time that differs from one reader to the next.
    pub fn because(reason: ClosingReason) -> Self {
        // Spread, so that all who are ended now do not come back at once.
        Closing {
            reason,
            retry_ms: reason.least_retry_ms() + fastrand::u32(..=limits::RETRY_JITTER_MS),
        }
    }
}
