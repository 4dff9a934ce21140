//! One connection, from its first byte to its end.
//!
//! Invariants:
//! - a connection is bounded in what it may hold, and in how long it may send nothing or take
//!   nothing;
//! - whatever has been asked is answered, also while the gateway drains and to a peer that sends no
//!   more, and the last answer is let arrive;
//! - hyper drives all connections but those of pages that wait, which [`direct`] holds for far less
//!   memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::http::{HeaderName, Request, Version, header};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::task::TaskTracker;

use super::corked::Corked;
use super::direct::{self, Direct, Outcome};
use super::in_flight::{InFlight, InFlightBody};
use super::protocol::{Protocol, sniff};
use super::replayed::Replayed;
use super::requests::Requests;
use super::streams::Streams;
use super::{head, linger};
use crate::bus::Bus;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::transport::{self, Peer};

/// What every connection of a listener needs.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) bus: Bus,
    pub(super) shared: direct::Shared,
    pub(super) permits: Arc<Semaphore>,
    /// For those over the bound of connections.
    pub(super) refusals: Arc<Semaphore>,
    pub(super) tracker: TaskTracker,
    /// Those that have come while the gateway drains: it does not wait for them as long.
    pub(super) late: TaskTracker,
}

impl Connections {
    /// The same for what is accepted at an address.
    pub(super) fn at(&self, address: Option<SocketAddr>) -> Self {
        let mut here = self.clone();
        if let Some(address) = address {
            here.shared.routes = here.shared.routes.at(address.ip());
        }
        here
    }

    /// Serves a connection that has been accepted, on a task of its own.
    pub(super) fn begin(self: &Arc<Self>, stream: TcpStream) {
        let is_late = self.shared.draining.is_cancelled();
        let tracker = if is_late { &self.late } else { &self.tracker };
        tracker.spawn(self.clone().serve(stream));
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let Ok(_permit) = self.permits.clone().try_acquire_owned() else {
            return Box::pin(self.refuse(stream)).await;
        };
        let _ = stream.set_nodelay(true);
        // A peer that acknowledges nothing for this long is gone, whatever is in the socket's
        // buffer.
        let socket = socket2::SockRef::from(&stream);
        let _ = socket.set_tcp_user_timeout(Some(self.shared.write_timeout));
        // An answer that the kernel took whole would look as if its peer had taken it.
        let _ = socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES);
        let _counted = Counted::new(&self.bus);
        if let Outcome::NotForHere(stream, bytes) = Direct::new(stream).serve(&self.shared).await {
            // Boxed, so that a connection that waits for events has no room for this.
            Box::pin(self.serve_by_hyper(stream, bytes)).await;
        }
    }

    /// Tells a connection that there are too many, if not too many are being told.
    async fn refuse(&self, mut stream: TcpStream) {
        let Ok(_permit) = self.refusals.try_acquire() else {
            return;
        };
        let refusal =
            "as many connections are open as may be (limits.max_connections); try again shortly";
        let answer = transport::bare_refusal(&Error::new(ErrorKind::Busy, refusal));
        // It fits into the socket's buffer, so it does not wait for its peer.
        if stream.write_all(&answer).await.is_ok() {
            linger::close(stream, limits::REFUSAL_BYTES).await;
        }
    }

    async fn serve_by_hyper(&self, stream: TcpStream, mut first: Bytes) {
        let Ok(Ok(protocol)) = timeout(limits::HEADER_TIMEOUT, sniff(&stream, &mut first)).await
        else {
            return;
        };
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.shared.write_timeout));
        let stream = Box::pin(stream);
        let served = match protocol {
            Protocol::Http1 => self.serve_http1(first, stream).await,
            Protocol::Http2 => {
                let stream = Replayed::new(first, stream);
                self.serve_http2(TokioIo::new(Corked::new(stream))).await
            }
        };
        if let Err(fault) = served {
            tracing::debug!(%fault, "a connection ended early");
        }
    }

    async fn serve_http1(&self, first: Bytes, stream: Stream) -> hyper::Result<()> {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .keep_alive(!self.shared.draining.is_cancelled())
            .header_read_timeout(self.shared.keep_alive.timeout) // `Requests` bounds a head that has begun
            .max_buf_size(limits::MAX_HEAD_BYTES);
        let (peer, in_flight, shared) = (Peer::default(), InFlight::default(), self.shared.clone());
        let requests = Requests::new(first, stream, peer.clone(), in_flight.clone());
        let counted = in_flight.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let hint = (keeps_alive(&request) && !shared.draining.is_cancelled())
                .then(|| shared.keep_alive.hint.clone());
            let (one, answer) = (counted.begin(), shared.routes.answer(request));
            async move {
                let mut answer = answer.await?;
                if let Some(hint) = hint {
                    answer.headers_mut().insert(KEEP_ALIVE, hint);
                }
                Ok::<_, Infallible>(answer.map(|body| InFlightBody::new(body, one)))
            }
        });
        let connection = builder.serve_connection(TokioIo::new(requests), service);
        self.drive(connection, self.is_to_go(&in_flight), &in_flight)
            .await
    }

    /// Drives a connection of hyper's to its end, which it is asked for by `to_go`.
    ///
    /// The ends of small answers may lie in a connection of HTTP/2 for ever, because its peer opens
    /// no window for them: it is given up when it has had no request since for the write timeout.
    async fn drive<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        connection: C,
        to_go: impl Future<Output = ()>,
        in_flight: &InFlight,
    ) -> hyper::Result<()> {
        let mut connection = pin!(connection);
        tokio::select! {
            biased; // a request that has come is read before the connection is asked to end
            served = connection.as_mut() => return served,
            () = to_go => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            served = connection => served,
            () = in_flight.idle(self.shared.write_timeout) => Ok(()),
        }
    }

    /// Ready when the gateway drains and a connection has asked for something, or has had its time
    /// to.
    async fn is_to_go(&self, in_flight: &InFlight) {
        self.shared.draining.cancelled().await;
        let _ = timeout(limits::DRAIN_FIRST_REQUEST, in_flight.first()).await;
    }

    async fn serve_http2(&self, io: TokioIo<Corked<Replayed<Stream>>>) -> hyper::Result<()> {
        let streams = Streams::new(self.bus.memory(), self.shared.write_timeout);
        let mut builder = hyper::server::conn::http2::Builder::new(streams.clone());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(limits::H2_KEEPALIVE)
            .keep_alive_timeout(limits::H2_KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(limits::MAX_H2_STREAMS)
            .max_pending_accept_reset_streams(limits::MAX_H2_RESETS)
            .max_local_error_reset_streams(limits::MAX_H2_RESETS)
            .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(limits::MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let (in_flight, routes) = (InFlight::default(), self.shared.routes.clone());
        let counted = in_flight.clone();
        let service = service_fn(move |request| {
            let watch = streams.begin();
            let (one, answer) = (counted.begin(), routes.answer(request));
            async move {
                let answer = answer.await?.map(watch);
                Ok::<_, Infallible>(answer.map(|body| InFlightBody::new(body, one)))
            }
        });
        let to_go = async {
            tokio::select! {
                () = in_flight.idle(self.shared.keep_alive.timeout) => {}
                () = self.is_to_go(&in_flight) => {}
            }
        };
        self.drive(builder.serve_connection(io, service), to_go, &in_flight)
            .await
    }
}

/// A socket, and the time that it may take nothing.
type Stream = Pin<Box<TimeoutWriter<TcpStream>>>;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Does this request leave its connection open?
fn keeps_alive<B>(request: &Request<B>) -> bool {
    let says = |token| head::has_token(request.headers(), &header::CONNECTION, token);
    match request.version() {
        Version::HTTP_11 => !says("close"),
        _ => says("keep-alive"),
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Bus);

impl Counted {
    fn new(bus: &Bus) -> Self {
        bus.metrics().connections.inc();
        Counted(bus.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics().connections.dec();
    }
}
