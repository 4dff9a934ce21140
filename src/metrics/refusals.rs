//! What clients are refused, and why.

use std::sync::Arc;

use super::exposition::Shown;
use super::shards::Count;

/// Why a client is refused what it may do, but not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// All clients together have too many connections open.
    Connections,
    /// Its address has too many connections open.
    AddressConnections,
    /// A trusted proxy does not say in time, or not rightly, whom it speaks for.
    ProxyHeader,
    /// Its address has too many subscriptions open.
    AddressSubscriptions,
    /// Its address publishes too fast.
    AddressPublishing,
    /// The same for the subject of its token.
    CallerSubscriptions,
    /// The same for the subject of its token.
    CallerPublishing,
    /// The same for the name of its API key or certificate.
    KeySubscriptions,
    /// The same for the name of its API key or certificate.
    KeyPublishing,
    /// Its connection has too many subscriptions open.
    ConnectionSubscriptions,
    /// All clients together have too many subscriptions open.
    Subscriptions,
    /// The publish queue is full.
    PublishQueue,
    /// The memory budget is used up.
    Memory,
}

#[rustfmt::skip] // a table with one line a reason
const REFUSAL_REASONS: [(RefusalReason, &str); 13] = [
    (RefusalReason::Connections, "connections"),
    (RefusalReason::AddressConnections, "address_connections"),
    (RefusalReason::ProxyHeader, "proxy_header"),
    (RefusalReason::AddressSubscriptions, "address_subscriptions"),
    (RefusalReason::AddressPublishing, "address_publishing"),
    (RefusalReason::CallerSubscriptions, "caller_subscriptions"),
    (RefusalReason::CallerPublishing, "caller_publishing"),
    (RefusalReason::KeySubscriptions, "key_subscriptions"),
    (RefusalReason::KeyPublishing, "key_publishing"),
    (RefusalReason::ConnectionSubscriptions, "connection_subscriptions"),
    (RefusalReason::Subscriptions, "subscriptions"),
    (RefusalReason::PublishQueue, "publish_queue"),
    (RefusalReason::Memory, "memory"),
];

/// What clients were refused, by reason. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<[Count; REFUSAL_REASONS.len()]>);

impl Refusals {
    /// Counts one.
    pub fn count(&self, reason: RefusalReason) {
        self.0[reason as usize].add(1);
    }

    #[cfg(test)]
    pub(crate) fn counted(&self, reason: RefusalReason) -> u64 {
        self.0[reason as usize].get()
    }

    pub(super) fn shown(&self) -> Shown {
        // No label says who was refused: strangers would decide how many there are.
        let counts = REFUSAL_REASONS.iter().zip(&*self.0);
        let help = "Requests refused, by the limit that was reached";
        Shown::counters(
            "refused",
            help,
            counts.map(|((_, name), count)| ([("reason", *name)], count.get())),
        )
    }
}
