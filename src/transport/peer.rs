//! Has the other side of a connection ended?
//!
//! The end of what a client sends is all that is seen of its leaving, and all that is seen of a
//! client that has asked and sends no more (`nc -N`). Only its next answer would distinguish them.
//! So nothing is given up for it: what waits for events waits no longer, and is answered with what
//! it has. Invariant: only a wait at the live end looks for it; whatever is being read or written
//! is finished.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use futures_util::task::AtomicWaker;

use super::connection_info::ConnectionInfo;
use crate::bus::Step;
use crate::error::Result;

/// The other side of a connection that answers one request after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer(Arc<Sending>);

#[derive(Debug, Default)]
struct Sending {
    has_ended: AtomicBool,
    waiting: AtomicWaker,
}

impl Peer {
    /// It sends no more.
    pub(crate) fn end(&self) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Acquire)
    }

    fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        // Registered first, so that an end between the two is not missed.
        self.0.waiting.register(context.waker());
        if self.has_ended() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The peer of a request, for what waits for events. A stream of HTTP/2 has none: it is reset when
/// its reader leaves.
#[derive(Clone)]
pub(super) struct PeerWatch {
    pub(super) peer: Option<Peer>,
    /// None in tests, which have no connection.
    pub(super) connection: Option<Arc<ConnectionInfo>>,
}

impl<S: Sync> FromRequestParts<S> for PeerWatch {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> std::result::Result<Self, Self::Rejection> {
        Ok(PeerWatch::of(&parts.extensions))
    }
}

impl PeerWatch {
    pub(super) fn of(extensions: &Extensions) -> Self {
        let connection = extensions.get::<Arc<ConnectionInfo>>();
        connection.map_or_else(Self::that_stays, Self::on)
    }

    /// That of a request that has come by this connection.
    pub(super) fn on(connection: &Arc<ConnectionInfo>) -> Self {
        PeerWatch {
            peer: connection.watched_peer.get().cloned(),
            connection: Some(connection.clone()),
        }
    }

    /// One that is always there.
    pub(super) fn that_stays() -> Self {
        PeerWatch {
            peer: None,
            connection: None,
        }
    }
}

/// Polls for a subscription's next step; none when it waits at the live end and its peer has ended.
/// `is_live` is asked before the step is.
pub(super) fn poll_step<F>(
    peer: Option<&Peer>,
    next: Pin<&mut F>,
    is_live: bool,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Step>>>
where
    F: Future<Output = Result<Option<Step>>>,
{
    match (next.poll(context), peer) {
        // Whatever is being read is finished; only the wait is cut short.
        (Poll::Pending, Some(peer)) if is_live => peer.poll_ended(context).map(|()| Ok(None)),
        (step, _) => step,
    }
}
