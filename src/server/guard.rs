//! Which connections are let in, and how they are counted.
//!
//! Invariants:
//! - a connection that is served has a [`ConnectionGuard`] for as long as it lives, whoever drives
//!   it; at most `limits.max_connections` of them exist, and of one address at most
//!   `limits.max_connections_per_address`;
//! - the gateway's end waits for every connection that was let in before it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::per_address::{AddressCounts, AddressPlace};
use crate::caller::ClientAddress;
use crate::limits;
use crate::metrics::{OpenConnections, RefusalReason, Refusals};

/// Lets connections in. Clones share the counts.
#[derive(Clone)]
pub(super) struct Admission {
    pub(super) open: OpenConnections,
    addresses: AddressCounts,
    /// Whoever is being answered that there are too many.
    being_refused: Arc<Semaphore>,
    refusals: Refusals,
    /// Whoever the gateway's end waits for.
    pub(super) tracker: TaskTracker,
    /// Those that have come while the gateway drains: it does not wait for them as long.
    pub(super) late: TaskTracker,
}

/// What a connection that has come gets.
pub(super) enum Admitted {
    /// It is served while this lives.
    Served(ConnectionGuard),
    /// It is answered that there are too many.
    Refused(RefusalGuard),
    /// It is closed without a word: too many are being answered so.
    Dropped,
}

/// A connection that is served: its place under the limit and in the count, and the end's patience
/// for it. Whoever takes the connection over, as an upgrade does, takes this with it.
pub(super) struct ConnectionGuard {
    open: OpenConnections,
    /// None where its peer is not counted.
    place: Option<AddressPlace>,
    _tracked: TaskTrackerToken,
}

/// A connection that is refused.
pub(super) struct RefusalGuard {
    _permit: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
}

impl Admission {
    pub(super) fn new(open: OpenConnections, refusals: Refusals) -> Self {
        Admission {
            open,
            addresses: AddressCounts::default(),
            being_refused: Arc::new(Semaphore::new(limits::REFUSALS)),
            refusals,
            tracker: TaskTracker::new(),
            late: TaskTracker::new(),
        }
    }

    /// Connections open now.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.count()
    }

    /// Lets a connection in, unless so many are open.
    pub(super) fn admit(&self, at_most: usize, is_late: bool) -> Admitted {
        if self.open.try_open(at_most) {
            return Admitted::Served(self.guard(self.tracker(is_late)));
        }
        self.refusals.count(RefusalReason::Connections);
        let refused = self.refuse(is_late);
        refused.map_or(Admitted::Dropped, Admitted::Refused)
    }

    /// Counts a connection that is let in as one of this address, unless that has so many.
    pub(super) fn count(
        &self,
        guard: &mut ConnectionGuard,
        address: ClientAddress,
        at_most: usize,
    ) -> bool {
        guard.place = self.addresses.take(address, at_most);
        if guard.place.is_none() {
            self.refusals.count(RefusalReason::AddressConnections);
        }
        guard.place.is_some()
    }

    /// For a connection that is to be answered that there are too many; none when too many are.
    pub(super) fn refuse(&self, is_late: bool) -> Option<RefusalGuard> {
        // A refusal takes a socket, too, for as long as it lingers.
        let permit = self.being_refused.clone().try_acquire_owned().ok()?;
        Some(RefusalGuard {
            _permit: permit,
            _tracked: self.tracker(is_late).token(),
        })
    }

    /// A proxy has not said rightly whom it speaks for.
    pub(super) fn count_wrong_header(&self) {
        self.refusals.count(RefusalReason::ProxyHeader);
    }

    /// Whoever comes while the gateway drains is waited for less long.
    fn tracker(&self, is_late: bool) -> &TaskTracker {
        if is_late { &self.late } else { &self.tracker }
    }

    /// For a connection that is counted already.
    fn guard(&self, tracker: &TaskTracker) -> ConnectionGuard {
        ConnectionGuard {
            open: self.open.clone(),
            place: None,
            _tracked: tracker.token(),
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.open.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(OpenConnections::default(), Refusals::default())
    }

    fn is_served(admitted: &Admitted) -> bool {
        matches!(admitted, Admitted::Served(_))
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_whoever_has_the_guard_drops_it() {
        let open = OpenConnections::default();
        let admission = Admission::new(open.clone(), Refusals::default());
        let first = admission.admit(1, false);
        let Admitted::Served(guard) = first else {
            panic!("the first is let in");
        };
        assert_eq!(open.count(), 1);
        let second = admission.admit(1, false);
        assert!(matches!(second, Admitted::Refused(_)));

        // As an upgraded connection would, on a task of its own.
        let upgraded = tokio::spawn(async move { drop(guard) });
        upgraded.await.expect("no panic");
        assert_eq!(open.count(), 0);
        assert!(is_served(&admission.admit(1, false)));
    }

    #[tokio::test]
    async fn a_lower_limit_ends_nobody_and_lets_nobody_in() {
        let admission = admission();
        let mut served: Vec<_> = (0..3).map(|_| admission.admit(3, false)).collect();
        assert!(served.iter().all(is_served));
        assert!(!is_served(&admission.admit(2, false)));
        served.truncate(1);
        assert!(is_served(&admission.admit(2, false)));
    }

    #[tokio::test]
    async fn so_many_are_answered_that_there_are_too_many_and_no_more() {
        let admission = admission();
        let refused: Vec<_> = (0..limits::REFUSALS)
            .map(|_| admission.admit(0, true))
            .collect();
        assert!(
            refused
                .iter()
                .all(|one| matches!(one, Admitted::Refused(_)))
        );
        assert!(matches!(admission.admit(0, true), Admitted::Dropped));
        assert_eq!(
            (admission.late.len(), admission.tracker.len()),
            (refused.len(), 0)
        );
    }
}
