//! Connections that hyper drives: all of HTTP/2, and what of HTTP/1.1 the lean driver hands over.
//!
//! Invariants:
//! - nothing is waited for without a bound: a first request, a head, a next request, a peer that
//!   takes nothing;
//! - a connection is asked to end once the gateway drains, and a request that has come is answered
//!   first.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, Request, Version, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::time::timeout;

use super::connection::ConnectionContext;
use super::corked::Corked;
use super::head;
use super::in_flight::{InFlight, InFlightBody};
use super::io::{Io, TimedIo, timed};
use super::layered::Layered;
use super::lean::last_moment;
use super::protocol::{Protocol, sniff};
use super::requests::Requests;
use super::rewind::Rewind;
use super::streams::{FlowingBody, Streams};
use crate::limits;
use crate::transport::{ConnectionInfo, ConnectionLimits};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A connection that hyper drives.
pub(super) struct ByHyper {
    context: Arc<ConnectionContext>,
    info: Arc<ConnectionInfo>,
    limits: ConnectionLimits,
    in_flight: InFlight,
}

impl ByHyper {
    pub(super) fn new(context: Arc<ConnectionContext>, info: Arc<ConnectionInfo>) -> Self {
        ByHyper {
            limits: context.routes.limits(ConnectionLimits::clone),
            context,
            info,
            in_flight: InFlight::default(),
        }
    }

    /// Serves a stream of which these bytes were read already.
    pub(super) async fn serve(&self, mut io: Io, mut first: Bytes) -> io::Result<()> {
        let sniffing = timeout(limits::HEADER_TIMEOUT, sniff(&mut io, &mut first));
        let protocol = tokio::select! {
            biased; // what has come is answered, also while the gateway drains
            protocol = sniffing => protocol??,
            () = last_moment(&self.context.draining, false) => return Ok(()),
        };

        // hyper itself waits without a bound for a peer that takes nothing.
        let io = timed(io, self.limits.write_timeout);
        let served = match protocol {
            Protocol::Http1 => self.serve_http1(first, io).await,
            Protocol::Http2 => self.serve_http2(first, io).await,
        };
        served.map_err(io::Error::other)
    }

    async fn serve_http1(&self, first: Bytes, io: TimedIo) -> hyper::Result<()> {
        // Between hyper and the stream: where each request begins, and when its peer ends.
        let peer = self.info.watch_peer().clone();
        let requests = Requests::new(first, peer, self.in_flight.clone());
        let io = TokioIo::new(Layered::new(requests, io));
        let service = service_fn(|request| self.answer_http1(request));
        let connection = self.http1_builder().serve_connection(io, service);
        self.drive(connection, self.is_to_go()).await
    }

    /// HTTP/1.1 within the bounds of the gateway.
    fn http1_builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .keep_alive(!self.context.draining.is_cancelled())
            // `Requests` bounds a head that has begun.
            .header_read_timeout(self.limits.keep_alive.timeout)
            .max_buf_size(limits::MAX_HEAD_BYTES);
        builder
    }

    /// Begins to answer a request of HTTP/1.1.
    fn answer_http1(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = InFlightAnswer> + use<> {
        let routes = self.context.routes.current();
        let is_kept = keeps_alive(&request) && !self.context.draining.is_cancelled();
        let hint = is_kept.then(|| routes.limits().keep_alive.hint.clone());

        // Counted before it is polled, so that the next head waits for it.
        let one = self.in_flight.begin();
        let answer = routes.answer(Box::new(request), self.info.clone());
        async move {
            let answer = with_hint(answer.await?, hint);
            Ok(answer.map(|body| InFlightBody::new(body, one)))
        }
    }

    async fn serve_http2(&self, first: Bytes, io: TimedIo) -> hyper::Result<()> {
        // What was read to find the protocol is read once more; what is written goes out together.
        let io = TokioIo::new(Corked::new(Layered::new(Rewind(first), io)));
        let streams = Streams::new(&self.context.memory, self.limits.write_timeout, &self.info);
        let builder = http2_builder(streams.clone());
        let service = service_fn(|request| self.answer_http2(request, &streams));
        let connection = builder.serve_connection(io, service);
        self.drive(connection, self.is_idle_or_to_go()).await
    }

    /// Begins to answer a request of HTTP/2.
    fn answer_http2(
        &self,
        request: Request<Incoming>,
        streams: &Streams,
    ) -> impl Future<Output = Result<Response<InFlightBody<FlowingBody>>, Infallible>> + use<> {
        // Followed from here on: with a window of zero its body is never asked for anything.
        let watch = streams.begin();
        let one = self.in_flight.begin();
        let answer = self.context.routes.answer(request, self.info.clone());
        async move {
            let answer = answer.await?.map(watch);
            Ok(answer.map(|body| InFlightBody::new(body, one)))
        }
    }

    /// Drives a connection of hyper's to its end, which it is asked for by `to_go`.
    ///
    /// The ends of small answers may lie in a connection of HTTP/2 for ever, because its peer opens
    /// no window for them: it is given up when it has had no request since for the write timeout.
    async fn drive<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        connection: C,
        to_go: impl Future<Output = ()>,
    ) -> hyper::Result<()> {
        let mut connection = pin!(connection);
        tokio::select! {
            biased; // a request that has come is read before the connection is asked to end
            served = connection.as_mut() => return self.noted(served),
            () = to_go => connection.as_mut().graceful_shutdown(),
        }

        // What is being answered is answered to its end.
        tokio::select! {
            served = connection => self.noted(served),
            () = self.in_flight.idle(self.limits.write_timeout) => Ok(()),
        }
    }

    /// Takes note of why a connection has ended, before its answers are dropped.
    fn noted(&self, served: hyper::Result<()>) -> hyper::Result<()> {
        let cause = served.as_ref().err().and_then(|error| error.source());
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
            self.info.note_failed_write(error);
        }
        served
    }

    /// Ready when no stream has been open for as long as a connection is kept, or it is to go.
    async fn is_idle_or_to_go(&self) {
        tokio::select! {
            () = self.in_flight.idle(self.limits.keep_alive.timeout) => {}
            () = self.is_to_go() => {}
        }
    }

    /// Ready when the gateway drains and a connection has asked for something, or has had its time
    /// to.
    async fn is_to_go(&self) {
        self.context.draining.cancelled().await;
        // Its first request may be on its way.
        let _ = timeout(limits::DRAIN_FIRST_REQUEST, self.in_flight.first()).await;
    }
}

/// An answer, counted as in flight until its body is gone.
type InFlightAnswer = Result<Response<InFlightBody<axum::body::Body>>, Infallible>;

/// HTTP/2 within the bounds of the gateway.
fn http2_builder(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        // A peer that is gone without a word.
        .keep_alive_interval(limits::H2_KEEPALIVE)
        .keep_alive_timeout(limits::H2_KEEPALIVE_TIMEOUT)
        // What one connection may ask for, and how fast it may change its mind.
        .max_concurrent_streams(limits::MAX_H2_STREAMS)
        .max_pending_accept_reset_streams(limits::MAX_H2_RESETS)
        .max_local_error_reset_streams(limits::MAX_H2_RESETS)
        // What it may make the gateway hold.
        .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits::MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}

fn with_hint(mut answer: Response, hint: Option<HeaderValue>) -> Response {
    if let Some(hint) = hint {
        answer.headers_mut().insert(KEEP_ALIVE, hint);
    }
    answer
}

/// Does this request leave its connection open?
fn keeps_alive<B>(request: &Request<B>) -> bool {
    let says = |token| head::has_token(request.headers(), &header::CONNECTION, token);
    // HTTP/1.0 closes unless it is asked not to (RFC 9112 §9.3).
    match request.version() {
        Version::HTTP_11 => !says("close"),
        _ => says("keep-alive"),
    }
}
