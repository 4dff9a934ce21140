//! Bind, serve, drain.
//!
//! Invariants:
//! - everything that can fail at start fails before the first connection is accepted;
//! - a connection is bounded in what it may hold, and in how long it may send nothing or take
//!   nothing;
//! - hyper drives all connections but those of pages that wait, which [`direct`] holds for far less
//!   memory;
//! - sources begin when connections are accepted, and end with them;
//! - shutdown ends every stream with its closing word and returns within [`limits::DRAIN`].

mod corked;
mod direct;
pub(crate) mod head;
mod outgoing;
mod readiness;
mod replayed;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;

use crate::bus::Bus;
use crate::config::Config;
use crate::engine::{self, Engine};
use crate::error::{Error, Kind};
use crate::limits;
use crate::source::Sources;
use crate::transport::{self, Routes};
use corked::Corked;
use direct::{Direct, Outcome};
use replayed::Replayed;

/// Why the gateway could not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine could not be opened.
    #[error("{0}")]
    Engine(#[from] engine::OpenError),
    /// An address could not be bound.
    #[error(
        "cannot listen on {address}: {fault}. Is another gateway running there? --listen takes another address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        fault: std::io::Error,
    },
}

/// A gateway that has its log open and its addresses bound.
pub struct Gateway {
    bus: Bus,
    listeners: Vec<TcpListener>,
    routes: Routes,
    sources: Sources,
    health: HealthReporter,
    max_connections: usize,
    write_timeout: Duration,
}

impl Gateway {
    /// Opens the log and binds the addresses; port 0 takes a free one.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let listeners = bind(config)?;
        let engine = engine::open(&config.engine, config.bus.retention.dedupe_window)?;
        Ok(Self::assemble(config, listeners, engine).await)
    }

    /// The same on an engine that is open already, whatever the configuration says of one.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start_on(engine: Arc<dyn Engine>, config: &Config) -> Result<Self, StartError> {
        Ok(Self::assemble(config, bind(config)?, engine).await)
    }

    async fn assemble(
        config: &Config,
        listeners: Vec<TcpListener>,
        engine: Arc<dyn Engine>,
    ) -> Self {
        let bus = Bus::start(engine, config.bus.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        readiness::report(&health, bus.writable().is_ok()).await;
        let sources = Sources::plan(&config.sources, &bus);
        Gateway {
            routes: Routes::new(bus.clone(), config, sources.states(), health_service),
            sources,
            max_connections: config.max_connections,
            write_timeout: config.write_timeout,
            health,
            listeners,
            bus,
        }
    }

    /// The addresses, with their ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Serves until `shutdown` is ready, then ends every stream and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Gateway {
            bus,
            listeners,
            routes,
            sources,
            health,
            max_connections,
            write_timeout,
        } = self;
        let shared = direct::Shared {
            routes,
            write_timeout,
            draining: CancellationToken::new(),
        };
        let connections = Arc::new(Connections {
            bus: bus.clone(),
            shared,
            permits: Arc::new(Semaphore::new(max_connections)),
            tracker: TaskTracker::new(),
        });
        let accepting = CancellationToken::new();
        for listener in listeners {
            tokio::spawn(accept(listener, connections.clone(), accepting.clone()));
        }
        sources.start(&bus, &connections.tracker);
        tokio::spawn(readiness::follow(bus.clone(), health.clone()));

        shutdown.await;
        tracing::info!(
            subscribers = bus.subscribers(),
            "shutting down: streams are being ended"
        );
        readiness::report(&health, false).await;
        // New connections are still taken meanwhile, to be told that the gateway is closing.
        bus.close();
        connections.shared.draining.cancel();
        connections.tracker.close();
        if timeout(limits::DRAIN, connections.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.tracker.len(),
                "some connections or sources did not end in time and are cut"
            );
        }
        accepting.cancel();
    }
}

fn bind(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &address in &config.listen {
        listeners.push(listen(address).map_err(|fault| StartError::Bind { address, fault })?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?; // or a restart would have to wait for the connections of the last run
    socket.bind(address)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

/// What every connection needs.
struct Connections {
    bus: Bus,
    shared: direct::Shared,
    permits: Arc<Semaphore>,
    tracker: TaskTracker,
}

async fn accept(listener: TcpListener, connections: Arc<Connections>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = connections.clone().serve(stream);
                connections.tracker.spawn(served);
            }
            Err(fault) => {
                // Out of file descriptors, for one: waiting lets some be given back.
                tracing::warn!(%fault, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Connections {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
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

enum Protocol {
    Http1,
    Http2,
}

/// What a connection of HTTP/2 begins with (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Tells the protocol by what was read first, and reads on while that might be a part of the
/// preface: hyper would wait for the rest of it without a bound.
async fn sniff(stream: &TcpStream, first: &mut Bytes) -> std::io::Result<Protocol> {
    loop {
        let begun = first.len().min(HTTP2_PREFACE.len());
        if first[..begun] != HTTP2_PREFACE[..begun] {
            return Ok(Protocol::Http1);
        }
        if begun == HTTP2_PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        stream.readable().await?;
        let mut bytes = [0; HTTP2_PREFACE.len()];
        match stream.try_read(&mut bytes[begun..]) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => *first = [&first[..], &bytes[begun..begun + count]].concat().into(),
            Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(fault) => return Err(fault),
        }
    }
}
