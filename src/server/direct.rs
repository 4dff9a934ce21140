//! Connections of pages that wait: the same routes answer, but nothing is kept while nothing comes.
//!
//! An event stream or a waiting long-poll costs 14 KB under hyper, most of it the read buffer of 8
//! KiB that each of its connections keeps for life. Here a connection is its socket, its task and
//! what the routes' answer holds.
//!
//! Invariants:
//! - what the routes answer is written as it is; only the framing is made here;
//! - a peer that sends no more is answered, only not waited for any longer ([`Peer`]); one that has
//!   reset the connection is given up, and one that takes nothing for the write timeout is cut;
//! - whoever has not asked for anything yet may still do so while the gateway drains;
//! - what comes behind a request is kept, up to about [`READ_BYTES`], and read next; the rest stays
//!   with the kernel, so that a connection that waits cannot be made to hold much;
//! - a request that is not for here goes to hyper, with the connection and every byte of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderValue, Method};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::head::{self, Framing, Head};
use super::linger;
use super::outgoing::Outgoing;
use crate::limits;
use crate::memory::MemoryBudget;
use crate::transport::{Peer, Routes};

/// Bytes of one read of a request head; most are smaller.
const READ_BYTES: usize = 4096;

/// A connection that is driven here.
pub(super) struct Direct {
    stream: TcpStream,
    outgoing: Outgoing,
    /// Read, and not looked at yet.
    early: Vec<u8>,
    /// Made when it first waits for events.
    peer: Option<Peer>,
    /// It sends no more.
    is_half_closed: bool,
    /// Something has been asked on this connection.
    has_asked: bool,
}

/// What a connection comes to.
pub(super) enum Outcome {
    /// It has ended.
    Ended,
    /// What comes next is for hyper, beginning with these bytes.
    NotForHere(TcpStream, Bytes),
}

/// What is the same for all connections of a listener.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) memory: MemoryBudget,
    pub(super) write_timeout: Duration,
    pub(super) keep_alive: KeepAlive,
    pub(super) draining: CancellationToken,
}

/// How long a connection is kept that nothing happens on.
#[derive(Clone)]
pub(super) struct KeepAlive {
    pub(super) timeout: Duration,
    /// What clients are told of it, as the value of `Keep-Alive`.
    pub(super) hint: HeaderValue,
}

impl KeepAlive {
    pub(super) fn new(timeout: Duration) -> Self {
        let hint = format!("timeout={}", timeout.as_secs());
        KeepAlive {
            timeout: timeout + limits::KEEP_ALIVE_SLACK,
            hint: HeaderValue::try_from(hint).expect("digits"),
        }
    }
}

enum Next {
    Request(Box<Head>),
    NotForHere(Bytes),
    Gone,
}

/// What one request comes to.
enum Answered {
    /// This body is to be sent; then the connection may stay open.
    Body(AnswerBody, bool),
    NotForHere(Bytes),
    Gone,
}

impl Direct {
    pub(super) fn new(stream: TcpStream) -> Self {
        Direct {
            stream,
            outgoing: Outgoing::default(),
            early: Vec::new(),
            peer: None,
            is_half_closed: false,
            has_asked: false,
        }
    }

    /// Answers requests until one of them is not for here, or the connection ends.
    pub(super) async fn serve(mut self, shared: &Shared) -> Outcome {
        loop {
            // Boxed, so that a stream that waits has no room for its request.
            match Box::pin(self.answer_next(shared)).await {
                Answered::Body(body, keep_alive) => {
                    if self.send(body, shared).await.is_err() {
                        return Outcome::Ended;
                    }
                    if !keep_alive {
                        // Boxed, so that a stream that waits has no room for it.
                        Box::pin(linger::close(self.stream, limits::LINGER_BYTES)).await;
                        return Outcome::Ended;
                    }
                }
                Answered::NotForHere(bytes) => return Outcome::NotForHere(self.stream, bytes),
                Answered::Gone => return Outcome::Ended,
            }
        }
    }

    async fn answer_next(&mut self, shared: &Shared) -> Answered {
        match self.next(shared).await {
            Next::Request(head) => match Box::pin(self.answer(head, shared)).await {
                Some((body, keep_alive)) => Answered::Body(body, keep_alive),
                None => Answered::Gone,
            },
            Next::NotForHere(bytes) => Answered::NotForHere(bytes),
            Next::Gone => Answered::Gone,
        }
    }

    /// Reads what comes next.
    async fn next(&mut self, shared: &Shared) -> Next {
        if self.early.is_empty() && !self.begins(shared).await {
            return Next::Gone;
        }
        self.has_asked = true;
        let bytes = head::mend_target(std::mem::take(&mut self.early).into());
        match head::parse(&bytes, |method, path| {
            shared.routes.is_frequent(method, path)
        }) {
            Some(head) => {
                self.early.extend_from_slice(&bytes[head.length..]);
                Next::Request(Box::new(head))
            }
            None => Next::NotForHere(bytes),
        }
    }

    /// Waits for the first bytes of a request: on a new connection for as long as for a head, and
    /// on one that has been answered for as long as it is kept.
    async fn begins(&mut self, shared: &Shared) -> bool {
        let (has_asked, draining) = (self.has_asked, &shared.draining);
        let patience = if has_asked {
            shared.keep_alive.timeout
        } else {
            limits::HEADER_TIMEOUT
        };
        let begun = std::future::poll_fn(|context| self.poll_early(context));
        tokio::select! {
            biased;
            begun = timeout(patience, begun) => matches!(begun, Ok(Ok(()))),
            () = last_moment(draining, has_asked) => false,
        }
    }

    /// Has the routes answer, and puts the head of the answer into the way out. None when the peer
    /// has left.
    async fn answer(&mut self, head: Box<Head>, shared: &Shared) -> Option<(AnswerBody, bool)> {
        let Head {
            mut request,
            keep_alive,
            ..
        } = *head;
        // Only what waits for events looks for a peer that leaves; an event is published whoever is
        // there to be told.
        let may_wait = *request.method() == Method::GET;
        if may_wait {
            let peer = self.peer.get_or_insert_default().clone();
            request.extensions_mut().insert(peer);
        }
        let mut answer = std::pin::pin!(shared.routes.answer(request));
        let answer = std::future::poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Some(answer)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending if may_wait => self.poll_gone(context).map(|()| None),
            Poll::Pending => Poll::Pending,
        });
        let (parts, body) = answer.await?.into_parts();
        let keep_alive = keep_alive && !shared.draining.is_cancelled();
        let framing = body
            .size_hint()
            .exact()
            .map_or(Framing::Chunked, Framing::Length);
        self.outgoing.begin(
            head::render(
                &parts,
                framing,
                keep_alive.then_some(&shared.keep_alive.hint),
            ),
            framing == Framing::Chunked,
        );
        Some((AnswerBody(body), keep_alive))
    }

    /// Sends a body to its end.
    ///
    /// # Errors
    /// When the connection or the body broke off; the peer notices, for the body's end has not been
    /// told.
    async fn send(&mut self, mut body: AnswerBody, shared: &Shared) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_send(&mut body, shared, context)).await
    }

    fn poll_send(
        &mut self,
        body: &mut AnswerBody,
        shared: &Shared,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(
                self.outgoing
                    .poll_flush(&self.stream, shared.write_timeout, context)
            )?;
            if self.outgoing.is_done() {
                return Poll::Ready(Ok(()));
            }
            let next = || body.poll(context);
            if self.outgoing.pump(&self.stream, &shared.memory, next)? {
                return self
                    .poll_gone(context)
                    .map(|()| Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
    }

    /// Ready when the connection is broken. What the peer sends meanwhile is kept for later, and the
    /// end of it is told to who waits.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.early.len() < READ_BYTES && !self.is_half_closed {
            match ready!(self.poll_early(context)) {
                Ok(()) => {}
                Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_half_closed = true;
                    if let Some(peer) = &self.peer {
                        peer.end();
                    }
                }
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending // heartbeats still tell whether it is there
    }

    /// Reads something, if there is something. An end is an error.
    fn poll_early(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let mut bytes = [0; READ_BYTES];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.early.extend_from_slice(&bytes[..count]);
                    return Poll::Ready(Ok(()));
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }
}

/// Until a connection that has not begun a request is closed for the drain's sake: at once, unless
/// it has not asked for anything yet.
async fn last_moment(draining: &CancellationToken, has_asked: bool) {
    draining.cancelled().await;
    if !has_asked {
        tokio::time::sleep(limits::DRAIN_FIRST_REQUEST).await;
    }
}

/// A body, frame by frame.
struct AnswerBody(Body);

impl AnswerBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_) => {} // trailers are for gRPC
                },
                Some(Err(fault)) => return Poll::Ready(Some(Err(io::Error::other(fault)))),
                None => return Poll::Ready(None),
            }
        }
    }
}
