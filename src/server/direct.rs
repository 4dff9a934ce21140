//! Connections of pages that wait: the same routes answer, but nothing is kept while nothing comes.
//!
//! An event stream or a waiting long-poll costs 14 KB under hyper, most of it the read buffer of 8
//! KiB that each of its connections keeps for life. Here a connection is its socket, its task and
//! what the routes' answer holds.
//!
//! Invariants:
//! - what the routes answer is written as it is; only the framing is made here;
//! - an answer is given up when its peer leaves, and a peer that takes nothing for the write
//!   timeout is cut;
//! - what comes behind a request is kept, up to about [`READ_BYTES`], and read next; the rest stays
//!   with the kernel, so that a connection that waits cannot be made to hold much;
//! - a request that is not for here goes to hyper, with the connection and every byte of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::head::{self, Framing, Head};
use super::outgoing::Outgoing;
use crate::limits;
use crate::memory::MemoryBudget;
use crate::transport::Routes;

/// Bytes of one read of a request head; most are smaller.
const READ_BYTES: usize = 4096;

/// A connection that is driven here.
pub(super) struct Direct {
    stream: TcpStream,
    outgoing: Outgoing,
    /// Read, and not looked at yet.
    early: Vec<u8>,
}

/// What a connection comes to.
pub(super) enum Outcome {
    /// It has ended.
    Ended,
    /// What comes next is for hyper, beginning with these bytes.
    NotForHere(TcpStream, Bytes),
}

/// What is the same for all connections.
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) memory: MemoryBudget,
    pub(super) write_timeout: Duration,
    pub(super) draining: CancellationToken,
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
        }
    }

    /// Answers requests until one of them is not for here, or the connection ends.
    pub(super) async fn serve(mut self, shared: &Shared) -> Outcome {
        loop {
            // Boxed, so that a stream that waits has no room for its request.
            match Box::pin(self.answer_next(shared)).await {
                Answered::Body(body, keep_alive) => {
                    if self.send(body, shared).await.is_err() || !keep_alive {
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

    /// Reads what comes next. Whatever it is, it has to begin within the time for a head.
    async fn next(&mut self, shared: &Shared) -> Next {
        if self.early.is_empty() {
            let begun = std::future::poll_fn(|context| self.poll_early(context));
            let begun = timeout(limits::HEADER_TIMEOUT, begun);
            tokio::select! {
                biased;
                begun = begun => if !matches!(begun, Ok(Ok(()))) {
                    return Next::Gone;
                },
                () = shared.draining.cancelled() => return Next::Gone,
            }
        }
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

    /// Has the routes answer, and puts the head of the answer into the way out. None when the peer
    /// has left.
    async fn answer(&mut self, head: Box<Head>, shared: &Shared) -> Option<(AnswerBody, bool)> {
        let Head {
            request,
            keep_alive,
            ..
        } = *head;
        let mut answer = std::pin::pin!(shared.routes.answer(request));
        let answer = std::future::poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Some(answer)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => self.poll_gone(context).map(|()| None),
        });
        let (parts, body) = answer.await?.into_parts();
        let keep_alive = keep_alive && !shared.draining.is_cancelled();
        let framing = body
            .size_hint()
            .exact()
            .map_or(Framing::Chunked, Framing::Length);
        self.outgoing.begin(
            head::render(&parts, framing, keep_alive),
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

    /// Ready when the peer has left. What it sends instead is kept for later.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.early.len() < READ_BYTES {
            if ready!(self.poll_early(context)).is_err() {
                return Poll::Ready(());
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
