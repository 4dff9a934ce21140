//! Pull, publish, then acknowledge: the same loop for every source.
//!
//! Invariants:
//! - an acknowledgement is sent only after everything that was pulled is durable;
//! - an error or a panic ends one connection; the next one is made after a pause that grows up to
//!   [`SOURCE_BACKOFF_MAX`](crate::limits::SOURCE_BACKOFF_MAX), and is short again after a pull
//!   that succeeded;
//! - the loop ends with the gateway's turn; work that was pulled by then is either acknowledged or
//!   left to be given again.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::backoff::Backoff;
use super::publishing::{SettledWork, WorkPublisher};
use super::recovery::RecoveryNote;
use super::state::SourceState;
use super::turn::Turn;
use super::unacked::UnackedIds;
use super::work::{MakeSource, Pulled, Source, SourceError, WorkOutcome};
use crate::bus::Bus;
use crate::cursor::Vid;

/// Runs a source until the gateway's turn is over.
pub(super) async fn drive(
    make: MakeSource,
    bus: Bus,
    turn: Turn,
    state: Arc<SourceState>,
    unacked: Arc<UnackedIds>,
) {
    let mut driver = SourceDriver::new(make, bus, turn, state, unacked);
    driver.state().connecting();
    while !driver.turn.is_over() {
        let ended = AssertUnwindSafe(driver.serve_connection())
            .catch_unwind()
            .await;

        // The acknowledgement may be lost with the connection, so its events are noted before the
        // source can give them again.
        driver.note_unacknowledged().await;
        match ended {
            Ok(Ok(())) => break,
            Ok(Err(error)) => driver.state().down(&error.to_string()),
            // A bug in one source must not take the gateway down, so it is handled as an error.
            Err(panic) => driver.state().down(&text_of_panic(&*panic)),
        }
        driver.pause().await;
    }
    driver.state().waiting();
}

/// What outlives a connection.
struct SourceDriver {
    make: MakeSource,
    bus: Bus,
    turn: Turn,
    publisher: WorkPublisher,
    backoff: Backoff,
    /// What was acknowledged last, until the next pull shows that the acknowledgement has arrived.
    unacknowledged: Vec<(Arc<str>, Vid)>,
    /// The end of the log at start, until the first pull: an earlier gateway may have left events
    /// before it unacknowledged.
    unproven: Option<Vid>,
}

impl SourceDriver {
    fn new(
        make: MakeSource,
        bus: Bus,
        turn: Turn,
        state: Arc<SourceState>,
        unacked: Arc<UnackedIds>,
    ) -> Self {
        SourceDriver {
            make,
            unproven: Some(bus.bounds().last),
            publisher: WorkPublisher::new(bus.clone(), turn.clone(), state, unacked),
            bus,
            turn,
            backoff: Backoff::new(),
            unacknowledged: Vec::new(),
        }
    }

    fn state(&self) -> &SourceState {
        self.publisher.state()
    }

    /// Serves one connection to its end. `Ok` only when the turn is over.
    async fn serve_connection(&mut self) -> Result<(), SourceError> {
        let mut source = (self.make)();
        while let Some(pulled) = self.pull(&mut *source).await? {
            // An idle source answers now and then to show that it is still there.
            if pulled.is_empty() {
                continue;
            }

            // What cannot be published within this turn is left to be given again.
            let Ok(settled) = self.publisher.settle(pulled).await else {
                return Ok(());
            };
            let outcomes = self.expect_acknowledgement(settled);
            source.acknowledge(outcomes).await?;
        }
        Ok(())
    }

    /// The next pieces of work; `None` when the turn is over.
    async fn pull(&mut self, source: &mut dyn Source) -> Result<Option<Vec<Pulled>>, SourceError> {
        // A gateway whose turn is over takes no more work: what is not pulled stays with the
        // source.
        let pulled = tokio::select! {
            pulled = source.pull() => pulled?,
            () = self.turn.over() => return Ok(None),
        };

        // The source has answered, so it has the acknowledgement before this pull.
        self.unacknowledged.clear();
        self.unproven = None;
        self.backoff = Backoff::new();
        self.state().up(source.lag());
        self.state().took(pulled.len());
        Ok(Some(pulled))
    }

    /// Remembers the ids until the acknowledgement is known to have arrived.
    fn expect_acknowledgement(&mut self, settled: Vec<SettledWork>) -> Vec<WorkOutcome> {
        // Work without an id cannot be recognized when it comes again, so there is nothing to keep.
        let ids = settled.iter().filter_map(SettledWork::identity);
        self.unacknowledged = ids.collect();
        settled.into_iter().map(|work| work.outcome).collect()
    }

    /// Unacknowledged events may come again, however much later, and to another gateway.
    async fn note_unacknowledged(&mut self) {
        // Without a single pull nobody knows what an earlier gateway left unacknowledged.
        if let Some(last) = self.unproven.take().filter(|last| *last > 0) {
            self.write(RecoveryNote::UnknownUpTo(last)).await;
        }
        let ids = std::mem::take(&mut self.unacknowledged);
        if !ids.is_empty() {
            self.keep(ids).await;
        }
    }

    async fn keep(&self, ids: Vec<(Arc<str>, Vid)>) {
        // This gateway recognizes them from memory, the next one by the note.
        let unacked = self.publisher.unacked();
        unacked.add_all(ids.iter().cloned());
        self.write(RecoveryNote::Unacknowledged(ids)).await;
    }

    async fn write(&self, note: RecoveryNote) {
        note.write(&self.bus, self.state().kind()).await;
    }

    async fn pause(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(self.backoff.next()) => {}
            () = self.turn.over() => {}
        }
    }
}

fn text_of_panic(panic: &(dyn Any + Send)) -> String {
    // `panic!` carries a `&str` where its message has no arguments, and a `String` otherwise.
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let text = owned.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no message");
    format!("vidette has a bug, please report it: {text}")
}
