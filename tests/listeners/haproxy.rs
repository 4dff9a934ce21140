//! Behind `HAProxy`, as docs/proxies.md sets it up.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::served::{Served, free_port, installed, until};
use crate::tools::{Running, find, run};
use crate::wire::{Wire, refused};

/// `HAProxy` between a port and the gateway's.
struct Haproxy {
    port: u16,
    stats: String,
    _running: Running,
}

impl Haproxy {
    async fn start(folder: &Path, mode: &str, server: &str) -> Self {
        let (port, stats) = (free_port(), folder.join("stats.sock").display().to_string());
        let config = format!(
            "global\n  stats socket {stats}\n\
             defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen push\n  bind 127.0.0.1:{port}\n  {server}\n"
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).expect("a file");
        let program = installed("haproxy");
        let file = file.display().to_string();
        let haproxy = Haproxy {
            _running: Running::start(program, &["-db", "-f", &file]),
            port,
            stats,
        };
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        until("HAProxy listens", listens).await;
        haproxy
    }

    /// Does it take the gateway for alive, by its checks?
    async fn says_it_is_up(&self) -> bool {
        let Ok(mut stats) = UnixStream::connect(&self.stats).await else {
            return false;
        };
        let mut said = String::new();
        stats.write_all(b"show stat\n").await.expect("asked");
        stats.read_to_string(&mut said).await.expect("read");
        let server = said.lines().find(|line| line.starts_with("push,gateway"));
        server.is_some_and(|line| line.contains(",L4OK,") || line.contains(",L7OK,"))
    }
}

#[tokio::test]
async fn by_the_proxy_protocol_each_client_is_limited_by_itself() {
    let config = "listen = \"0\"\n[proxy]\ntrusted = \"127.0.0.1\"\nprotocol = true\n\
        [limits]\nmax_connections_per_address = 1\n";
    let gateway = Served::start(config, &[]).await;
    let port = gateway.port();
    let server = format!("server gateway 127.0.0.1:{port} send-proxy-v2 check inter 50ms");
    let haproxy = Haproxy::start(gateway.folder.path(), "tcp", &server).await;

    let mut one = Wire::connect("127.0.0.5", haproxy.port).await;
    assert!(one.is_served().await);
    let again = Wire::connect("127.0.0.5", haproxy.port)
        .await
        .read_to_end()
        .await;
    assert!(again.starts_with("HTTP/1.1 429"), "{again}");
    let mut other = Wire::connect("127.0.0.6", haproxy.port).await;
    assert!(other.is_served().await);

    // Its checks speak for nobody (LOCAL), and are no mistake.
    until("HAProxy finds the gateway alive", async || {
        haproxy.says_it_is_up().await
    })
    .await;
    assert_eq!(refused(port, "proxy_header").await, 0);
}

#[tokio::test]
async fn by_a_header_each_client_is_limited_by_itself_whatever_it_claims() {
    let config = "listen = \"0\"\n[proxy]\ntrusted = \"127.0.0.1\"\n\
        [limits.address]\nsubscriptions = 1\n";
    let gateway = Served::start(config, &[]).await;
    let server = format!(
        "option forwardfor\n  option httpchk GET /readyz\n  http-check send hdr Host localhost\n  \
         server gateway 127.0.0.1:{} check inter 50ms",
        gateway.port()
    );
    let haproxy = Haproxy::start(gateway.folder.path(), "http", &server).await;
    let stream = async |from: &str, headers: &str| {
        let mut wire = Wire::connect(from, haproxy.port).await;
        let said = wire.ask("/v1/sse", headers, "data: {").await;
        (said.contains("event: vidette.hello"), wire)
    };
    let (is_let, _one) = stream("127.0.0.5", "").await;
    assert!(is_let);
    let claim = "X-Forwarded-For: 192.0.2.9\r\n";
    assert!(!stream("127.0.0.5", claim).await.0);
    // HAProxy passes the other header on as the client sent it.
    let (is_let, _as_the_proxy) = stream("127.0.0.5", "Forwarded: for=192.0.2.9\r\n").await;
    assert!(is_let, "once, as the proxy itself");
    assert!(!stream("127.0.0.5", "Forwarded: for=192.0.2.10\r\n").await.0);
    assert!(stream("127.0.0.6", claim).await.0);
    until("HAProxy finds the gateway ready", async || {
        haproxy.says_it_is_up().await
    })
    .await;
}

#[tokio::test]
async fn over_a_unix_socket_too() {
    let config = "listen = \"unix:v.sock\"\n[proxy]\ntrusted = \"unix\"\nprotocol = true\n\
        [limits]\nmax_connections_per_address = 1\n";
    let gateway = Served::start(config, &[]).await;
    let socket = gateway.path("v.sock").display().to_string();
    let server = format!("server gateway unix@{socket} send-proxy-v2");
    let haproxy = Haproxy::start(gateway.folder.path(), "tcp", &server).await;
    let mut one = Wire::connect("127.0.0.5", haproxy.port).await;
    assert!(one.is_served().await);
    let again = Wire::connect("127.0.0.5", haproxy.port)
        .await
        .read_to_end()
        .await;
    assert!(again.starts_with("HTTP/1.1 429"), "{again}");
    let url = format!("http://127.0.0.1:{}/v1/events", haproxy.port);
    let args = [
        "-sS",
        "--interface",
        "127.0.0.7",
        "-d",
        r#"{"topic":"a","data":1}"#,
        &url,
    ];
    let said = run(find("curl", "bin"), &args).await.ok();
    assert!(said.contains("\"vid\":1"), "{said}");
}
