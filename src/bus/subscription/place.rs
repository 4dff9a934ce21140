//! The place of an open subscription, among all of them and among those of its client.
//!
//! Invariant: a place is given back when it is dropped, so nobody has to remember to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bus::Bus;
use crate::caller::{Caller, SubscriptionPermit};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::RefusalReason;

/// How many subscriptions have a place. Two words less than a semaphore's permit would take of
/// each.
#[derive(Debug, Default)]
pub(in crate::bus) struct Places(Arc<AtomicUsize>);

/// An open subscription's place.
pub(super) struct Place {
    _among_all: PlaceAmongAll,
    _of_client: SubscriptionPermit,
}

struct PlaceAmongAll(Arc<AtomicUsize>);

impl Drop for PlaceAmongAll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Places {
    fn take(&self, at_most: usize) -> Option<PlaceAmongAll> {
        let one_more = |open| (open < at_most).then_some(open + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.fetch_update(set, fetch, one_more).ok()?;
        Some(PlaceAmongAll(self.0.clone()))
    }
}

impl Place {
    /// # Errors
    /// Busy, when its client or all clients together have too many.
    pub(super) fn take(bus: &Bus, caller: &Caller) -> Result<Self> {
        let of_client = caller.allowance.take_subscription()?;
        let at_most = bus.options().max_subscribers;
        let among_all = bus.0.places.take(at_most).ok_or_else(|| {
            bus.metrics().refusals.count(RefusalReason::Subscriptions);
            too_many_subscribers(at_most)
        })?;
        Ok(Place {
            _among_all: among_all,
            _of_client: of_client,
        })
    }
}

fn too_many_subscribers(bound: usize) -> Error {
    let detail = format!(
        "{bound} subscriptions are open, which is the bound (limits.max_subscribers); try again \
         later or elsewhere"
    );
    Error::new(ErrorKind::Busy, detail)
}
