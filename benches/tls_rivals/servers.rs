//! The servers: how each is started with a certificate, and what its pages ask for.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tls::Identity;

pub(crate) enum Server {
    /// This program, with a log on disk.
    Vidette(PathBuf),
    /// nginx with Debian's libnginx-mod-nchan, which keeps everything in memory.
    Nginx,
}

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const START_WAIT: Duration = Duration::from_secs(10);
/// The same settings as without TLS; only the listener is another one.
const NGINX: &str = include_str!("../scenarios/nchan.conf");
const PLAIN_LISTENER: &str = "listen 127.0.0.1:@PORT@ reuseport backlog=4096;";
const TLS_LISTENER: &str = "listen 127.0.0.1:@PORT@ ssl reuseport backlog=4096;
    ssl_certificate @FOLDER@/cert.pem;
    ssl_certificate_key @FOLDER@/key.pem;
    ssl_protocols TLSv1.3;
    ssl_session_tickets on;
    ssl_session_cache off;";

pub(crate) fn has_nginx() -> bool {
    Path::new(MODULE).exists()
}

impl Server {
    pub(crate) fn name(&self) -> String {
        match self {
            Server::Vidette(program) => {
                let name = program.file_name().expect("a program");
                name.to_string_lossy().into_owned()
            }
            Server::Nginx => "nchan".to_owned(),
        }
    }
}

/// A server that runs. Dropping it ends it.
pub(crate) struct Running {
    pub(crate) port: u16,
    child: Child,
    is_vidette: bool,
    _folder: TempDir,
}

impl Running {
    pub(crate) fn start(server: &Server, identity: &Identity) -> Self {
        let folder = TempDir::new().expect("a folder");
        identity.write(folder.path());
        let port = free_port();
        let child = match server {
            Server::Vidette(program) => vidette(program, folder.path(), port),
            Server::Nginx => nginx(folder.path(), port),
        };
        wait_until_listening(port);
        Running {
            port,
            child,
            is_vidette: matches!(server, Server::Vidette(_)),
            _folder: folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn page_request(&self) -> String {
        let (path, port) = (self.page("t"), self.port);
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/event-stream\r\n\r\n"
        )
    }

    fn page(&self, topic: &str) -> String {
        if self.is_vidette {
            format!("/v1/sse?topic={topic}")
        } else {
            format!("/sub/{topic}")
        }
    }

    /// By which `vidette bench` finds it.
    pub(crate) fn bench_flags(&self) -> Vec<String> {
        let url = format!("https://127.0.0.1:{}", self.port);
        let pid = self.pid().to_string();
        if self.is_vidette {
            // Runs come one after the other, so its log has events of the ones before.
            return [
                flags(&[("--url", url), ("--server-pid", pid)]),
                vec!["--yes".to_owned()],
            ]
            .concat();
        }
        let (page, publish) = (self.page("{topic}"), format!("{url}/pub/{{topic}}"));
        let page = format!("{url}{page}");
        flags(&[
            ("--url", page),
            ("--publish-url", publish),
            ("--server-pid", pid),
        ])
    }
}

fn flags(pairs: &[(&str, String)]) -> Vec<String> {
    let pairs = pairs.iter();
    let flags = pairs.flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]);
    flags.collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a free port").port()
}

fn vidette(program: &Path, folder: &Path, port: u16) -> Child {
    let config = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    let file = folder.join("vidette.toml");
    std::fs::write(&file, config).expect("a configuration");
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(file);
    command.arg("--data-dir").arg(folder.join("data"));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");

    // Nobody reads its log, which would stop it once the pipe is full.
    let log = BufReader::new(child.stderr.take().expect("a pipe"));
    std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
    child
}

fn nginx(folder: &Path, port: u16) -> Child {
    let config = NGINX.replace(PLAIN_LISTENER, TLS_LISTENER);
    assert!(config.contains(TLS_LISTENER), "its listener is another one");
    let config = config.replace("@FOLDER@", &folder.display().to_string());
    let config = config.replace("@MODULE@", MODULE);
    let config = config.replace("@PORT@", &port.to_string());
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("a configuration");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    command.arg("-e").arg(folder.join("error.log"));
    command.stdin(Stdio::null()).spawn().expect("nginx starts")
}

fn wait_until_listening(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START_WAIT, "the server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed at once, nginx would leave its workers behind; this signal ends them, too.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < START_WAIT {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
