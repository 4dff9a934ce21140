//! Which connections are let in, and how they are counted.
//!
//! Invariants:
//! - a connection that is served has a [`ConnectionGuard`] for as long as it lives, whoever drives
//!   it; at most `limits.max_connections` of them exist;
//! - the gateway's end waits for every connection that was let in before it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::limits;
use crate::metrics::OpenConnections;

/// Lets connections in. Clones share the counts.
#[derive(Clone)]
pub(super) struct Admission {
    open: OpenConnections,
    refusals: Arc<Semaphore>,
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
    _tracked: TaskTrackerToken,
}

/// A connection that is refused.
pub(super) struct RefusalGuard {
    _permit: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
}

impl Admission {
    pub(super) fn new(open: OpenConnections) -> Self {
        Admission {
            open,
            refusals: Arc::new(Semaphore::new(limits::REFUSALS)),
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
        // Whoever comes while the gateway drains is waited for less long.
        let tracker = if is_late { &self.late } else { &self.tracker };
        if self.open.try_open(at_most) {
            return Admitted::Served(self.guard(tracker));
        }

        // A refusal takes a socket, too, for as long as it lingers.
        match self.refusals.clone().try_acquire_owned() {
            Ok(permit) => Admitted::Refused(RefusalGuard {
                _permit: permit,
                _tracked: tracker.token(),
            }),
            Err(_) => Admitted::Dropped,
        }
    }

    /// For a connection that is counted already.
    fn guard(&self, tracker: &TaskTracker) -> ConnectionGuard {
        ConnectionGuard {
            open: self.open.clone(),
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

    fn is_served(admitted: &Admitted) -> bool {
        matches!(admitted, Admitted::Served(_))
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_whoever_has_the_guard_drops_it() {
        let open = OpenConnections::default();
        let admission = Admission::new(open.clone());
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
        let admission = Admission::new(OpenConnections::default());
        let mut served: Vec<_> = (0..3).map(|_| admission.admit(3, false)).collect();
        assert!(served.iter().all(is_served));
        assert!(!is_served(&admission.admit(2, false)));
        served.truncate(1);
        assert!(is_served(&admission.admit(2, false)));
    }

    #[tokio::test]
    async fn so_many_are_answered_that_there_are_too_many_and_no_more() {
        let admission = Admission::new(OpenConnections::default());
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
