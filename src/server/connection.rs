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

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::by_hyper::ByHyper;
use super::guard::{Admission, Admitted, ConnectionGuard, RefusalGuard};
use super::io::Io;
use super::lean::{LeanHttp1, LeanOutcome};
use super::linger;
use super::listener::Listener;
use super::opening::{self, OpenedConnection};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::memory::MemoryBudget;
use crate::tls::LiveTls;
use crate::transport::{self, PeerAddress, Routes};

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
    pub(super) fn at(&self, listener: &Listener) -> Self {
        let mut here = self.clone();
        here.routes = here.routes.at(&listener.address);
        here.tls = here.tls.filter(|_| listener.is_encrypted);
        here
    }

    /// Serves a connection that has come, on a task of its own.
    pub(super) fn begin(self: &Arc<Self>, io: Io, peer: PeerAddress) {
        // Read anew for each connection, so that a new limit holds from now on.
        let at_most = self.routes.limits(|limits| limits.max_connections);
        let is_late = self.draining.is_cancelled();
        match self.admission.admit(at_most, is_late) {
            Admitted::Served(guard) => drop(tokio::spawn(self.clone().serve(io, peer, guard))),
            Admitted::Refused(guard) => {
                drop(tokio::spawn(self.clone().refuse(io, peer, guard)));
            }
            Admitted::Dropped => {}
        }
    }

    async fn serve(self: Arc<Self>, io: Io, peer: PeerAddress, guard: ConnectionGuard) {
        // Most connections stay with the lean driver for life; the rest is boxed, so that they do
        // not pay for it.
        let opened = match Box::pin(opening::open(io, peer, &self)).await {
            Ok(opened) => opened,
            Err(error) => return tracing::debug!(%peer, %error, "a connection was not opened"),
        };
        if opened.io.is_http2() {
            return Box::pin(self.serve_by_hyper(opened, Bytes::new(), guard)).await;
        }
        let mut lean = LeanHttp1::new(opened);
        if let LeanOutcome::HandOverToHyper(first) = lean.serve(&self).await {
            Box::pin(self.serve_by_hyper(lean.into_opened(), first, guard)).await;
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

    /// Answers a connection that there are too many.
    async fn refuse(self: Arc<Self>, io: Io, peer: PeerAddress, _guard: RefusalGuard) {
        // Only an encrypted answer can be read where its peer expects one.
        let Ok(OpenedConnection { mut io, .. }) = opening::open(io, peer, &self).await else {
            return;
        };
        let refusal = "connection limit reached (limits.max_connections); retry shortly";
        let answer = transport::bare_refusal(&Error::new(ErrorKind::Busy, refusal));

        // It fits into the socket's buffer, so it does not wait for its peer.
        if io.write_all(&answer).await.is_ok() {
            linger::close(&mut io, limits::REFUSAL_BYTES).await;
        }
    }
}

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
        type Parts = (Arc<ConnectionContext>, Io, PeerAddress, ConnectionGuard);
        let serve = |(context, io, peer, guard): Parts| context.serve(io, peer, guard);
        let bytes = size_of_future(serve);
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    }
}
