//! Gateways that listen where a test says.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::gateway::PATIENCE;
use crate::tools::{Output, Running, find};

/// A gateway in a folder of its own, which its test ends.
pub(crate) struct Served {
    running: Running,
    pub(crate) folder: TempDir,
}

impl Served {
    /// With this configuration, which may name its folder as FOLDER, and these flags.
    pub(crate) async fn start(config: &str, flags: &[&str]) -> Self {
        Self::start_as(&[], config, flags).await
    }

    /// The same by another program, such as `env`.
    pub(crate) async fn start_as(starter: &[&str], config: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let running = run(starter, config, flags, &folder);
        let served = Served { running, folder };
        served.until_it_says("listening on ").await;
        served
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        self.running.complaints()
    }

    pub(crate) async fn until_it_says(&self, text: &str) {
        let what = format!("it says {text:?}, but: {}", self.log());
        until(&what, async || self.log().contains(text)).await;
    }

    /// Where it listens, as it says.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let log = self.log();
        let said = log
            .lines()
            .filter_map(|line| line.split_once("listening on "));
        said.map(|(_, address)| address.trim().to_owned()).collect()
    }

    /// The port that it says first.
    pub(crate) fn port(&self) -> u16 {
        let addresses = self.addresses();
        let port = addresses[0].rsplit(':').next();
        port.and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Has it end, by a signal, and waits for that.
    pub(crate) async fn end(self, signal: Signal) -> TempDir {
        self.signal(signal);
        self.running.ended().await;
        self.folder
    }

    /// The same, and another one starts in its place.
    pub(crate) async fn replace(self, signal: Signal, config: &str) -> Self {
        self.signal(signal);
        self.running.ended().await;
        let folder = self.folder;
        let running = run(&[], config, &[], &folder);
        let served = Served { running, folder };
        served.until_it_says("listening on ").await;
        served
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.running.pid()), signal).expect("it runs");
    }
}

fn run(starter: &[&str], config: &str, flags: &[&str], folder: &TempDir) -> Running {
    let config = config.replace("FOLDER", &folder.path().display().to_string());
    let file = folder.path().join("vidette.toml");
    std::fs::write(&file, config).expect("a file");
    let file = file.display().to_string();
    let own = [env!("CARGO_BIN_EXE_vidette"), "serve", "--config", &file];
    let line = [starter, &own, &["--engine", "memory"], flags].concat();
    Running::start(line[0], &line[1..])
}

/// Tries to start one where that must fail: what it said, and its exit code.
pub(crate) async fn fails_to_start(config: &str, flags: &[&str]) -> (i32, String) {
    let folder = TempDir::new().expect("a folder");
    let output: Output = run(&[], config, flags, &folder).ended().await;
    (output.code(), output.stderr)
}

/// Asks again and again until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "never: {what}");
}

/// A port that nobody listens on, below those that the system gives away.
pub(crate) fn free_port() -> u16 {
    let mut ports = (0..1000).map(|_| fastrand::u16(16_000..30_000));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free port")
}

/// A server that Debian installs where users do not look for programs.
pub(crate) fn installed(name: &str) -> PathBuf {
    let of_debian = Path::new("/usr/sbin").join(name);
    if of_debian.is_file() {
        of_debian
    } else {
        find(name, "bin")
    }
}
