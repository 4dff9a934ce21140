//! A subscription that somebody reads over a connection, and what is counted of it.
//!
//! Invariants:
//! - whoever is counted as a reader is counted as gone once, with the reason, however it ends;
//! - what is counted is what the connection is given, when it is given it.

use std::future::poll_fn;
use std::pin::pin;

use tokio::time::Instant;

use super::connection_info::ConnectionInfo;
use super::connection_log::ConnectionLog;
use super::peer::PeerWatch;
use crate::bus::{Batch, Bus, ClosingReason, Step, SubscribeRequest, Subscription};
use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{CANCELLED, EndReason, Transport};

/// Who reads, and by what.
pub(super) struct ReadBy {
    pub(super) transport: Transport,
    peer: PeerWatch,
}

impl ReadBy {
    pub(super) fn new(transport: Transport, peer: PeerWatch) -> Self {
        ReadBy { transport, peer }
    }

    /// Opens a subscription.
    ///
    /// # Errors
    /// As [`Subscription::open`].
    pub(super) async fn open(
        self,
        bus: &Bus,
        caller: &Caller,
        request: SubscribeRequest,
    ) -> Result<Reader> {
        let subscription = Subscription::open(bus, caller, request).await?;
        bus.metrics().readers.count_opened(self.transport);
        Ok(Reader {
            subscription,
            peer: self.peer,
            transport: self.transport,
            ended: EndReason::Left,
            has_status: false,
        })
    }
}

/// An open subscription, and who reads it.
pub(super) struct Reader {
    pub(super) subscription: Subscription,
    peer: PeerWatch,
    // Beside the other bytes, so that they take a word together.
    transport: Transport,
    /// What is counted when this is dropped.
    ended: EndReason,
    /// Its call of gRPC has ended with a status.
    has_status: bool,
}

impl Reader {
    /// The next step, as [`Subscription::next`] gives it, unless its peer has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        let is_live = self.subscription.is_live();
        let step = {
            let mut next = pin!(self.subscription.next());
            let peer = &self.peer;
            poll_fn(|context| peer.poll_step(next.as_mut(), is_live, context)).await
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
            let peer = &self.peer;
            poll_fn(|context| peer.poll_step(next.as_mut(), is_live, context)).await
        };
        self.note(&step);
        step
    }

    /// Takes note of how it ends, where this step is the last one.
    pub(super) fn note(&mut self, step: &Result<Option<Step>>) {
        match step {
            // The status behind it says the same.
            Ok(None) if self.ended == EndReason::Left && !self.peer.has_ended() => {
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
        readers.count_page(self.transport, events, bytes, published_ns);
        if let Some(log) = self.log() {
            log.note_sent(events, bytes);
        }
    }

    fn log(&self) -> Option<&ConnectionLog> {
        self.peer.connection()?.log.as_deref()
    }

    /// The connection is given something else than events.
    pub(super) fn count_bytes(&self, bytes: usize) {
        let readers = &self.subscription.bus().metrics().readers;
        readers.count_bytes(self.transport, bytes);
        if let Some(log) = self.log() {
            log.note_sent(0, bytes);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self
            .peer
            .connection()
            .is_some_and(ConnectionInfo::has_stalled)
        {
            self.ended = EndReason::WriteTimeout;
        }
        let metrics = self.subscription.bus().metrics();
        let transport = self.transport;
        metrics.readers.count_closed(transport, self.ended);
        if let Some(log) = self.log() {
            log.note_ended(self.ended);
        }

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
