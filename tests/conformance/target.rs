//! The gateway that a cell runs against: one of its own in this process, or one that is running elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vidette::bus::Bus;
use vidette::config::{Config, Overrides};
use vidette::engine::{Engine, MemoryEngine, Retention, SqliteEngine};
use vidette::server::Gateway;

use crate::wrong::{WrongEngine, Wrongness};

/// Which engine, and where.
#[derive(Clone)]
pub enum Kind {
    Memory,
    Sqlite,
    Wrong(Wrongness),
    Running(String),
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Kind::Memory => "memory",
            Kind::Sqlite => "sqlite",
            Kind::Wrong(_) => "wrong",
            Kind::Running(_) => "running",
        }
    }

    pub fn survives_a_restart(&self) -> bool {
        matches!(self, Kind::Sqlite | Kind::Wrong(_))
    }
}

/// What a case wants of its gateway.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub heartbeat: Duration,
    pub max_age: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { heartbeat: Duration::from_millis(500), max_age: Duration::from_secs(3600) }
    }
}

/// A gateway of the cell's own.
pub struct Own {
    kind: Kind,
    setup: Setup,
    folder: TempDir,
    pub bus: Bus,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Own {
    pub async fn start(kind: &Kind, setup: Setup) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self::start_in(kind.clone(), setup, folder, "127.0.0.1:0".parse().expect("an address")).await
    }

    async fn start_in(kind: Kind, setup: Setup, folder: TempDir, listen: SocketAddr) -> Self {
        let engine = engine(&kind, &folder);
        let gateway = Gateway::start_on(engine, &config(setup, listen)).await.expect("a gateway");
        let (bus, address) = (gateway.bus().clone(), gateway.addresses()[0]);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        Own { kind, setup, folder, bus, address, stop, running }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks the gateway to end, and waits until its log is free for the next one.
    pub async fn restart(self) -> Self {
        let Own { kind, setup, folder, bus, address, stop, running } = self;
        let _ = stop.send(());
        running.await.expect("the gateway ends");
        drop(bus);
        // The writer's thread lets go of the folder a moment after the last user of the bus.
        let lock = folder.path().join("vidette.lock");
        while lock.exists() && std::fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_err()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::start_in(kind, setup, folder, address).await
    }

    /// Trims the log to its newest events.
    pub async fn keep(&self, max_events: u64) {
        let hour = Duration::from_secs(3600);
        let retention = Retention { max_age: hour, max_events, max_bytes: u64::MAX, dedupe_window: hour };
        self.bus.trim(retention).await.expect("trimmed");
    }

    /// Trims everything, as if it had become too old.
    pub async fn expire_all(&self) {
        let none = Duration::ZERO;
        tokio::time::sleep(Duration::from_millis(2)).await; // events of this very millisecond are not older than now
        let retention = Retention { max_age: none, max_events: u64::MAX, max_bytes: u64::MAX, dedupe_window: none };
        self.bus.trim(retention).await.expect("trimmed");
    }
}

fn engine(kind: &Kind, folder: &TempDir) -> Arc<dyn Engine> {
    let dedupe_window = Duration::from_secs(120);
    match kind {
        Kind::Memory => Arc::new(MemoryEngine::new(dedupe_window)),
        Kind::Sqlite => Arc::new(SqliteEngine::open(folder.path(), dedupe_window).expect("an engine")),
        Kind::Wrong(wrongness) => Arc::new(WrongEngine::new(*wrongness)),
        Kind::Running(_) => unreachable!("a running gateway has its own"),
    }
}

fn config(setup: Setup, listen: SocketAddr) -> Config {
    let (heartbeat, max_age) = (setup.heartbeat.as_millis(), setup.max_age.as_millis());
    let text = format!("[bus]\nheartbeat = \"{heartbeat}ms\"\n[retention]\nmax_age = \"{max_age}ms\"\n");
    Config::parse(&text, Overrides { listen: vec![listen], ..Overrides::default() }).expect("a configuration")
}
