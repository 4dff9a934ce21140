//! Servers to measure: how each is started, and where it reads and publishes.

use std::io::{BufRead as _, BufReader, Write as _};
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
    Centrifugo,
    /// NATS JetStream: each message is synced before it is acknowledged.
    NatsSync,
    /// The same with its default, which syncs every two minutes.
    Nats,
}

pub(crate) const ALL: &[Server] = &[
    Server::Vidette,
    Server::VidetteMemory,
    Server::VidetteTls,
    Server::Naive,
    Server::Tonic,
    Server::Nchan,
    Server::Centrifugo,
    Server::NatsSync,
    Server::Nats,
];

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const NCHAN_INSTALL: &str =
    "it is not installed (Debian: apt-get install nginx-light libnginx-mod-nchan)";
const TOOL_INSTALL: &str = "it is not installed (make bench-rivals)";
const CENTRIFUGO_SSE: &str = "/connection/uni_sse?cf_connect=";
/// `{"subs":{"TOPIC":{}}}`
const CENTRIFUGO_SUBSCRIBE: &str = "%7B%22subs%22%3A%7B%22{topic}%22%3A%7B%7D%7D%7D";
/// `{"subs":{"TOPIC":{"recover":true}}}`: from offset 0 of whatever epoch the topic has.
const CENTRIFUGO_RECOVER: &str =
    "%7B%22subs%22%3A%7B%22{topic}%22%3A%7B%22recover%22%3Atrue%7D%7D%7D";
const CENTRIFUGO_METHOD: &str = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume";
/// `ConnectRequest` with one entry of `subs`, whose options are empty.
const CENTRIFUGO_REQUEST: &str = "1a<0a<{topic}>12<>>";
const CENTRIFUGO_BODY: &str = r#"{"channel":"{topic}","data":"{payload}"}"#;
const NATS_STREAM: &str = concat!(
    r#"{"name":"BENCH","subjects":["bench.>"],"storage":"file","#,
    r#""retention":"limits","num_replicas":1}"#
);
/// Events of a topic that are kept for readers that come back, where the run needs few or many.
const SHORT_HISTORY: u32 = 100;
const LONG_HISTORY: u32 = 20_000;
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
            Server::Centrifugo => "centrifugo",
            Server::NatsSync => "nats-sync",
            Server::Nats => "nats",
        }
    }

    pub(crate) fn is_own(self) -> bool {
        matches!(
            self,
            Server::Vidette | Server::VidetteMemory | Server::VidetteTls
        )
    }

    /// How to install it, where it cannot be run.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let (file, how) = match self {
            Server::Nchan => (PathBuf::from(NCHAN_MODULE), NCHAN_INSTALL),
            Server::Centrifugo => (tool("centrifugo"), TOOL_INSTALL),
            Server::Nats | Server::NatsSync => (tool("nats-server"), TOOL_INSTALL),
            _ => return None,
        };
        (!file.exists()).then_some(how)
    }
}

/// What scripts/setup-rivals.sh and scripts/setup-tests.sh have installed.
fn tool(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(".tools/bin").join(name)
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
    pub(crate) fn start(server: Server, bench: &str) -> Result<Self, String> {
        let history = match bench {
            "resume" => LONG_HISTORY,
            _ => SHORT_HISTORY,
        };
        match server {
            Server::Vidette => Ok(Self::own("sqlite")),
            Server::VidetteMemory => Ok(Self::own("memory")),
            Server::VidetteTls => Ok(Self::secure()),
            Server::Naive => Self::example("naive_sse", "/sub/{topic}"),
            Server::Tonic => Self::example("plain_tonic", ""),
            Server::Nchan if bench == "poll" => Self::nchan("/poll/{topic}", history),
            Server::Nchan if bench == "resume" => Self::nchan("/old/{topic}", history),
            Server::Nchan => Self::nchan("/sub/{topic}", history),
            Server::Centrifugo => Self::centrifugo(bench, history),
            Server::NatsSync => Self::nats("always"),
            Server::Nats => Self::nats("2m"),
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

    fn other(child: Child, url: &str, publish_url: &str, folder: Option<TempDir>) -> Self {
        // `vidette bench` fills the topics in, and finds children of the process by itself.
        let flags = [
            ("--url", url.to_owned()),
            ("--publish-url", publish_url.to_owned()),
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

    fn example(name: &str, path: &str) -> Result<Self, String> {
        let mut command = Command::new(example(name));
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = spawn(&mut command, name)?;

        // Its first line says where it listens.
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).map_err(|e| e.to_string())?;
        let url = line.trim().strip_prefix("listening on ");
        let url = url.ok_or_else(|| format!("{name} did not say where it listens: {line}"))?;
        let publish_url = format!("{url}/pub/{{topic}}");
        Ok(Self::other(
            child,
            &format!("{url}{path}"),
            &publish_url,
            None,
        ))
    }

    fn nchan(path: &str, history: u32) -> Result<Self, String> {
        let (folder, port) = (new_folder()?, free_port());
        let config = include_str!("nchan.conf")
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@MODULE@", NCHAN_MODULE)
            .replace("@HISTORY@", &history.to_string())
            .replace("@PORT@", &port.to_string());
        let file = write(&folder, "nginx.conf", &config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file);
        command.arg("-e").arg(folder.path().join("error.log"));
        let child = spawn(&mut command, "nginx")?;
        let url = format!("http://127.0.0.1:{port}");
        let publish_url = format!("{url}/pub/{{topic}}");
        let server = Self::other(child, &format!("{url}{path}"), &publish_url, Some(folder));
        server.listening(port)
    }

    /// The memory engine, with history and positions, so that its readers can resume.
    fn centrifugo(bench: &str, history: u32) -> Result<Self, String> {
        let (folder, ports) = (new_folder()?, [free_port(), free_port()]);
        let config = include_str!("centrifugo.json")
            .replace("@HISTORY@", &history.to_string())
            .replace("\"@PORT@\"", &ports[0].to_string())
            .replace("\"@GRPC_PORT@\"", &ports[1].to_string());
        let file = write(&folder, "config.json", &config)?;
        let mut command = Command::new(tool("centrifugo"));
        command.arg("-c").arg(file).stdout(Stdio::null());
        let child = spawn(&mut command, "centrifugo")?;
        let [http, grpc] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let url = match bench {
            "grpc" => format!("{grpc}{CENTRIFUGO_METHOD}"),
            "resume" => format!("{http}{CENTRIFUGO_SSE}{CENTRIFUGO_RECOVER}"),
            _ => format!("{http}{CENTRIFUGO_SSE}{CENTRIFUGO_SUBSCRIBE}"),
        };
        let publish_url = format!("{http}/api/publish");
        let mut server = Self::other(child, &url, &publish_url, Some(folder));
        server
            .flags
            .extend(["--publish-body", CENTRIFUGO_BODY].map(str::to_owned));
        if bench == "grpc" {
            let request = ["--grpc-request", CENTRIFUGO_REQUEST];
            server.flags.extend(request.map(str::to_owned));
        }
        ports.into_iter().try_fold(server, Self::listening)
    }

    /// One JetStream stream of one replica on disk.
    fn nats(sync_interval: &str) -> Result<Self, String> {
        let (folder, port) = (new_folder()?, free_port());
        let store = folder.path().join("store");
        let config = include_str!("nats.conf")
            .replace("@PORT@", &port.to_string())
            .replace("@FOLDER@", &store.display().to_string())
            .replace("@SYNC@", sync_interval);
        let file = write(&folder, "nats.conf", &config)?;
        let mut command = Command::new(tool("nats-server"));
        command.arg("-c").arg(file).stderr(Stdio::null());
        let child = spawn(&mut command, "nats-server")?;
        let url = format!("nats://127.0.0.1:{port}");
        let server = Self::other(child, &url, &url, Some(folder)).listening(port)?;
        create_stream(port)?;
        Ok(server)
    }

    fn listening(self, port: u16) -> Result<Self, String> {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START_WAIT {
                return Err(format!("it does not listen on port {port}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }
}

fn spawn(command: &mut Command, name: &str) -> Result<Child, String> {
    let child = command.stdin(Stdio::null()).spawn();
    child.map_err(|error| format!("{name} does not start: {error}"))
}

fn new_folder() -> Result<TempDir, String> {
    TempDir::new().map_err(|error| format!("no temporary folder: {error}"))
}

/// Writes a configuration, for what a server does not take as arguments.
fn write(folder: &TempDir, name: &str, text: &str) -> Result<PathBuf, String> {
    let file = folder.path().join(name);
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a free port").port()
}

/// Asks JetStream for the stream, in the protocol of NATS, and waits for its answer.
fn create_stream(port: u16) -> Result<(), String> {
    let length = NATS_STREAM.len();
    let request = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.setup 1\r\n\
         PUB $JS.API.STREAM.CREATE.BENCH _INBOX.setup {length}\r\n{NATS_STREAM}\r\n"
    );
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream
        .set_read_timeout(Some(START_WAIT))
        .map_err(|e| e.to_string())?;
    (&stream)
        .write_all(request.as_bytes())
        .map_err(|e| e.to_string())?;
    for line in BufReader::new(&stream).lines() {
        let line = line.map_err(|error| format!("no stream: {error}"))?;
        if line.contains("\"error\"") || line.starts_with("-ERR") {
            return Err(format!("no stream: {line}"));
        }
        if line.contains("\"created\"") {
            return Ok(());
        }
    }
    Err("no stream: the server closed the connection".to_owned())
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
