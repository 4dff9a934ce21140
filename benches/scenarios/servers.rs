//! Servers to measure: how each is started, and where it reads and publishes.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::secure;
use crate::tls;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// The release build, on SQLite.
    Vidette,
    VidetteMemory,
    /// The same on SQLite, over TLS and for callers with a token.
    VidetteTls,
    /// `examples/naive_sse.rs`.
    Naive,
    /// `examples/plain_tonic.rs`.
    Tonic,
    /// nginx with Debian's libnginx-mod-nchan.
    Nchan,
}

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const NCHAN_INSTALL: &str =
    "it is not installed (Debian: apt-get install nginx-light libnginx-mod-nchan)";
const EXAMPLES: [&str; 4] = ["--example", "naive_sse", "--example", "plain_tonic"];
const START_WAIT: Duration = Duration::from_secs(10);

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Vidette => "vidette",
            Server::VidetteMemory => "vidette-memory",
            Server::VidetteTls => "vidette-tls",
            Server::Naive => "naive",
            Server::Tonic => "tonic",
            Server::Nchan => "nchan",
        }
    }

    /// How to install it, where it cannot be run.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let is_missing = self == Server::Nchan && !Path::new(NCHAN_MODULE).exists();
        is_missing.then_some(NCHAN_INSTALL)
    }
}

/// The path of an example's program, which is in a folder next to the gateway's.
fn example(name: &str) -> PathBuf {
    let gateway = Path::new(env!("CARGO_BIN_EXE_vidette"));
    let folder = gateway.parent().expect("a folder");
    folder.join("examples").join(name)
}

pub(crate) fn build_examples() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release"]).args(EXAMPLES);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = command.status().expect("cargo runs");
    assert!(built.success(), "the examples do not build");
}

/// A server that is running, and the flags by which it is measured. Dropping it ends it.
pub(crate) struct RunningServer {
    pub(crate) flags: Vec<String>,
    child: Option<Child>,
    folder: Option<TempDir>,
}

impl RunningServer {
    /// Starts a server. The gateway is started by `vidette bench` itself.
    pub(crate) fn start(server: Server, bench: &str) -> Self {
        match server {
            Server::Vidette => Self::own("sqlite"),
            Server::VidetteMemory => Self::own("memory"),
            Server::VidetteTls => Self::secure(),
            Server::Naive => Self::example("naive_sse", "/sub/{topic}"),
            Server::Tonic => Self::example("plain_tonic", ""),
            Server::Nchan if bench == "poll" => Self::nchan("/poll/{topic}"),
            Server::Nchan => Self::nchan("/sub/{topic}"),
        }
    }

    fn own(engine: &str) -> Self {
        RunningServer {
            flags: vec!["--engine".to_owned(), engine.to_owned()],
            child: None,
            folder: None,
        }
    }

    /// With a certificate and keys of its own, which the clients trust and use.
    fn secure() -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings = secure::settings(folder.path());
        let put = |name: &str, text: &str| tls::put(&folder.path().join(name), text);
        let files = [
            ("--config", put("vidette.toml", &settings)),
            ("--ca", put("ca.pem", &secure::AUTHORITY.pem())),
            ("--token-file", put("token", secure::token())),
        ];
        let mut server = Self::own("sqlite");
        for (flag, file) in files {
            server
                .flags
                .extend([flag.to_owned(), file.display().to_string()]);
        }
        server.folder = Some(folder);
        server
    }

    fn other(child: Child, url: &str, path: &str, folder: Option<TempDir>) -> Self {
        // `vidette bench` fills the topics in, and finds children of the process by itself.
        let flags = [
            ("--url", format!("{url}{path}")),
            ("--publish-url", format!("{url}/pub/{{topic}}")),
            ("--server-pid", child.id().to_string()),
        ];
        let flags = flags.into_iter();
        RunningServer {
            flags: flags
                .flat_map(|(flag, value)| [flag.to_owned(), value])
                .collect(),
            child: Some(child),
            folder,
        }
    }

    fn example(name: &str, path: &str) -> Self {
        let mut command = Command::new(example(name));
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().expect("the example starts");

        // Its first line says where it listens.
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ");
        Self::other(child, url.expect("an address"), path, None)
    }

    fn nchan(path: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, nchan_config(folder.path(), port)).expect("a configuration");
        let child = nginx(folder.path(), &file);
        wait_until_listening(port);
        let url = format!("http://127.0.0.1:{port}");
        Self::other(child, &url, path, Some(folder))
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a free port").port()
}

fn nchan_config(folder: &Path, port: u16) -> String {
    let folder = folder.display().to_string();
    // A file of its own, because nginx takes no settings of a module as arguments.
    let config = include_str!("nchan.conf").replace("@FOLDER@", &folder);
    let config = config.replace("@MODULE@", NCHAN_MODULE);
    config.replace("@PORT@", &port.to_string())
}

fn nginx(folder: &Path, config: &Path) -> Child {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(config);
    command.arg("-e").arg(folder.join("error.log"));
    command.stdin(Stdio::null()).spawn().expect("nginx starts")
}

fn wait_until_listening(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START_WAIT, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Killed at once, nginx would leave its workers behind; this signal ends them, too.
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
