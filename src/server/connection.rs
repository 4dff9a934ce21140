//! One connection, from its first byte to its end.
//!
//! Invariants:
//! - a connection is bounded in what it may hold, and in how long it may send nothing or take
//!   nothing;
//! - whatever has been asked is answered, also while the gateway drains and to a peer that sends no
//!   more, and the last answer is let arrive;
//! - hyper drives all connections but those that only wait or publish, which [`lean`] holds for far
//!   less memory.
//!
//! [`lean`]: super::lean

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::by_hyper::ByHyper;
use super::guard::{Admission, Admitted, ConnectionGuard, RefusalGuard};
use super::io::Io;
use super::lean::{LeanHttp1, LeanOutcome};
use super::linger;
use super::listener::Listener;
use super::opening::{self, OpenedConnection};
use super::proxy_header::{self, HeaderError};
use crate::caller::ClientAddress;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::memory::MemoryBudget;
use crate::tls::LiveTls;
use crate::transport::{self, ConnectionLimits, PeerAddress, Routes};

/// The task that serves a connection, which knows it as soon as it has been spawned.
type OwnTask = oneshot::Receiver<AbortHandle>;

/// What every connection of a listener needs.
#[derive(Clone)]
pub(super) struct ConnectionContext {
    pub(super) routes: Routes,
    /// Where connections are encrypted.
    pub(super) tls: Option<LiveTls>,
    pub(super) memory: MemoryBudget,
    pub(super) admission: Admission,
    pub(super) draining: CancellationToken,
}

impl ConnectionContext {
    /// The same for what a listener accepts.
    pub(super) fn at(&self, listener: &Listener, https_port: Option<u16>) -> Self {
        let mut here = self.clone();
        let https_port = https_port.filter(|_| !listener.is_encrypted);
        here.routes = here.routes.at(&listener.address, https_port);
        here.tls = here.tls.filter(|_| listener.is_encrypted);
        here
    }

    /// Serves a connection that has come, on a task of its own.
    pub(super) fn begin(self: &Arc<Self>, io: Io, peer: PeerAddress) {
        // Read anew for each connection, so that a new limit holds from now on.
        let at_most = self.routes.limits(|limits| limits.max_connections);
        let is_late = self.draining.is_cancelled();
        match self.admission.admit(at_most, is_late) {
            Admitted::Served(guard) => {
                let (own_task, known_soon) = oneshot::channel();
                let task = tokio::spawn(self.clone().serve(io, peer, guard, known_soon));
                // It may be over already.
                let _ = own_task.send(task.abort_handle());
            }
            Admitted::Refused(guard) => drop(tokio::spawn(self.clone().refuse(io, peer, guard))),
            Admitted::Dropped => {}
        }
    }

    fn serve(
        self: Arc<Self>,
        io: Io,
        peer: PeerAddress,
        guard: ConnectionGuard,
        own_task: OwnTask,
    ) -> impl Future<Output = ()> + Send + use<> {
        // Most connections stay with the lean driver for life; the rest is boxed, so that they do
        // not pay for it. This one from the start: what a future is given, it has to its end.
        let letting_in = Box::pin(self.clone().let_in(io, peer, guard, own_task));
        async move {
            let Some((mut lean, guard)) = letting_in.await else {
                return;
            };
            if let LeanOutcome::HandOverToHyper(first) = lean.serve(&self).await {
                Box::pin(self.serve_by_hyper(lean.into_opened(), first, guard)).await;
            }
        }
    }

    /// Sees to what comes before the first request; none where nothing may follow.
    async fn let_in(
        self: Arc<Self>,
        mut io: Io,
        peer: PeerAddress,
        mut guard: ConnectionGuard,
        own_task: OwnTask,
    ) -> Option<(LeanHttp1, ConnectionGuard)> {
        // Whose it is comes first: whatever else it takes is that client's.
        let peer = self.peer_behind(&mut io, peer).await?;
        if !self.count(peer, &mut guard) {
            // Its place is for others while it is being refused.
            drop(guard);
            let _guard = self.admission.refuse(self.draining.is_cancelled())?;
            self.answer_that_there_are_too_many(io, peer, OF_ADDRESS)
                .await;
            return None;
        }
        let opened = self.open(io, peer, own_task.await.ok()).await?;
        Some((LeanHttp1::new(opened), guard))
    }

    /// The peer that a proxy names, where this is one that has to, or else the peer itself.
    async fn peer_behind(&self, io: &mut Io, peer: PeerAddress) -> Option<PeerAddress> {
        let is_expected = |limits: &ConnectionLimits| limits.proxy.expects_header(peer.ip());
        if !self.routes.limits(is_expected) {
            return Some(peer);
        }
        let named = proxy_header::peer_behind(io, peer).await;
        let log = |error: &HeaderError| tracing::debug!(%peer, %error, "a connection was closed");
        match named.inspect_err(log) {
            Ok(peer) => Some(peer),
            Err(HeaderError::Ended(_)) => None,
            Err(HeaderError::Late | HeaderError::Invalid(_)) => {
                self.admission.count_wrong_header();
                None
            }
        }
    }

    /// Counts a connection for its peer, unless that has too many. Many clients come by a proxy or
    /// a Unix socket.
    fn count(&self, peer: PeerAddress, guard: &mut ConnectionGuard) -> bool {
        let address = peer.ip();
        let (is_proxy, at_most) = self.routes.limits(|limits| {
            let at_most = limits.max_per_address.map_or(usize::MAX, NonZeroUsize::get);
            (limits.proxy.trusted.contain(address), at_most)
        });
        let counted = address.filter(|_| !is_proxy);
        counted.is_none_or(|address| {
            let address = ClientAddress::of(Some(address));
            self.admission.count(guard, address, at_most)
        })
    }

    async fn open(
        &self,
        io: Io,
        peer: PeerAddress,
        task: Option<AbortHandle>,
    ) -> Option<OpenedConnection> {
        let opened = opening::open(io, peer, task, self).await;
        let log = |error: &io::Error| tracing::debug!(%peer, %error, "a connection was not opened");
        opened.inspect_err(log).ok()
    }

    /// Answers a connection over the limit of all.
    async fn refuse(self: Arc<Self>, mut io: Io, peer: PeerAddress, _guard: RefusalGuard) {
        if let Some(peer) = self.peer_behind(&mut io, peer).await {
            self.answer_that_there_are_too_many(io, peer, OF_ALL).await;
        }
    }

    async fn answer_that_there_are_too_many(&self, io: Io, peer: PeerAddress, refusal: &str) {
        let Some(OpenedConnection { mut io, .. }) = self.open(io, peer, None).await else {
            return;
        };
        let answer = transport::bare_refusal(&Error::new(ErrorKind::Busy, refusal));

        // It fits into the socket's buffer, so it does not wait for its peer.
        if io.write_all(&answer).await.is_ok() {
            linger::close(&mut io, limits::REFUSAL_BYTES).await;
        }
    }

    /// The guard lives here until the connection ends, or is upgraded and takes it along.
    async fn serve_by_hyper(
        self: Arc<Self>,
        opened: OpenedConnection,
        first: Bytes,
        _guard: ConnectionGuard,
    ) {
        let OpenedConnection { io, info } = opened;
        let peer = info.peer;
        if let Err(error) = ByHyper::new(self, info).serve(io, first).await {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

const OF_ALL: &str = "connection limit reached (limits.max_connections); retry shortly";
const OF_ADDRESS: &str = "this address has as many connections as it may \
    (limits.max_connections_per_address); close some, or retry shortly";

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does not hold of a connection that waits, but for the routes' answer.
    const MOST_BYTES: usize = 512;

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_takes_little() {
        type Parts = (
            Arc<ConnectionContext>,
            Io,
            PeerAddress,
            ConnectionGuard,
            OwnTask,
        );
        let serve = |(context, io, peer, guard, task): Parts| context.serve(io, peer, guard, task);
        let bytes = size_of_future(serve);
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    }
}
