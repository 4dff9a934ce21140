//! How much each client may take: subscriptions that are open, and events that it publishes.
//!
//! A client is known by its address, by the subject of its token, and by the name of its API
//! key or certificate. Each of these has a count of open subscriptions and a token bucket of
//! events.
//!
//! Invariants:
//! - counts are exact: who has a subscription open is never forgotten, and who has none takes no
//!   memory, so there are at most as many counts as subscriptions;
//! - buckets are bounded ([`limits::QUOTA_BUCKETS`]) and the one that was used least is forgotten
//!   first. Who is forgotten has a full bucket again, which harms nobody else. To have one
//!   forgotten takes thousands of other clients, each of which could have published from a bucket
//!   of its own;
//! - keys have one size, however long a name is, and nothing is locked for longer than a look-up;
//! - a client that is refused by one limit takes nothing of the others.
//!
//! [`limits::QUOTA_BUCKETS`]: crate::limits::QUOTA_BUCKETS

mod bucket;
mod client_key;
mod open_counts;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::limits;
use crate::metrics::Refusals;
pub(crate) use bucket::Bucket;
pub(crate) use client_key::ClientKey;
pub use open_counts::ConnectionCount;
pub(crate) use open_counts::OpenCount;
use open_counts::OpenCounts;
pub use rules::{ClientLimits, PublishRate, QuotaRules};

/// What clients are distinguished by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// Their address.
    Address,
    /// The subject of their token.
    Caller,
    /// The name of their API key or certificate.
    Key,
}

/// What each client has taken. Clones share it.
#[derive(Debug, Clone)]
pub struct Quotas(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    /// What the times of buckets are counted from.
    started: Instant,
    address: Table,
    caller: Table,
    key: Table,
    refusals: Refusals,
}

/// The clients of one kind.
#[derive(Debug)]
struct Table {
    open: OpenCounts,
    buckets: Cache<ClientKey, Arc<Bucket>>,
}

impl Table {
    fn new() -> Self {
        Table {
            open: OpenCounts::default(),
            // Takes memory only as it fills.
            buckets: Cache::new(limits::QUOTA_BUCKETS),
        }
    }
}

impl Quotas {
    /// Nobody has taken anything yet; who is refused is counted in `refusals`.
    pub fn new(refusals: Refusals) -> Self {
        Quotas(Arc::new(Tables {
            started: Instant::now(),
            address: Table::new(),
            caller: Table::new(),
            key: Table::new(),
            refusals,
        }))
    }

    fn table(&self, kind: ClientKind) -> &Table {
        match kind {
            ClientKind::Address => &self.0.address,
            ClientKind::Caller => &self.0.caller,
            ClientKind::Key => &self.0.key,
        }
    }

    pub(crate) fn open(&self, kind: ClientKind) -> &OpenCounts {
        &self.table(kind).open
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The time of buckets.
    pub(crate) fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The bucket of a client: a full one where it has none.
    pub(crate) fn bucket(&self, kind: ClientKind, key: ClientKey) -> Arc<Bucket> {
        let buckets = &self.table(kind).buckets;
        if let Some(bucket) = buckets.get(&key) {
            return bucket;
        }
        let full = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(bucket) = buckets.get_or_insert_with(&key, full);
        bucket
    }

    /// Buckets that are remembered, of the kind that has most.
    #[cfg(test)]
    pub(crate) fn buckets(&self) -> usize {
        let Tables {
            address,
            caller,
            key,
            ..
        } = &*self.0;
        let lengths = [address, caller, key].map(|table| table.buckets.len());
        lengths.into_iter().max().unwrap_or(0)
    }
}
