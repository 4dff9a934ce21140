//! The gateway as a whole: its log, its addresses, and its end.
//!
//! Invariants:
//! - everything that can fail at start fails before the first connection is accepted;
//! - sources begin when connections are accepted, and end with them, or as soon as the gateway is
//!   asked to end where another one can go on with them;
//! - shutdown ends every stream with its closing word, spread over the time of `[drain]`, answers
//!   whoever asks meanwhile, and returns within that time, [`limits::DRAIN_REST`],
//!   [`limits::DRAIN_LATE`] and, where spans are sent, [`limits::TRACES_FLUSH`].
//!
//! [`limits::DRAIN_REST`]: crate::limits::DRAIN_REST
//! [`limits::DRAIN_LATE`]: crate::limits::DRAIN_LATE
//! [`limits::TRACES_FLUSH`]: crate::limits::TRACES_FLUSH

use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::connection::ConnectionContext;
use super::drain::{self, Drain};
use super::guard::Admission;
use super::listener::{Listener, accept, bind};
use super::readiness;
use crate::auth::AuthBackground;
use crate::bus::Bus;
use crate::config::{Config, DrainConfig, ListenAddress};
use crate::engine::{self, Engine};
use crate::memory::MemoryBudget;
use crate::metrics::OpenConnections;
use crate::source::Sources;
use crate::tls::LiveTls;
use crate::traces::{TraceExport, Traces};
use crate::transport::{AdminWatch, RouteParts, Routes, Settings};

/// Why the gateway could not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine could not be opened.
    #[error("{0}")]
    Engine(#[from] engine::OpenError),
    /// An address could not be bound.
    #[error("cannot listen on {address}: {error}. {}", what_to_do(error))]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system said.
        error: std::io::Error,
    },
}

fn what_to_do(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "Is another gateway running there? --listen takes another address",
        _ => "--listen takes another address",
    }
}

/// A gateway that has its log open and its addresses bound.
pub struct Gateway {
    bus: Bus,
    listeners: Vec<Listener>,
    pub(super) routes: Routes,
    /// For connections that are encrypted.
    pub(super) tls: Option<LiveTls>,
    sources: Sources,
    health: HealthReporter,
    open: OpenConnections,
    /// Sends spans, where a collector is configured.
    trace_export: Option<TraceExport>,
    pub(super) auth: AuthBackground,
    /// How it ends, as the configuration of that moment says.
    pub(super) drain: Arc<ArcSwap<DrainConfig>>,
    pub(super) config: Config,
}

impl Gateway {
    /// Opens the log and binds the addresses; port 0 takes a free one.
    ///
    /// # Errors
    /// When the log cannot be opened, or an address cannot be bound.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        // The addresses first: a second gateway on them is noticed before it touches the log.
        let listeners = bind(config)?;
        let engine = engine::open(&config.engine, config.log_requirements()).await?;
        Ok(Self::assemble(config, listeners, engine).await)
    }

    /// The same on an engine that is open already, whatever the configuration says of one.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start_on(engine: Arc<dyn Engine>, config: &Config) -> Result<Self, StartError> {
        Ok(Self::assemble(config, bind(config)?, engine).await)
    }

    async fn assemble(config: &Config, listeners: Vec<Listener>, engine: Arc<dyn Engine>) -> Self {
        // From the log outwards.
        let bus = start_bus(config, engine);
        let sources = Sources::plan(&config.sources, &bus);
        let (health, open) = (HealthReporter::new(), OpenConnections::default());
        readiness::report(&health, bus.ready().is_ok()).await;

        let spans = bus.metrics().spans.clone();
        let (traces, trace_export) = Traces::start(&config.tracing, bus.engine_kind(), spans);
        let parts = RouteParts {
            bus: bus.clone(),
            sources: sources.states(),
            health: health_server(&health),
            connections: open.clone(),
            admin: AdminWatch::default(),
            traces,
        };
        let auth = AuthBackground::default();
        Gateway {
            routes: Routes::new(parts, Settings::of(config, &auth)),
            auth,
            tls: config
                .tls
                .as_ref()
                .map(|tls| LiveTls::new(tls.server.clone())),
            drain: Arc::new(ArcSwap::from_pointee(config.drain)),
            config: config.clone(),
            sources,
            open,
            trace_export,
            health,
            listeners,
            bus,
        }
    }

    /// The addresses, with their ports.
    pub fn listening_on(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// The same, each with whether connections to it are encrypted.
    pub fn listeners(&self) -> impl Iterator<Item = (&ListenAddress, bool)> {
        let listeners = self.listeners.iter();
        listeners.map(|one| (&one.address, one.is_encrypted))
    }

    /// Those of them that are IP addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let ip_address = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Every(_) | ListenAddress::Unix(_) => None,
        };
        self.listening_on().filter_map(ip_address).collect()
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Serves until `shutdown` is ready, then ends every stream and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.run_until(shutdown, pending()).await;
    }

    /// The same, and once `hurry` is ready as well, streams that are left are ended at once.
    pub async fn run_until(
        self,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) {
        let (context, stop) = (self.context(), CancellationToken::new());
        let accepting = accept_all(self.listeners, &context, &stop);
        let sources = self.sources.start(&self.bus, &context.admission.tracker);
        tokio::spawn(readiness::follow(self.bus.clone(), self.health.clone()));
        tokio::spawn(watch_revocations(self.auth, self.bus.clone()));
        // As long as connections are accepted.
        let tls = self.tls.map(|tls| tokio::spawn(tls.follow()));

        shutdown.await;
        sources.hand_over();
        let drain = Drain {
            config: **self.drain.load(),
            bus: self.bus,
            health: self.health,
            draining: context.draining.clone(),
        };
        let rest = drain.run(hurry).await;
        drain::wait_for(&context.admission.tracker, rest).await;

        // Nobody else can come from here on; whoever has come is answered.
        stop.cancel();
        accepting.wait().await;
        drain::answer_the_last(&context.admission.late).await;
        tls.inspect(JoinHandle::abort);
        // Whoever has published is answered by now.
        if let Some(export) = self.trace_export {
            export.end().await;
        }
    }

    /// What its connections need.
    pub(super) fn context(&self) -> ConnectionContext {
        ConnectionContext {
            routes: self.routes.clone(),
            tls: self.tls.clone(),
            memory: self.bus.memory().clone(),
            admission: Admission::new(self.open.clone(), self.bus.metrics().refusals.clone()),
            draining: CancellationToken::new(),
        }
    }
}

/// Accepts connections on every listener, each on a task of its own.
fn accept_all(
    listeners: Vec<Listener>,
    context: &ConnectionContext,
    stop: &CancellationToken,
) -> TaskTracker {
    let accepting = TaskTracker::new();
    let https_port = listeners.iter().find_map(Listener::https_port);
    for listener in listeners {
        // Which hosts it answers for, and how, depends on its address.
        let here = Arc::new(context.at(&listener, https_port));
        accepting.spawn(accept(listener, here, stop.clone()));
    }
    accepting.close();
    accepting
}

/// Has whoever is served be looked at again when somebody was revoked, until the bus is closed.
async fn watch_revocations(auth: AuthBackground, bus: Bus) {
    tokio::select! {
        () = auth.watch_revocations(|| bus.recheck_callers()) => {}
        () = bus.closed() => {}
    }
}

fn health_server(health: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(health.clone()))
}

fn start_bus(config: &Config, engine: Arc<dyn Engine>) -> Bus {
    let memory = MemoryBudget::new(config.memory_budget);
    tracing::info!(
        bytes = memory.limit_bytes(),
        "memory budget for requests, answers and unread pages (limits.memory_budget)"
    );
    Bus::start_within(engine, config.bus.clone(), memory)
}
