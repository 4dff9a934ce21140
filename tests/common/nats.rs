//! Real servers of NATS with JetStream, on loopback, for the log of several gateways.
//!
//! The program is `NATS_SERVER`, or the one that `scripts/setup-tests.sh` has put into
//! `.tools/bin`. Servers end with the value that started them, by their process ids.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use vidette::engine::{JetStreamOptions, LogRequirements, NatsCredentials, NatsTls, Retention};

/// The longest that servers take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a server takes as one message, in bytes.
const MAX_PAYLOAD: u32 = 4 << 20;

/// One server of a cluster.
pub struct NatsServer {
    name: String,
    config: PathBuf,
    port: u16,
    monitor_port: u16,
    process: Option<Child>,
}

/// What servers to start.
#[derive(Default)]
pub struct NatsSetup {
    pub servers: usize,
    /// Lines of the configuration of each server, …
    pub extra: String,
    /// … and of its JetStream, as `sync_interval: always` or `max_file: 64MB`.
    pub jetstream: String,
    /// Clients go where they were told to, which may be a proxy, and hear of no other server.
    pub is_hidden: bool,
}

/// Servers that keep streams together; a single one is none.
pub struct NatsCluster {
    pub servers: Vec<NatsServer>,
    folder: TempDir,
}

impl NatsCluster {
    /// Starts so many servers with these lines in their configuration, and waits until JetStream
    /// answers.
    pub async fn start_with(count: usize, extra: &str) -> Self {
        Self::start_setup(&NatsSetup {
            servers: count,
            extra: extra.to_owned(),
            ..NatsSetup::default()
        })
        .await
    }

    /// Starts servers, and waits until JetStream answers.
    pub async fn start_setup(setup: &NatsSetup) -> Self {
        let folder = TempDir::with_prefix("vidette-nats-").expect("a folder");
        let mut cluster = NatsCluster {
            servers: configure(setup, folder.path()),
            folder,
        };
        for server in &mut cluster.servers {
            server.start();
        }
        cluster.until_ready().await;
        cluster
    }

    pub async fn start(count: usize) -> Self {
        Self::start_with(count, "").await
    }

    /// Waits until every server answers, and JetStream with it.
    pub async fn until_ready(&self) {
        let ready = async {
            for server in &self.servers {
                while !server.is_healthy().await {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        };
        timeout(PATIENCE, ready)
            .await
            .expect("servers that are ready");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The addresses of all servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// What an engine on this stream is opened with; it creates the stream, kept by all servers.
    pub fn options(&self, stream: &str) -> JetStreamOptions {
        JetStreamOptions {
            servers: self.urls(),
            stream: stream.to_owned(),
            prefix: None,
            create: true,
            replicas: self.servers.len(),
            first_vid: None,
            credentials: NatsCredentials::None,
            tls: NatsTls::default(),
            stale_after: Duration::from_secs(15),
            monitors: Vec::new(),
        }
    }

    /// A plain client of the servers.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_secs(1))
            .connect(self.urls().as_slice())
            .await
            .expect("a connection")
    }

    /// The server with this name, as JetStream reports leaders.
    pub fn server(&mut self, name: &str) -> &mut NatsServer {
        let mut servers = self.servers.iter_mut();
        servers
            .find(|server| server.name == name)
            .expect("a server of this cluster")
    }
}

/// Writes the configuration of each server.
fn configure(setup: &NatsSetup, folder: &Path) -> Vec<NatsServer> {
    let count = setup.servers;
    let ports = free_ports(3 * count);
    let (extra, jetstream) = (&setup.extra, &setup.jetstream);
    let routes = ports[2 * count..].iter();
    let routes: Vec<_> = routes.map(|p| format!("nats://127.0.0.1:{p}")).collect();
    let server = |index: usize| {
        let name = format!("n{}", index + 1);
        let (port, monitor_port) = (ports[index], ports[count + index]);
        let mut text = format!(
            "server_name: {name}\nlisten: 127.0.0.1:{port}\nhttp: 127.0.0.1:{monitor_port}\n\
             max_payload: {MAX_PAYLOAD}\n\
             jetstream {{ store_dir: \"{}\"\n{jetstream}\n}}\n{extra}\n",
            folder.join(&name).display()
        );
        if count > 1 {
            let of_cluster = format!(
                "cluster {{ name: tests, listen: 127.0.0.1:{}, no_advertise: {}, routes: [{}] }}\n",
                ports[2 * count + index],
                setup.is_hidden,
                routes.join(", ")
            );
            text.push_str(&of_cluster);
        }
        let config = folder.join(format!("{name}.conf"));
        fs::write(&config, text).expect("a file");
        NatsServer {
            name,
            config,
            port,
            monitor_port,
            process: None,
        }
    };
    (0..count).map(server).collect()
}

/// What the engines of the tests have to keep.
pub fn requirements() -> LogRequirements {
    LogRequirements {
        retention: Retention {
            max_age: Duration::from_secs(3600),
            max_events: 10_000_000,
            // The servers set so much of the disk aside for each stream.
            max_bytes: 64 << 20,
            dedupe_window: super::engines::DEDUPE_WINDOW,
        },
        max_event_bytes: 1 << 20,
    }
}

impl NatsServer {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the server, again where it was killed; its streams are in its folder.
    pub fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.config.with_extension("log"))
            .expect("a file");
        let process = Command::new(program())
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server, which scripts/setup-tests.sh installs");
        self.process = Some(process);
    }

    /// Kills the server, and waits until it has gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // One that is frozen dies all the same.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops its threads; connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("a running server");
        let pid = i32::try_from(process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it takes the signal");
    }

    async fn is_healthy(&self) -> bool {
        let url = format!("{}/healthz", self.monitor_url());
        let answer = reqwest::get(url).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Is there a program to start? Says so loudly where not: what needs it is then left out.
pub fn is_installed() -> bool {
    let is_there = program().is_file();
    if !is_there {
        let program = program();
        eprintln!(
            "\n*** SKIPPED: {} is not there; scripts/setup-tests.sh installs nats-server ***\n",
            program.display()
        );
    }
    is_there
}

pub(super) fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or(installed, PathBuf::from)
}

/// Ports that were free a moment ago. They are below those that outgoing connections take, so that
/// no other socket gets one while its server is down.
pub(super) fn free_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        let port = fastrand::u16(16_000..30_000);
        listeners.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let ports = listeners.iter();
    ports
        .map(|l| l.local_addr().expect("an address").port())
        .collect()
}
