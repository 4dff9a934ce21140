//! A subscription that somebody reads over a connection, and what is counted of it.
//!
//! Invariants:
//! - whoever is counted as a reader is counted as gone once, with the reason, however it ends;
//! - what is counted is what the connection is given, when it is given it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::peer::{Peer, PeerWatch, poll_step};
use crate::bus::{Batch, Bus, ClosingReason, ReadBy, ReaderConnection};
use crate::bus::{Step, SubscribeRequest, Subscription};
use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{CANCELLED, EndReason, Transport};

/// An open subscription that is read over a connection.
pub(super) struct Reader {
    pub(super) subscription: Subscription,
    peer: Option<Peer>,
    /// What is counted when this is dropped.
    ended: EndReason,
    /// Its call of gRPC has ended with a status.
    has_status: bool,
}

const _: () = assert!(
    size_of::<Reader>() <= 104,
    "each idle reader has one: docs/performance.md, memory per idle reader"
);

impl Reader {
    /// Opens a subscription that is read by this transport, from this peer.
    ///
    /// # Errors
    /// As [`Subscription::open`].
    pub(super) async fn open(
        bus: &Bus,
        caller: &Caller,
        request: SubscribeRequest,
        (transport, by): (Transport, PeerWatch),
    ) -> Result<Self> {
        let PeerWatch { peer, connection } = by;
        let read_by = ReadBy {
            transport,
            connection: connection.map(|connection| connection as Arc<dyn ReaderConnection>),
        };
        let subscription = Subscription::open_for(bus, caller, request, Some(read_by)).await?;
        bus.metrics().readers.count_opened(transport);
        Ok(Reader {
            subscription,
            peer,
            ended: EndReason::Left,
            has_status: false,
        })
    }

    /// By which it is read.
    fn transport(&self) -> Transport {
        self.subscription.transport().unwrap_or_default()
    }

    /// The next step, as [`Subscription::next`] gives it, unless its peer has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        let is_live = self.subscription.is_live();
        let step = {
            let mut next = pin!(self.subscription.next());
            let peer = self.peer.as_ref();
            poll_fn(|context| poll_step(peer, next.as_mut(), is_live, context)).await
        };
        self.note(&step);
        step
    }

    /// The next step until then, as [`Subscription::next_until`] gives it, unless its peer has
    /// ended.
    pub(super) async fn next_until(&mut self, until: Instant) -> Result<Option<Step>> {
        let is_live = self.subscription.is_live();
        let step = {
            let mut next = pin!(self.subscription.next_until(until));
            let peer = self.peer.as_ref();
            poll_fn(|context| poll_step(peer, next.as_mut(), is_live, context)).await
        };
        self.note(&step);
        step
    }

    /// Takes note of how it ends, where this step is the last one.
    pub(super) fn note(&mut self, step: &Result<Option<Step>>) {
        match step {
            // The status behind it says the same.
            Ok(None) if self.ended == EndReason::Left && !self.has_peer_ended() => {
                self.ended = EndReason::Done;
            }
            Ok(Some(Step::Closing(closing))) => self.ended = closing.reason.into(),
            Err(error) => self.ended = error.into(),
            Ok(_) => {}
        }
    }

    /// It has been answered with all that it has asked for.
    pub(super) fn is_done(&mut self) {
        self.note(&Ok(None));
    }

    /// Its call of gRPC ends with the code of this number.
    pub(super) fn count_code(&mut self, number: usize) {
        self.has_status = true;
        let requests = &self.subscription.bus().metrics().requests;
        requests.count_code(number);
    }

    /// The connection is given a page of events in so many bytes.
    pub(super) fn count_page(&self, batch: &Batch, bytes: usize) {
        // Who reads what has been there for long has not waited for it.
        let is_live = self.subscription.is_live();
        let published_ns = batch.published_ns().filter(|_| is_live);
        self.count(batch.len(), bytes, published_ns);
    }

    /// The connection is given so many events in so many bytes.
    pub(super) fn count(&self, events: usize, bytes: usize, published_ns: Option<u64>) {
        let readers = &self.subscription.bus().metrics().readers;
        readers.count_page(self.transport(), events, bytes, published_ns);
        if let Some(connection) = self.subscription.connection() {
            connection.note_sent(events, bytes);
        }
    }

    fn has_peer_ended(&self) -> bool {
        self.peer.as_ref().is_some_and(Peer::has_ended)
    }

    /// The connection is given something else than events.
    pub(super) fn count_bytes(&self, bytes: usize) {
        let readers = &self.subscription.bus().metrics().readers;
        readers.count_bytes(self.transport(), bytes);
        if let Some(connection) = self.subscription.connection() {
            connection.note_sent(0, bytes);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.subscription.connection() {
            if connection.has_stalled() {
                self.ended = EndReason::WriteTimeout;
            }
            connection.note_ended(self.ended);
        }
        let metrics = self.subscription.bus().metrics();
        let transport = self.transport();
        metrics.readers.count_closed(transport, self.ended);

        // A call that has been given up has no status.
        if transport == Transport::Grpc && !self.has_status {
            metrics.requests.count_code(CANCELLED);
        }
    }
}

impl From<ClosingReason> for EndReason {
    fn from(reason: ClosingReason) -> Self {
        match reason {
            ClosingReason::Shutdown => EndReason::Shutdown,
            ClosingReason::Busy => EndReason::Busy,
            ClosingReason::Behind => EndReason::Behind,
            ClosingReason::Expired => EndReason::Expired,
        }
    }
}

impl From<&Error> for EndReason {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Gap => EndReason::Gap,
            ErrorKind::Closing => EndReason::Shutdown,
            ErrorKind::Behind => EndReason::Behind,
            _ => EndReason::Error,
        }
    }
}
