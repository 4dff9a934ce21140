//! What a poll is asked by, whichever of the two kinds it is.

use std::sync::Arc;

use axum::http::Method;

use super::connection_info::ConnectionInfo;
use super::peer::PeerWatch;
use crate::bus::{Bus, ReadBy, ReaderTransport, SubscribeRequest, Subscription};
use crate::caller::Caller;
use crate::error::Result;

/// A poll, and who makes it.
pub(super) struct PollAsk<'r> {
    pub(super) method: &'r Method,
    pub(super) query: Option<&'r str>,
    pub(super) caller: &'r Caller,
    pub(super) peer: PeerWatch,
    pub(super) connection: Arc<ConnectionInfo>,
}

impl PollAsk<'_> {
    /// Opens its subscription.
    pub(super) async fn open(
        &self,
        bus: &Bus,
        request: SubscribeRequest,
        transport: ReaderTransport,
    ) -> Result<Subscription> {
        let read_by = ReadBy::new(transport, self.connection.clone());
        Subscription::open_for(bus, self.caller, request, Some(read_by)).await
    }
}
