//! The limits of each client, as they are configured.

use std::num::NonZeroU32;
use std::time::Duration;

/// What each client may take. Without a limit it may take what all together may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaRules {
    /// Each address; of IPv6, each network of 64 bits.
    pub address: ClientLimits,
    /// Each subject of tokens. Who names none is distinguished by its address.
    pub caller: ClientLimits,
    /// Each name of an API key or certificate.
    pub key: ClientLimits,
    /// Subscriptions open at once on a connection.
    pub subscriptions_per_connection: Option<NonZeroU32>,
}

/// What a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientLimits {
    /// Subscriptions open at once.
    pub subscriptions: Option<NonZeroU32>,
    /// Events that it publishes.
    pub publish: Option<PublishRate>,
}

impl ClientLimits {
    /// Is nothing limited?
    pub(crate) fn is_empty(self) -> bool {
        self.subscriptions.is_none() && self.publish.is_none()
    }
}

/// How fast events may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishRate {
    /// So many in a second, in the long run.
    pub events_per_second: NonZeroU32,
    /// So many at once, after a quiet time.
    pub burst_events: NonZeroU32,
}

impl PublishRate {
    /// After how long so many events have been made up for.
    pub(crate) fn time_for(self, events: NonZeroU32) -> Duration {
        let nanos = 1_000_000_000 * u64::from(events.get());
        Duration::from_nanos(nanos / u64::from(self.events_per_second.get()))
    }
}
