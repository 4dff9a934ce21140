//! The files of deploy/proxies, each read by the proxy that it is for, with the gateway's file of
//! that folder: readers on every transport get an event while its publisher goes on sending.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;

use crate::common::tls::Authority;
use crate::served::{Served, free_port, installed, until};
use crate::tools::{Running, find, root, run};

/// What stands in the samples for the name of the gateway.
const HOST: &str = "push.example.org";
/// What is loaded by `a2enmod` in the sample's first lines, and what Debian loads anyway.
const APACHE_MODULES: [&str; 10] = [
    "mpm_event",
    "authz_core",
    "reqtimeout",
    "env",
    "ssl",
    "http2",
    "headers",
    "proxy",
    "proxy_http",
    "proxy_http2",
];

/// How a proxy treats streams of lines that are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Each is answered while the stream goes on.
    AnsweredEach,
    /// The same over HTTP/2, while over HTTP/1.1 some are lost.
    AnsweredEachOverHttp2,
    /// Each is published as it comes, and the answers come at the end.
    AnsweredAtTheEnd,
}

impl Lines {
    fn http_version(self) -> &'static str {
        match self {
            Lines::AnsweredEachOverHttp2 => "--http2",
            Lines::AnsweredEach | Lines::AnsweredAtTheEnd => "--http1.1",
        }
    }
}

/// A proxy of a sample, in a folder with the certificate that it shows.
struct Proxy {
    running: Running,
    scheme: &'static str,
    port: u16,
}

/// A gateway with the sample's configuration and a folder for a proxy.
struct Ground {
    gateway: Served,
    port: u16,
}

impl Ground {
    async fn new() -> Self {
        let config = sample("vidette.toml");
        let config = config.replace("127.0.0.1:8080", "0");
        let config = config.replace(HOST, "localhost");
        let nobody = "anonymous = { subscribe = [], publish = [] }";
        assert!(config.contains(nobody), "{config}");
        let everybody = "anonymous = { subscribe = [\">\"], publish = [\">\"] }";
        let config = config.replace(nobody, everybody);
        let config = format!("{config}\n[limits.address]\nsubscriptions = 1\n");
        let gateway = Served::start(&config, &[]).await;
        let authority = Authority::new("proxies");
        let identity = authority.issue(&["localhost"]);
        identity.write(gateway.folder.path());
        fs::write(gateway.path("both.pem"), identity.pem()).expect("a file");
        fs::write(gateway.path("ca.pem"), authority.pem()).expect("a file");
        Ground {
            gateway,
            port: free_port(),
        }
    }

    fn folder(&self) -> &Path {
        self.gateway.folder.path()
    }

    /// A sample with the ports, names and files of this test in place of its own.
    fn fitted(&self, name: &str) -> String {
        let (port, folder) = (self.port, self.folder().display().to_string());
        let gateway = self.gateway.port();
        // The gateway's port comes last, as it may begin with 443.
        sample(name)
            .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
            .replace("*:443", &format!("127.0.0.1:{port}"))
            .replace(":443", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{gateway}"))
            .replace(".port = \"8080\"", &format!(".port = \"{gateway}\""))
            .replace(&format!("/etc/ssl/{HOST}"), &folder)
            .replace(
                &format!("/etc/haproxy/{HOST}.pem"),
                &format!("{folder}/both.pem"),
            )
            .replace(HOST, "localhost")
    }

    /// Runs a proxy with this text as its file, and waits until it listens.
    async fn start(&self, program: &str, args: &[&str], file: &str, scheme: &'static str) -> Proxy {
        let config = self.folder().join("proxy.conf");
        fs::write(&config, file).expect("a file");
        let folder = self.folder().display().to_string();
        let config = config.display().to_string();
        let fit = |arg: &&str| arg.replace("FOLDER", &folder).replace("FILE", &config);
        let args: Vec<String> = args.iter().map(fit).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let running = Running::start(installed(program), &args);
        let port = self.port;
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        until(&format!("{program} listens"), listens).await;
        Proxy {
            running,
            scheme,
            port,
        }
    }
}

/// By a signal that reaches the processes that it has started, as Apache's.
impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = self.running.pid();
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let is_gone = |_: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let is_gone = status.is_empty() || status.contains("\nState:\tZ");
            if !is_gone {
                std::thread::sleep(Duration::from_millis(5));
            }
            is_gone
        };
        let _ = (0..400).find(is_gone);
    }
}

fn sample(name: &str) -> String {
    let path = root().join("deploy/proxies").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Proxy {
    fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    fn curl(&self, ground: &Ground, args: &[&str], path: &str) -> Running {
        let (ca, url) = (ground.folder().join("ca.pem"), self.url(path));
        let trusted = ca.display().to_string();
        let own = ["-sSN", "--cacert", trusted.as_str()];
        let args = [&own, args, &[url.as_str()]].concat();
        Running::start(find("curl", "bin"), &args)
    }

    /// A call of gRPC that goes on, and that reflection through the proxy has made known.
    fn grpcurl(&self, ground: &Ground) -> Running {
        let ca = ground.folder().join("ca.pem").display().to_string();
        let address = format!("localhost:{}", self.port);
        let ask = r#"{"topic":["door.*"],"after":"earliest"}"#;
        let method = "vidette.v1.EventBus/Subscribe";
        let args = [
            "-cacert",
            &ca,
            "-max-time",
            "20",
            "-d",
            ask,
            &address,
            method,
        ];
        Running::start(find("grpcurl", "bin"), &args)
    }

    /// Everything that a gateway does for clients passes, and as it comes.
    async fn carries_everything(&self, ground: &Ground, with_grpc: bool, lines: Lines) {
        let mut sse = self.curl(ground, &FIRST_CLIENT, "/v1/sse?topic=door.*");
        sse.line_with("event: vidette.caught_up").await;
        let waiting = "/v1/poll?topic=door.*&after=earliest&wait=20";
        let poll = self.curl(ground, &SECOND_CLIENT, waiting);
        let mut grpc = with_grpc.then(|| self.grpcurl(ground));
        if let Some(grpc) = &mut grpc {
            grpc.line_with("\"caughtUp\"").await;
        }

        let publish = [&[lines.http_version()], &PUBLISH_LINES[..]].concat();
        let mut publisher = self.curl(ground, &publish, "/v1/events");
        for door in [1, 2] {
            let line = format!("{{\"topic\":\"door.{door}\",\"data\":{door}}}\n");
            publisher.say(&line).await;
            // Before the publisher's stream has ended.
            sse.line_with(&format!("\"topic\":\"door.{door}\"")).await;
            if let Some(grpc) = &mut grpc {
                grpc.line_with(&format!("\"topic\": \"door.{door}\"")).await;
            }
            if lines != Lines::AnsweredAtTheEnd {
                publisher.line_with(&format!("\"vid\":{door}")).await;
            }
        }
        let polled = poll.ended().await.ok();
        assert!(polled.contains("\"topic\":\"door.1\""), "{polled}");
        let rest = publisher.end().await.ok();
        let is_answered = lines != Lines::AnsweredAtTheEnd || rest.contains("\"vid\":2");
        assert!(is_answered, "{rest}");
        self.tells_its_clients_apart(ground).await;
    }

    /// Each client has one subscription by now, so a second one of the first is refused, whomever
    /// it takes itself for.
    async fn tells_its_clients_apart(&self, ground: &Ground) {
        let claims = [
            "-H",
            "Forwarded: for=192.0.2.9",
            "-H",
            "X-Forwarded-For: 192.0.2.8",
        ];
        let status = ["-o", "/dev/null", "-w", "%{http_code}"];
        let args = [&FIRST_CLIENT, &claims[..], &status].concat();
        let answer = self.curl(ground, &args, "/v1/poll?wait=0");
        assert_eq!(answer.ended().await.ok().trim(), "429");
    }

    /// A call of gRPC is refused as unavailable, and without a page that some clients read as the
    /// cut of a stream.
    async fn refuses_grpc_without_a_gateway(&self, ground: Ground) {
        let folder = ground.gateway.end(Signal::SIGTERM).await;
        let ca = folder.path().join("ca.pem").display().to_string();
        let url = self.url("/vidette.v1.EventBus/Subscribe");
        let trusted = ["-sSi", "--http2", "--cacert", &ca];
        let call = ["-X", "POST", "-H", "Content-Type: application/grpc", &url];
        let answer = run(find("curl", "bin"), &[&trusted[..], &call].concat()).await;
        let answer = answer.ok();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("grpc-status: 14"), "{answer}");
        assert_eq!(body, "", "{answer}");
    }
}

/// Addresses of curl; grpcurl has that of the proxy.
const FIRST_CLIENT: [&str; 2] = ["--interface", "127.0.0.2"];
const SECOND_CLIENT: [&str; 2] = ["--interface", "127.0.0.3"];

/// A stream of lines from standard input, sent at once: without waiting to be asked to.
const PUBLISH_LINES: [&str; 8] = [
    "-X",
    "POST",
    "-H",
    "Content-Type: application/x-ndjson",
    "-H",
    "Expect:",
    "-T",
    ".",
];

#[tokio::test]
async fn nginx_carries_everything_as_it_comes() {
    let ground = Ground::new().await;
    let at = ground.folder().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("  {name}_temp_path {at}/{name};\n"));
    let file = format!(
        "daemon off;\nmaster_process off;\npid {at}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\n  access_log off;\n{}{}}}\n",
        temporary.concat(),
        ground.fitted("nginx.conf")
    );
    let args = ["-e", "stderr", "-c", "FILE"];
    let proxy = ground.start("nginx", &args, &file, "https").await;
    proxy
        .carries_everything(&ground, true, Lines::AnsweredEach)
        .await;
    proxy.refuses_grpc_without_a_gateway(ground).await;
}

#[tokio::test]
async fn apache_carries_everything_as_it_comes() {
    let ground = Ground::new().await;
    let load = APACHE_MODULES
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let (at, port) = (ground.folder().display(), ground.port);
    let file = format!(
        "ServerRoot {at}\nServerName localhost\nPidFile {at}/apache.pid\nDefaultRuntimeDir {at}\n\
         ErrorLog /dev/stderr\nMutex posixsem\nListen 127.0.0.1:{port}\nUser nobody\n\
         Group nogroup\n{}{}",
        load.concat(),
        ground.fitted("apache.conf")
    );
    let proxy = ground
        .start("apache2", &["-DFOREGROUND", "-f", "FILE"], &file, "https")
        .await;
    proxy
        .carries_everything(&ground, true, Lines::AnsweredAtTheEnd)
        .await;
}

#[tokio::test]
async fn haproxy_carries_everything_as_it_comes() {
    let ground = Ground::new().await;
    let file = ground.fitted("haproxy.cfg");
    let proxy = ground
        .start("haproxy", &["-db", "-f", "FILE"], &file, "https")
        .await;
    proxy
        .carries_everything(&ground, true, Lines::AnsweredEach)
        .await;
    proxy.refuses_grpc_without_a_gateway(ground).await;
}

#[tokio::test]
async fn varnish_carries_all_but_grpc_as_it_comes() {
    let ground = Ground::new().await;
    let (file, at) = (
        ground.fitted("varnish.vcl"),
        format!("127.0.0.1:{}", ground.port),
    );
    let args = [
        "-F",
        "-n",
        "FOLDER/varnish",
        "-a",
        &at,
        "-f",
        "FILE",
        "-T",
        "none",
    ];
    // As its first lines say.
    let args = [&args[..], &["-p", "pipe_timeout=150"]].concat();
    let proxy = ground.start("varnishd", &args, &file, "http").await;
    proxy
        .carries_everything(&ground, false, Lines::AnsweredEach)
        .await;
}

#[tokio::test]
async fn caddy_carries_everything_as_it_comes() {
    let ground = Ground::new().await;
    let (at, port) = (ground.folder().display(), ground.port);
    // It would ask an authority for a certificate of its name.
    let own_name = "localhost {\n";
    let sample = ground.fitted("Caddyfile");
    assert!(sample.contains(own_name), "{sample}");
    let here = format!(
        "https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {at}/cert.pem {at}/key.pem\n"
    );
    let file = format!(
        "{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {at}/caddy\n\
         }}\n{}",
        sample.replace(own_name, &here)
    );
    let start = [
        "HOME=FOLDER",
        "caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        "FILE",
    ];
    let proxy = ground.start("env", &start, &file, "https").await;
    proxy
        .carries_everything(&ground, true, Lines::AnsweredEachOverHttp2)
        .await;
}
