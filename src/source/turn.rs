//! For how long the sources of this gateway run.
//!
//! Invariants:
//! - nothing is pulled once a turn is over: the bus has closed, the gateway has been asked to end,
//!   or its lease is lost;
//! - an event is published only while the lease is held, as far as that can be known at the moment
//!   of publishing. What is published later all the same is recognized by its id.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, SourceLease};

/// The time in which this gateway pulls from sources.
#[derive(Clone)]
pub(super) struct Turn {
    bus: Bus,
    /// None where no other gateway uses the log.
    lease: Option<Arc<SourceLease>>,
    handed_over: CancellationToken,
}

impl Turn {
    pub(super) fn new(
        bus: Bus,
        lease: Option<Arc<SourceLease>>,
        handed_over: CancellationToken,
    ) -> Self {
        Turn {
            bus,
            lease,
            handed_over,
        }
    }

    /// Waits until this gateway may pull. False when it never may again.
    pub(super) async fn begins(&self) -> bool {
        let gained = async {
            if let Some(lease) = &self.lease {
                lease.gained().await;
            }
        };
        tokio::select! {
            biased;
            () = self.bus.closed() => false,
            () = self.handed_over.cancelled() => false,
            () = gained => true,
        }
    }

    /// Waits until nothing more is to be pulled.
    pub(super) async fn over(&self) {
        let lost = async {
            match &self.lease {
                Some(lease) => lease.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.bus.closed() => {}
            () = self.handed_over.cancelled() => {}
            () = lost => {}
        }
    }

    /// Is nothing more to be pulled?
    pub(super) fn is_over(&self) -> bool {
        self.bus.is_closing() || self.handed_over.is_cancelled() || !self.may_publish()
    }

    /// May what has been pulled be published?
    pub(super) fn may_publish(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.is_held())
    }

    /// Gives the lease to another gateway.
    pub(super) async fn release(&self) {
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
    }
}
