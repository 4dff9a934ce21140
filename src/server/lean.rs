//! Low-memory HTTP/1.1 driver for SSE, long-poll and plain POSTs; an idle connection holds no
//! buffers.
//!
//! An event stream or a waiting long-poll costs 14 KB under hyper, most of it the read buffer of 8
//! KiB that each of its connections keeps for life. Here a connection is its socket, its task and
//! what the routes' answer holds.
//!
//! Invariants:
//! - what the routes answer is written as it is; only the framing is made here;
//! - a peer that sends no more is answered, only not waited for any longer; one that has
//!   reset the connection is given up, and one that takes nothing for the write timeout is cut;
//! - whoever has not asked for anything yet may still do so while the gateway drains;
//! - what comes behind a request is kept, up to about [`READ_BYTES`], and read next; the rest stays
//!   with the kernel, so that a connection that waits cannot be made to hold much;
//! - a request that is not for this driver goes to hyper, with the connection and every byte of it.
//!
//! What is boxed here is boxed to keep the future of an idle connection small: ARCHITECTURE.md,
//! "Memory per idle reader".

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionContext;
use super::head::{self, AnswerFraming, RequestHead};
use super::io::Io;
use super::linger;
use super::opening::OpenedConnection;
use super::outgoing::{BodyPoll, Outgoing};
use crate::limits;
use crate::transport::{Answering, ConnectionInfo, CurrentRoutes};

/// Bytes of one read of a request head; most are smaller.
const READ_BYTES: usize = 4096;

/// A connection that is driven here.
pub(super) struct LeanHttp1 {
    io: Io,
    info: Arc<ConnectionInfo>,
    outgoing: Outgoing,
    /// Read, and not looked at yet.
    early: Vec<u8>,
    /// It sends no more.
    is_half_closed: bool,
    /// Something has been asked on this connection.
    has_asked: bool,
}

/// How this driver ends with a connection.
pub(super) enum LeanOutcome {
    /// It has ended.
    Ended,
    /// What comes next is for hyper, beginning with these bytes.
    HandOverToHyper(Bytes),
}

/// What comes next on a connection.
enum NextRequest {
    /// A request, and the routes that answer it.
    Lean(RequestHead, CurrentRoutes),
    ForHyper(Bytes),
    None,
}

impl LeanHttp1 {
    pub(super) fn new(OpenedConnection { io, info }: OpenedConnection) -> Self {
        LeanHttp1 {
            io,
            info,
            outgoing: Outgoing::default(),
            early: Vec::new(),
            is_half_closed: false,
            has_asked: false,
        }
    }

    /// Answers requests until one of them is for hyper, or the connection ends.
    pub(super) async fn serve(&mut self, context: &ConnectionContext) -> LeanOutcome {
        // Agreed on in the handshake.
        if self.io.is_http2() {
            return LeanOutcome::HandOverToHyper(Bytes::new());
        }
        loop {
            // What reads a request is gone before that is answered.
            let (head, routes) = match Box::pin(self.next_request(context)).await {
                NextRequest::Lean(head, routes) => (head, routes),
                NextRequest::ForHyper(bytes) => return LeanOutcome::HandOverToHyper(bytes),
                NextRequest::None => return self.end().await,
            };
            let (mut keep_alive, may_wait) = (head.keep_alive, head.may_wait());
            let begun = {
                let mut answer = self.begin(head, routes, may_wait);
                poll_fn(|task| {
                    let keep_alive = &mut keep_alive;
                    self.poll_answer(&mut answer, may_wait, keep_alive, context, task)
                })
                .await
            };
            let Some(body) = begun else {
                return self.end().await;
            };
            // Events are sent here: whatever else a request needed is gone by now.
            if self.send(body, context).await.is_err() {
                return LeanOutcome::Ended;
            }
            // The answer is let arrive before the socket is closed.
            if !keep_alive {
                Box::pin(linger::close(&mut self.io, limits::LINGER_BYTES)).await;
                return LeanOutcome::Ended;
            }
        }
    }

    /// The connection, for another driver.
    pub(super) fn into_opened(self) -> OpenedConnection {
        OpenedConnection {
            io: self.io,
            info: self.info,
        }
    }

    /// The peer has left.
    async fn end(&mut self) -> LeanOutcome {
        Box::pin(self.io.say_end()).await;
        LeanOutcome::Ended
    }

    /// Reads what comes next.
    async fn next_request(&mut self, context: &ConnectionContext) -> NextRequest {
        // It may have come behind the last one already.
        if self.early.is_empty() && !self.begins(context).await {
            return NextRequest::None;
        }
        self.has_asked = true;

        // Taken here, or left to hyper as it came.
        let bytes = head::encode_target(std::mem::take(&mut self.early).into());
        let routes = context.routes.current();
        let is_lean = |method: &Method, path: &str| routes.takes_lean_path(method, path);
        let Some(head) = head::parse(&bytes, is_lean) else {
            return NextRequest::ForHyper(bytes);
        };

        // What was read behind it is the next request's.
        self.early.extend_from_slice(&bytes[head.length..]);
        NextRequest::Lean(head, routes)
    }

    /// Waits for the first bytes of a request.
    async fn begins(&mut self, context: &ConnectionContext) -> bool {
        let (patience, draining) = (self.patience(context), &context.draining);
        let has_asked = self.has_asked;
        // Nothing is held meanwhile but the timer.
        let begun = poll_fn(|task| self.poll_early(task));
        tokio::select! {
            biased; // what has come is answered, also while the gateway drains
            begun = timeout(patience, begun) => matches!(begun, Ok(Ok(()))),
            () = last_moment(draining, has_asked) => false,
        }
    }

    /// A new connection has as long as for a head, one that has been answered as long as it is
    /// kept.
    fn patience(&self, context: &ConnectionContext) -> Duration {
        if self.has_asked {
            context.routes.limits(|limits| limits.keep_alive.timeout)
        } else {
            limits::HEADER_TIMEOUT
        }
    }

    /// Has the routes answer. What comes back holds nothing of this connection.
    fn begin(&self, head: RequestHead, routes: CurrentRoutes, may_wait: bool) -> Answering<Body> {
        // A request that may wait for events notices that its peer leaves. An event is published
        // whoever is there to be answered.
        if may_wait {
            self.info.watch_peer();
        }
        routes.answer(head.request, self.info.clone())
    }

    /// Waits for an answer, and puts its head into the way out. Gives its body; none when the peer
    /// has left a request that may wait. `keep_alive` says whether the connection is kept.
    fn poll_answer(
        &mut self,
        answer: &mut Answering<Body>,
        may_wait: bool,
        keep_alive: &mut bool,
        context: &ConnectionContext,
        task: &mut Context<'_>,
    ) -> Poll<Option<AnswerBody>> {
        let answer = match Pin::new(answer).poll(task) {
            Poll::Ready(Ok(answer)) => answer,
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending if may_wait => return self.poll_gone(task).map(|()| None),
            Poll::Pending => return Poll::Pending,
        };

        // Asked only now, as the gateway may have begun to drain meanwhile.
        *keep_alive &= !context.draining.is_cancelled();
        Poll::Ready(Some(self.begin_answer(answer, *keep_alive, context)))
    }

    /// Puts the head of an answer into the way out, and gives its body.
    fn begin_answer(
        &mut self,
        answer: Response,
        keep_alive: bool,
        context: &ConnectionContext,
    ) -> AnswerBody {
        // A body whose length is known is sent as it is, any other in chunks.
        let (parts, body) = answer.into_parts();
        let length = body.size_hint().exact();
        let framing = length.map_or(AnswerFraming::Chunked, AnswerFraming::Length);
        let head = context.routes.limits(|limits| {
            let hint = keep_alive.then_some(&limits.keep_alive.hint);
            head::render(&parts, framing, hint)
        });
        self.outgoing.begin(head, length.is_none());
        AnswerBody(body)
    }

    /// Sends a body to its end.
    ///
    /// # Errors
    /// When the connection or the body broke off; the peer notices, for the body's end has not been
    /// sent.
    async fn send(&mut self, mut body: AnswerBody, context: &ConnectionContext) -> io::Result<()> {
        poll_fn(|task| self.poll_send(&mut body, context, task)).await
    }

    fn poll_send(
        &mut self,
        body: &mut AnswerBody,
        context: &ConnectionContext,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let write_timeout = || context.routes.limits(|limits| limits.write_timeout);
        let (io, memory) = (&mut self.io, &context.memory);
        loop {
            // No more is taken of the body before the peer has taken what there is.
            if let Err(error) = ready!(self.outgoing.poll_flush(io, task, write_timeout)) {
                self.info.note_failed_write(&error);
                return Poll::Ready(Err(error));
            }
            if self.outgoing.is_done() {
                return Poll::Ready(Ok(()));
            }
            let next = |task: &mut Context<'_>| body.poll(task);
            if self.outgoing.pump(io, memory, task, next)? {
                break;
            }
        }

        // All is written and nothing is there to write: only the peer's end matters now.
        let gone = self.poll_gone(task);
        gone.map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Ready when the connection is broken. What the peer sends meanwhile is kept for later, and
    /// whoever waits is notified of the end of it.
    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<()> {
        // Bounded: what a peer sends while it waits stays with the kernel.
        while self.early.len() < READ_BYTES && !self.is_half_closed {
            match ready!(self.poll_early(task)) {
                Ok(()) => {}
                Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => self.note_end(),
                Err(_) => return Poll::Ready(()),
            }
        }
        // A heartbeat that cannot be written shows whether the peer is there.
        Poll::Pending
    }

    /// The peer sends no more.
    fn note_end(&mut self) {
        self.is_half_closed = true;
        if let Some(peer) = self.info.watched_peer.get() {
            peer.end();
        }
    }

    /// Reads something, if there is something. An end is an error.
    fn poll_early(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.io.poll_readable(task))?;

        // On the stack, so that nothing is held while nothing comes.
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(task, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.early.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(()))
    }
}

/// Until a connection that has not begun a request is closed for the drain's sake: at once, unless
/// it has not asked for anything yet.
pub(super) async fn last_moment(draining: &CancellationToken, has_asked: bool) {
    draining.cancelled().await;
    // Its first request may be on its way.
    if !has_asked {
        tokio::time::sleep(limits::DRAIN_FIRST_REQUEST).await;
    }
}

/// A body, piece by piece.
struct AnswerBody(Body);

impl AnswerBody {
    fn poll(&mut self, context: &mut Context<'_>) -> BodyPoll {
        loop {
            let frame = match ready!(Pin::new(&mut self.0).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => return Poll::Ready(None),
            };
            // Trailers are for gRPC, which is not driven here.
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                _ => {}
            }
        }
    }
}
