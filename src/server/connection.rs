//! One connection, from its first byte to its end.
//!
//! Invariants:
//! - a connection is bounded in what it may hold, and in how long it may send nothing or take
//!   nothing;
//! - hyper drives all connections but those of pages that wait, which [`direct`] holds for far less
//!   memory.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::task::TaskTracker;

use super::corked::Corked;
use super::direct::{self, Direct, Outcome};
use super::protocol::{Protocol, sniff};
use super::replayed::Replayed;
use crate::bus::Bus;
use crate::error::{Error, Kind};
use crate::limits;
use crate::transport;

/// What every connection needs.
pub(super) struct Connections {
    pub(super) bus: Bus,
    pub(super) shared: direct::Shared,
    pub(super) permits: Arc<Semaphore>,
    pub(super) tracker: TaskTracker,
}

impl Connections {
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream) {
        let Ok(_permit) = self.permits.clone().try_acquire_owned() else {
            return refuse(stream).await;
        };
        let _ = stream.set_nodelay(true);
        // A peer that acknowledges nothing for this long is gone, whatever is in the socket's
        // buffer.
        let _ =
            socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(self.shared.write_timeout));
        let _counted = Counted::new(&self.bus);
        if let Outcome::NotForHere(stream, bytes) = Direct::new(stream).serve(&self.shared).await {
            // Boxed, so that a connection that waits for events has no room for this.
            Box::pin(self.serve_by_hyper(stream, bytes)).await;
        }
    }

    async fn serve_by_hyper(&self, stream: TcpStream, mut first: Bytes) {
        let Ok(Ok(protocol)) = timeout(limits::HEADER_TIMEOUT, sniff(&stream, &mut first)).await
        else {
            return;
        };
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.shared.write_timeout));
        let stream = Replayed::new(first, Box::pin(stream));
        let served = match protocol {
            Protocol::Http1 => self.serve_http1(TokioIo::new(stream)).await,
            Protocol::Http2 => self.serve_http2(TokioIo::new(Corked::new(stream))).await,
        };
        if let Err(fault) = served {
            tracing::debug!(%fault, "a connection ended early");
        }
    }

    /// Drives a connection to its end, which it is asked for when the gateway drains.
    async fn until_drained<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        connection: C,
    ) -> hyper::Result<()> {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.shared.draining.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn serve_http1(&self, io: TokioIo<Stream>) -> hyper::Result<()> {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEADER_TIMEOUT)
            .max_buf_size(limits::MAX_HEAD_BYTES);
        let routes = self.shared.routes.clone();
        let service = service_fn(move |request| routes.answer(request));
        self.until_drained(builder.serve_connection(io, service))
            .await
    }

    async fn serve_http2(&self, io: TokioIo<Corked<Stream>>) -> hyper::Result<()> {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(limits::H2_KEEPALIVE)
            .keep_alive_timeout(limits::H2_KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(limits::MAX_H2_STREAMS)
            .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(limits::MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let routes = self.shared.routes.clone();
        let service = service_fn(move |request| routes.answer(request));
        self.until_drained(builder.serve_connection(io, service))
            .await
    }
}

type Stream = Replayed<Pin<Box<TimeoutWriter<TcpStream>>>>;

async fn refuse(mut stream: TcpStream) {
    let refusal =
        "as many connections are open as may be (limits.max_connections); try again shortly";
    let _ = stream
        .write_all(&transport::bare_refusal(&Error::new(Kind::Busy, refusal)))
        .await;
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
