//! gearmand as a process, on a port of its own, with its SQLite queue.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::Client;
use crate::common::gateway::PATIENCE;
use crate::tools::{Output, find, run};

/// A job server; it is killed when this is dropped.
pub(crate) struct JobServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl JobServer {
    pub(crate) fn start() -> Self {
        let mut server = Self::down();
        server.start_again();
        server
    }

    /// One that is not running yet.
    pub(crate) fn down() -> Self {
        // Below the ports that outgoing connections take, so that it is still free after a restart.
        let mut ports = (0..1000).map(|_| fastrand::u16(16_000..30_000));
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = ports.find(is_free).expect("a free port");
        JobServer {
            folder: TempDir::new().expect("a folder"),
            port,
            child: None,
        }
    }

    /// With the queue that it had.
    pub(crate) fn start_again(&mut self) {
        let queue = self.folder.path().join("queue.db");
        let mut command = Command::new("timeout");
        command.args(["--foreground", "600"]).arg(gearmand());
        command.args([
            "--listen=127.0.0.1",
            &format!("--port={}", self.port),
            "--queue-type=libsqlite3",
        ]);
        command.arg(format!("--libsqlite3-db={}", queue.display()));
        command.arg(format!(
            "--log-file={}",
            self.folder.path().join("log").display()
        ));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("gearmand starts"));
        let started = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            assert!(started.elapsed() < PATIENCE, "gearmand does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM; what is queued stays in its database.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let _ = kill(pid, Signal::SIGTERM); // timeout hands it on
        child.wait().expect("it ends");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    /// A client that speaks the protocol by hand.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The `gearman` command, for the function `getmsg`.
    pub(crate) async fn gearman(&self, args: &[&str]) -> Output {
        let port = self.port();
        let mut all = vec![
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "20000",
            "-f",
            "getmsg",
        ];
        all.extend(args);
        run(find("gearman", "bin"), &all).await
    }

    /// Jobs that it still has, in hand or waiting.
    pub(crate) fn jobs(&self) -> u64 {
        self.client().status_of("getmsg").jobs
    }

    /// Workers that it knows, busy ones and those that wait.
    pub(crate) fn workers(&self) -> u64 {
        self.client().status_of("getmsg").workers
    }
}

impl Drop for JobServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian has it where only root's PATH leads.
fn gearmand() -> std::path::PathBuf {
    let debian = std::path::Path::new("/usr/sbin/gearmand");
    if debian.is_file() {
        debian.to_owned()
    } else {
        find("gearmand", "bin")
    }
}
