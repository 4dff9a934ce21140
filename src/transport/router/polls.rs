//! Polls, which are begun without axum's routes and wait with next to nothing.

use axum::http::{Method, Request};
use axum::response::{IntoResponse as _, Response};

use super::{RouteTable, challenged};
use crate::error::Result;
use crate::metrics::Transport;
use crate::transport::access::Admitted;
use crate::transport::client_address::KnownClient;
use crate::transport::compression;
use crate::transport::counting::RequestTally;
use crate::transport::legacy;
use crate::transport::long_poll::{self, Waiting};
use crate::transport::peer::PeerWatch;
use crate::transport::poll_ask::PollAsk;

/// A poll that waits, and what its answer is made with.
pub(in crate::transport) struct WaitingPoll {
    pub(in crate::transport) waiting: Waiting,
    has_shown: bool,
    tally: RequestTally,
}

impl WaitingPoll {
    pub(super) fn new(waiting: Waiting, has_shown: bool, tally: RequestTally) -> Self {
        WaitingPoll {
            waiting,
            has_shown,
            tally,
        }
    }
}

/// How a request came.
pub(super) struct Asked<'c> {
    pub(super) client: &'c KnownClient,
    pub(super) is_of_page: bool,
    pub(super) tally: &'c mut RequestTally,
}

/// What a request has come to.
pub(in crate::transport) enum Begun {
    Answered(Response),
    /// A poll, whose subscription is open; nothing else that the request needed is kept.
    Waits(WaitingPoll),
}

pub(super) fn is_poll(method: &Method, transport: Transport) -> bool {
    let waits = matches!(transport, Transport::LongPoll | Transport::Legacy);
    *method == Method::GET && waits
}

impl RouteTable {
    /// Opens a poll without the router, by which it would cost a third more.
    pub(super) async fn begin_poll<B>(
        &self,
        request: Request<B>,
        admitted: &Admitted,
        (transport, peer): (Transport, PeerWatch),
    ) -> Result<Waiting> {
        let (parts, _) = request.into_parts();
        let ask = PollAsk {
            method: &parts.method,
            query: parts.uri.query(),
            caller: admitted.caller()?,
            transport,
            peer,
            coding: compression::accepted(&parts.headers),
        };
        match transport {
            Transport::Legacy => legacy::begin(&self.state, ask).await,
            _ => long_poll::begin(&self.state, ask).await,
        }
    }

    /// The answer of a poll that has waited.
    pub(in crate::transport) fn end_wait(
        &self,
        waited: Result<Response>,
        poll: &WaitingPoll,
    ) -> Response {
        let answer = self.marked(challenged(waited.into_response(), poll.has_shown));
        poll.tally.count(&self.state.bus, &answer);
        answer
    }
}
