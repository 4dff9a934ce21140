//! The ends of credentials while their callers are served (contract §8).
//!
//! Invariants:
//! - a subscription that waits is woken when its credential has expired, by the task of the
//!   heartbeats, and after a revocation, by the one here; whatever else waits for somebody asks
//!   [`Bus::credential_ended`];
//! - who is woken looks at its credential itself: nobody is ended from outside.

use std::future::pending;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::drain::StreamEnd;
use super::waiter::{CHUNK, Waiter};
use super::{Bus, Shared};
use crate::caller::{Caller, Credential};
use crate::error::Error;
use crate::limits;

impl Bus {
    /// Has everybody who is served on a credential look whether it is still good. Call it when some
    /// were revoked; it returns at once.
    pub fn recheck_callers(&self) {
        self.0.rechecks.send_replace(());
    }

    /// Ready once nothing more is taken from a stream of this caller, with the error that says why:
    /// its turn has come in a shutdown, or the credential has ended.
    pub(super) async fn publisher_ended(&self, caller: &Caller, turn: StreamEnd) -> Error {
        let credential_ended = async {
            match &caller.credential {
                Some(credential) => self.credential_ended(credential).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = turn.comes() => Error::closing(),
            ended = credential_ended => ended,
        }
    }

    /// Ready once this credential has ended, with the error that says so.
    pub(super) async fn credential_ended(&self, credential: &Credential) -> Error {
        // First: a revocation from here on is seen by the check, or ends the wait behind it.
        let mut rechecks = self.0.rechecks.subscribe();
        loop {
            if let Err(ended) = credential.check() {
                return ended;
            }
            // Not slept through: the wall clock, by which it expires, may be set meanwhile.
            let left = credential.time_left();
            let pause = left.unwrap_or_default().min(limits::CREDENTIAL_CHECK);
            tokio::select! {
                _ = rechecks.changed() => {}
                () = sleep(pause), if left.is_some() => {}
            }
        }
    }
}

/// Wakes subscriptions whenever credentials are to be looked at again, until the bus is dropped.
pub(super) async fn run(bus: Weak<Shared>, mut rechecks: watch::Receiver<()>) {
    // What is asked for during a walk is done by the next.
    while rechecks.changed().await.is_ok() {
        let Some(bus) = bus.upgrade() else { return };
        let everybody = &bus.interest.everybody;
        let pace = pace(everybody.len());
        everybody.wake(Waiter::has_credential, pace).await;
    }
}

/// Between two chunks. Hardly anybody who is woken has to be ended, but there may be very many.
fn pace(subscriptions: usize) -> Duration {
    let chunks = u32::try_from(subscriptions.div_ceil(CHUNK)).unwrap_or(u32::MAX);
    limits::RECHECK_PACE.min(limits::RECHECK_OVER / chunks.max(1))
}
