//! A gateway as a process, on a port of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::secure;

/// How long anything in a test may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Default)]
pub struct Setup {
    /// `sqlite` when empty.
    pub engine: &'static str,
    /// A TOML configuration.
    pub config: String,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// More flags.
    pub flags: Vec<String>,
}

impl Setup {
    /// The configuration; unless it says something else, all streams end at once, so that no test
    /// waits for the gateway's end.
    fn config_text(&self) -> String {
        let is_paced = self.config.contains("[drain]");
        let drain = if is_paced {
            ""
        } else {
            "\n[drain]\nover = \"0s\"\n"
        };
        format!("{}{drain}", self.config)
    }
}

/// A running gateway; it is killed when this is dropped.
pub struct Gateway {
    setup: Setup,
    folder: Arc<TempDir>,
    data_dir: PathBuf,
    address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// SQLite in a new folder.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Memory.
    pub fn in_memory() -> Self {
        Self::start_with(Setup {
            engine: "memory",
            ..Setup::default()
        })
    }

    pub fn start_with(setup: Setup) -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        let data_dir = folder.path().join("data");
        Self::start_in(
            setup,
            folder,
            data_dir,
            "127.0.0.1:0".parse().expect("an address"),
        )
    }

    /// On a port below those that outgoing connections take: no other socket gets it while the
    /// gateway is down.
    pub fn start_on_a_port_of_its_own(setup: Setup) -> Self {
        let mut ports =
            (0..1000).map(|_| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(16_000..30_000))));
        let listen = ports
            .find(|a| std::net::TcpListener::bind(a).is_ok())
            .expect("a free port");
        let folder = Arc::new(TempDir::new().expect("a folder"));
        let data_dir = folder.path().join("data");
        Self::start_in(setup, folder, data_dir, listen)
    }

    /// In a data folder that the test has made.
    pub fn start_at(setup: Setup, data_dir: &Path) -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        Self::start_in(
            setup,
            folder,
            data_dir.to_owned(),
            "127.0.0.1:0".parse().expect("an address"),
        )
    }

    fn start_in(setup: Setup, folder: Arc<TempDir>, data_dir: PathBuf, listen: SocketAddr) -> Self {
        let config = folder.path().join("vidette.toml");
        std::fs::write(&config, setup.config_text()).expect("a configuration file");
        let mut child = command(&setup, &config, &data_dir, listen)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let (log, lines) = follow(child.stderr.take().expect("a pipe"));
        let address = wait_for_address(&lines, &log, &mut child);
        Gateway {
            setup,
            folder,
            data_dir,
            address,
            child,
            log,
        }
    }

    /// Tries to start where that must fail: its exit code and what it said.
    pub fn fails_to_start(setup: &Setup, data_dir: &Path) -> (i32, String) {
        let folder = TempDir::new().expect("a folder");
        let config = folder.path().join("vidette.toml");
        std::fs::write(&config, &setup.config).expect("a configuration file");
        let mut command = command(
            setup,
            &config,
            data_dir,
            "127.0.0.1:0".parse().expect("an address"),
        );
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway is run");
        let (log, lines) = follow(child.stderr.take().expect("a pipe"));
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("listening on") => {
                    let _ = child.kill();
                    panic!(
                        "the gateway started although it should not: {}",
                        log.lock().expect("the log")
                    );
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    panic!(
                        "the gateway neither started nor failed: {}",
                        log.lock().expect("the log")
                    );
                }
            }
        }
        let status = child.wait().expect("it ends");
        let said = log.lock().expect("the log").clone();
        (status.code().unwrap_or(-1), said)
    }

    /// `http://127.0.0.1:PORT`, or `https://` where it encrypts.
    pub fn url(&self) -> String {
        let is_encrypted = self.setup.config.contains("[tls]");
        let scheme = if is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// SIGKILL, as a crash of the machine's memory would be.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM; waits for the end, while the test's own connections go on.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// Waits for the end, which the test has brought about in some other way.
    pub async fn ended(&mut self) -> ExitStatus {
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ending)
            .await
            .expect("it ends in time")
    }

    /// SIGTERM, without waiting.
    pub fn ask_to_end(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// A signal, without waiting for what it does.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it can be asked");
    }

    /// Writes another configuration, which the gateway has not read yet.
    pub fn rewrite_config(&mut self, config: &str) {
        config.clone_into(&mut self.setup.config);
        std::fs::write(self.config_file(), self.setup.config_text()).expect("a configuration file");
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("vidette.toml")
    }

    /// Starts it again, on the same port and folder; it has to have ended.
    pub fn start_again(&mut self) {
        let again = Self::start_in(
            self.setup.clone(),
            self.folder.clone(),
            self.data_dir.clone(),
            self.address,
        );
        drop(std::mem::replace(self, again));
    }

    /// Publishes events over HTTP as one batch, or one event.
    pub async fn publish(&self, body: &Value) -> Value {
        let response = secure::http_client(&self.url())
            .post(format!("{}/v1/events", self.url()))
            .json(body)
            .send()
            .await
            .expect("an answer");
        assert!(
            response.status().is_success(),
            "{}",
            response.text().await.unwrap_or_default()
        );
        response.json().await.expect("JSON")
    }

    /// Publishes `{"n":1}` … `{"n":count}` to a topic in one batch; gives the last cursor.
    pub async fn publish_numbers(&self, topic: &str, count: u64) -> String {
        let events: Vec<Value> = (1..=count)
            .map(|n| serde_json::json!({ "topic": topic, "data": { "n": n } }))
            .collect();
        self.publish(&Value::from(events)).await["cursor"]
            .as_str()
            .expect("a cursor")
            .to_owned()
    }

    /// `GET` of a JSON answer.
    pub async fn get(&self, path: &str) -> Value {
        secure::http_client(&self.url())
            .get(format!("{}{path}", self.url()))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    }

    /// The value of a metric, as `/metrics` shows it: of a line, or of all lines of this name
    /// together, whatever their labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = secure::http_client(&self.url())
            .get(format!("{}/metrics", self.url()))
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text");
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let is_wanted = |shown: &str| match shown.strip_prefix(name) {
            Some(labels) => labels.is_empty() || labels.starts_with('{'),
            None => false,
        };
        let wanted = lines.filter(|(shown, _)| is_wanted(shown));
        let values: Vec<f64> = wanted
            .map(|(_, value)| value.parse().expect("a number"))
            .collect();
        assert!(!values.is_empty(), "{name} in {text}");
        values.iter().sum()
    }

    /// Asks again and again until something holds, without a fixed pause that might be too short.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "never: {what}"
        );
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(setup: &Setup, config: &Path, data_dir: &Path, listen: SocketAddr) -> Command {
    let engine = if setup.engine.is_empty() {
        "sqlite"
    } else {
        setup.engine
    };
    let mut command = Command::new(program());
    command.args(["serve", "--engine", engine, "--listen", &listen.to_string()]);
    command
        .arg("--config")
        .arg(config)
        .arg("--data-dir")
        .arg(data_dir)
        .args(&setup.flags);
    command
        .envs(setup.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The gateway that was built with the tests, or the one that `VIDETTE_PROGRAM` names.
fn program() -> OsString {
    let of_tests = || env!("CARGO_BIN_EXE_vidette").into();
    std::env::var_os("VIDETTE_PROGRAM").unwrap_or_else(of_tests)
}

/// Keeps the log, and passes its lines on.
fn follow(stderr: std::process::ChildStderr) -> (Arc<Mutex<String>>, Receiver<String>) {
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, lines) = channel();
    let kept = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().expect("the log").extend([line.as_str(), "\n"]);
            let _ = sender.send(line);
        }
    });
    (log, lines)
}

fn wait_for_address(
    lines: &Receiver<String>,
    log: &Mutex<String>,
    child: &mut Child,
) -> SocketAddr {
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if let Some((_, url)) = line.split_once("listening on http") {
            // Encrypted or not. In a log of JSON the text's closing quote follows.
            return url
                .trim_start_matches(['s', ':', '/'])
                .split('"')
                .next()
                .unwrap_or_default()
                .trim()
                .parse()
                .expect("an address");
        }
    }
    let _ = child.kill();
    panic!(
        "the gateway did not start: {}",
        log.lock().expect("the log")
    );
}
