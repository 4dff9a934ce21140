//! Pull, publish, then acknowledge: the same loop for every source.
//!
//! Invariants:
//! - an acknowledgement is sent only after all that was pulled is durable;
//! - a fault, or a panic, ends one connection; the next one is made after a pause that grows up to
//!   [`limits::SOURCE_BACKOFF_MAX`], and is short again after work came in;
//! - the loop ends when the bus closes; what is in hand then is either acknowledged or left to come
//!   again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::known::KnownIds;
use super::notes::Note;
use super::publishing::Publisher;
use super::state::SourceState;
use super::{MakeSource, Outcome, SourceFault};
use crate::bus::Bus;
use crate::cursor::Vid;
use crate::limits;

/// A pause that doubles, with a random part so that many do not come back at once.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff(limits::SOURCE_BACKOFF_MIN)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(limits::SOURCE_BACKOFF_MAX);
        pause
    }
}

/// Runs a source until the bus closes.
pub(super) async fn drive(
    make: MakeSource,
    bus: Bus,
    state: Arc<SourceState>,
    known: Arc<KnownIds>,
) {
    let mut lane = Lane {
        unproven: Some(bus.bounds().last),
        publisher: Publisher::new(bus.clone(), state.clone(), known),
        unacknowledged: Vec::new(),
    };
    let mut backoff = Backoff::new();
    while !bus.is_closing() {
        let connected = AssertUnwindSafe(lane.run(&make, &bus, &mut backoff))
            .catch_unwind()
            .await;
        lane.keep_unacknowledged(&bus).await;
        match connected {
            Ok(Ok(())) => break,
            Ok(Err(fault)) => state.down(&fault.to_string()),
            Err(panic) => state.down(&format!(
                "a fault of vidette itself, please report it: {}",
                text_of(&*panic)
            )),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = bus.closed() => {}
        }
    }
    state.stopped();
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

/// What outlives a connection.
struct Lane {
    publisher: Publisher,
    /// What has been acknowledged last, until the next pull says that it has arrived.
    unacknowledged: Vec<(Arc<str>, Vid)>,
    /// Where the log ended at start, until the first pull: what an earlier gateway left
    /// unacknowledged stands before.
    unproven: Option<Vid>,
}

impl Lane {
    /// One connection's life. Ends well only when the bus closes.
    async fn run(
        &mut self,
        make: &MakeSource,
        bus: &Bus,
        backoff: &mut Backoff,
    ) -> Result<(), SourceFault> {
        let mut source = make();
        let state = self.publisher.state().clone();
        loop {
            let pulled = tokio::select! {
                pulled = source.pull() => pulled?,
                () = bus.closed() => return Ok(()),
            };
            self.unacknowledged.clear();
            self.unproven = None;
            *backoff = Backoff::new();
            state.up(source.lag());
            if pulled.is_empty() {
                continue;
            }
            state.took(pulled.len());
            // Once the bus closes nothing more is taken: what is not published by then is left to
            // come again.
            let Some(settled) = self.publisher.settle(pulled).await else {
                return Ok(());
            };
            let ids = settled
                .iter()
                .filter_map(|(id, vid, _)| Some((id.clone()?, *vid)));
            self.unacknowledged = ids.collect();
            let outcomes: Vec<Outcome> =
                settled.into_iter().map(|(_, _, outcome)| outcome).collect();
            source.acknowledge(outcomes).await?;
        }
    }

    /// They may come again, however long that takes, and whatever becomes of this gateway.
    async fn keep_unacknowledged(&mut self, bus: &Bus) {
        let kind = self.publisher.state().kind();
        if let Some(last) = self.unproven.take().filter(|last| *last > 0) {
            Note::UnknownUpTo(last).write(bus, kind).await;
        }
        if self.unacknowledged.is_empty() {
            return;
        }
        let ids = std::mem::take(&mut self.unacknowledged);
        for (id, vid) in &ids {
            self.publisher.known().add(id.clone(), *vid);
        }
        Note::Unacknowledged(ids).write(bus, kind).await;
    }
}
