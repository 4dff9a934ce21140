//! A gateway in this process, on an engine of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vidette::bus::Bus;
use vidette::config::{Config, Overrides};
use vidette::engine::{Engine, Retention};
use vidette::server::Gateway;

use super::closing::all_closed;
use super::secure;

/// Opens the engine in a folder.
pub type OpenEngine = Arc<dyn Fn(&Path) -> Arc<dyn Engine> + Send + Sync>;

/// What a test wants of its gateway.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub heartbeat: Duration,
    pub max_age: Duration,
    /// It encrypts, and asks who calls.
    pub is_secure: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            heartbeat: Duration::from_millis(500),
            max_age: Duration::from_secs(3600),
            is_secure: false,
        }
    }
}

/// A gateway of the test's own.
pub struct InProcessGateway {
    open: OpenEngine,
    setup: Setup,
    folder: TempDir,
    pub bus: Bus,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl InProcessGateway {
    pub async fn start(open: OpenEngine, setup: Setup) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self::start_in(
            open,
            setup,
            folder,
            "127.0.0.1:0".parse().expect("an address"),
        )
        .await
    }

    async fn start_in(open: OpenEngine, setup: Setup, folder: TempDir, listen: SocketAddr) -> Self {
        let engine = open(folder.path());
        let gateway = start_on(&engine, &config(setup, listen)).await;
        let (bus, address) = (gateway.bus().clone(), gateway.addresses()[0]);
        until_live(&bus).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        InProcessGateway {
            open,
            setup,
            folder,
            bus,
            address,
            stop,
            running,
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.setup.is_secure {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Asks the gateway to end, and waits until its log is free for the next one.
    pub async fn restart(self) -> Self {
        self.restart_on(None).await
    }

    /// The same, but the next one finds in the folder what a crash has left there.
    pub async fn restart_on(self, left: Option<TempDir>) -> Self {
        let InProcessGateway {
            open,
            setup,
            folder,
            bus,
            address,
            stop,
            running,
        } = self;
        let _ = stop.send(());
        running.await.expect("the gateway ends");
        drop(bus);

        // The engine's threads close their files a moment after the last user of the bus, and the
        // last one to close a log removes its journal.
        all_closed(folder.path()).await;
        if let Some(left) = left {
            put_back(left.path(), folder.path());
        }
        Self::start_in(open, setup, folder, address).await
    }

    /// What the folder holds at this moment, which is what a crash would leave: the log, its
    /// journal and its mark, without what lives in memory.
    pub fn copy(&self) -> TempDir {
        let copy = TempDir::new().expect("a folder");
        let mut files: Vec<_> = files_of(self.folder.path())
            .filter(|file| is_kept(file))
            .collect();
        // The mark of the newest event goes first, since it is never ahead of the log; and the log
        // before its journal: what is moved from there to here meanwhile is then still there.
        files.sort_unstable_by_key(|file| (!is_mark(file), file.clone()));
        for file in files {
            let name = file.file_name().expect("a name");
            std::fs::copy(&file, copy.path().join(name)).expect("it is copied");
        }
        copy
    }

    /// Trims the log to its newest events.
    pub async fn keep(&self, max_events: u64) {
        let hour = Duration::from_secs(3600);
        let retention = Retention {
            max_age: hour,
            max_events,
            max_bytes: u64::MAX,
            dedupe_window: hour,
        };
        self.trim(retention).await;
    }

    /// Trims everything, as if it had become too old.
    pub async fn expire_all(&self) {
        let none = Duration::ZERO;
        // Events of this very millisecond are not older than now.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let retention = Retention {
            max_age: none,
            max_events: u64::MAX,
            max_bytes: u64::MAX,
            dedupe_window: none,
        };
        self.trim(retention).await;
    }

    /// On a shared log the bus hears of it by the tail, a moment later.
    async fn trim(&self, retention: Retention) {
        self.bus.trim(retention).await.expect("trimmed");
        let first = self.bus.engine_for_tests().state().bounds.first;
        let heard = async {
            while self.bus.bounds().first < first {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(10), heard).await;
        heard.expect("the bus hears of what is trimmed");
    }
}

fn files_of(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_file())
}

fn is_mark(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("vidette.newest-")
}

fn is_kept(file: &Path) -> bool {
    is_mark(file) || file.ends_with("vidette.db") || file.ends_with("vidette.db-wal")
}

/// Has the folder hold these files alone. Those of the log stay the same files, as after a crash:
/// in others the gateway would see a copy of its log.
fn put_back(left: &Path, folder: &Path) {
    for file in files_of(folder) {
        let name = file.file_name().expect("a name");
        if !left.join(name).exists() {
            std::fs::remove_file(&file).expect("it is removed");
        }
    }
    for file in files_of(left) {
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, folder.join(name)).expect("it is put back");
    }
}

/// The last gateway's address is free a moment after its end.
/// The end of a shared log is found a moment after the start, where it can be reached.
async fn until_live(bus: &Bus) {
    let live = async {
        while bus.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), live).await;
}

async fn start_on(engine: &Arc<dyn Engine>, config: &Config) -> Gateway {
    for _ in 0..200 {
        match Gateway::start_on(engine.clone(), config).await {
            Ok(gateway) => return gateway,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Gateway::start_on(engine.clone(), config)
        .await
        .expect("a gateway")
}

fn config(setup: Setup, listen: SocketAddr) -> Config {
    let (heartbeat, max_age) = (setup.heartbeat.as_millis(), setup.max_age.as_millis());
    let text = format!(
        "[bus]\nheartbeat = \"{heartbeat}ms\"\n[retention]\nmax_age = \"{max_age}ms\"\n\
         [drain]\nover = \"0s\"\n"
    );

    // Its files are read with the configuration, and not needed any more then.
    let folder = TempDir::new().expect("a folder");
    let security = if setup.is_secure {
        secure::settings(folder.path())
    } else {
        String::new()
    };
    Config::parse(
        &(text + &security),
        Overrides {
            listen: vec![listen.to_string()],
            ..Overrides::default()
        },
    )
    .expect("a configuration")
}
