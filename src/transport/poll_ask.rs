//! What a poll is asked by, whichever of the two kinds it is.

use axum::http::Method;

use super::peer::PeerWatch;
use super::reader::Reader;
use crate::bus::{Bus, SubscribeRequest};
use crate::caller::Caller;
use crate::encodings::Coding;
use crate::error::Result;
use crate::metrics::Transport;

/// A poll, and who makes it.
pub(super) struct PollAsk<'r> {
    pub(super) method: &'r Method,
    pub(super) query: Option<&'r str>,
    pub(super) caller: &'r Caller,
    pub(super) transport: Transport,
    pub(super) peer: PeerWatch,
    /// How the client takes its answer.
    pub(super) coding: Option<Coding>,
}

impl PollAsk<'_> {
    /// Opens its subscription.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub(super) async fn open(self, bus: &Bus, request: SubscribeRequest) -> Result<Reader> {
        Reader::open(bus, self.caller, request, (self.transport, self.peer)).await
    }
}
