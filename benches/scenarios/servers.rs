//! Servers to measure: how each is started, and where it reads and publishes.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// The release build, on SQLite.
    Vidette,
    VidetteMemory,
    /// `examples/naive_sse.rs`.
    Naive,
    /// `examples/plain_tonic.rs`.
    Tonic,
    /// nginx with Debian's libnginx-mod-nchan.
    Nchan,
}

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const START_WAIT: Duration = Duration::from_secs(10);

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Vidette => "vidette",
            Server::VidetteMemory => "vidette-memory",
            Server::Naive => "naive",
            Server::Tonic => "tonic",
            Server::Nchan => "nchan",
        }
    }

    /// What to do where it cannot be run.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let is_missing = self == Server::Nchan && !Path::new(NCHAN_MODULE).exists();
        is_missing.then_some(
            "it is not installed (Debian: apt-get install nginx-light libnginx-mod-nchan)",
        )
    }
}

/// Where the examples lie: beside the gateway.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_vidette"))
        .parent()
        .expect("a folder")
        .join("examples")
        .join(name)
}

pub(crate) fn build_examples() {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "build",
        "--release",
        "--example",
        "naive_sse",
        "--example",
        "plain_tonic",
    ]);
    let built = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the examples do not build");
}

/// A server that is running, and the flags by which it is measured. Dropping it ends it.
pub(crate) struct Running {
    pub(crate) flags: Vec<String>,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Running {
    /// The gateway is started by `vidette bench` itself.
    pub(crate) fn start(server: Server, bench: &str) -> Self {
        match server {
            Server::Vidette => Self::own("sqlite"),
            Server::VidetteMemory => Self::own("memory"),
            Server::Naive => Self::example("naive_sse", "/sub/{topic}"),
            Server::Tonic => Self::example("plain_tonic", ""),
            Server::Nchan => Self::nchan(if bench == "poll" {
                "/poll/{topic}"
            } else {
                "/sub/{topic}"
            }),
        }
    }

    fn own(engine: &str) -> Self {
        Running {
            flags: vec!["--engine".to_owned(), engine.to_owned()],
            child: None,
            _folder: None,
        }
    }

    fn other(child: Child, url: &str, path: &str, folder: Option<TempDir>) -> Self {
        let flags = [
            ("--url", format!("{url}{path}")),
            ("--publish-url", format!("{url}/pub/{{topic}}")),
            ("--server-pid", child.id().to_string()),
        ];
        let flags = flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect();
        Running {
            flags,
            child: Some(child),
            _folder: folder,
        }
    }

    fn example(name: &str, path: &str) -> Self {
        let mut command = Command::new(example(name));
        let mut child = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the example starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an address")
            .to_owned();
        Self::other(child, &url, path, None)
    }

    fn nchan(path: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let config = include_str!("nchan.conf")
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@MODULE@", NCHAN_MODULE)
            .replace("@PORT@", &port.to_string());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a configuration");
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.path().join("error.log"));
        let child = command.stdin(Stdio::null()).spawn().expect("nginx starts");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < START_WAIT, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self::other(
            child,
            &format!("http://127.0.0.1:{port}"),
            path,
            Some(folder),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // nginx ends its workers only when it is asked to.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < START_WAIT {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
