//! Gateways that encrypt, and connections to them byte by byte.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::tls::{Authority, LOCAL_NAMES};

/// A gateway whose certificate an authority of the test's own has issued, with a plain address
/// beside the encrypted one.
pub struct TlsGateway {
    pub gateway: Gateway,
    pub authority: Authority,
    /// With `cert.pem`, `key.pem`, and `ca.pem` of the authority.
    pub folder: TempDir,
}

impl TlsGateway {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines in `[tls]`, and sections behind it.
    pub fn start_with(tls: &str) -> Self {
        Self::start_in(|_| tls.to_owned())
    }

    /// The same for lines that need files.
    pub fn start_in(tls: impl FnOnce(&Path) -> String) -> Self {
        let (authority, folder) = (Authority::new("tests"), TempDir::new().expect("a folder"));
        authority.issue(&LOCAL_NAMES).write(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("it is written");
        let (section, tls) = (section(folder.path()), tls(folder.path()));
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config: format!("listen_plain = \"127.0.0.1:0\"\n{section}\n{tls}"),
            ..Setup::default()
        });
        TlsGateway {
            gateway,
            authority,
            folder,
        }
    }

    /// A client of HTTP that trusts its authority.
    pub fn client(&self) -> reqwest::Client {
        let client = self.authority.http_client().build();
        client.expect("a client")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    /// The path of its authority's certificate.
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// Its address without encryption.
    pub async fn plain(&self) -> SocketAddr {
        let log = || self.gateway.log();
        let is_there = || async { log().contains("listening on http://") };
        self.gateway.until("it listens", is_there).await;
        let log = log();
        let (_, address) = log.split_once("listening on http://").expect("a URL");
        let address = address.lines().next().expect("a line");
        address.trim().parse().expect("an address")
    }

    /// Publishes so many small events.
    pub async fn publish(&self, topic: &str, count: u64) {
        let events: Vec<Value> = (0..count)
            .map(|n| json!({"topic": topic, "data": n}))
            .collect();
        let request = self.client().post(self.url("/v1/events")).json(&events);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    /// Subscriptions that are open.
    pub async fn subscribers(&self) -> u64 {
        let bus = self.client().get(self.url("/v1/bus")).send().await;
        let bus: Value = bus.expect("an answer").json().await.expect("JSON");
        bus["subscribers"].as_u64().expect("a count")
    }

    pub async fn until_subscribers_are(&self, count: u64) {
        let are_so_many = || async { self.subscribers().await == count };
        self.gateway
            .until("subscribers come or leave", are_so_many)
            .await;
    }

    /// An encrypted connection for HTTP/1.1.
    pub async fn connect(&self) -> Connection {
        let connected = self.try_connect(self.authority.client(&["http/1.1"])).await;
        connected.expect("a connection")
    }

    /// A connection of such a client, which has read something already: with TLS 1.3 a client
    /// learns only so whether the gateway accepts it.
    pub async fn try_connect(&self, client: Arc<ClientConfig>) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(self.gateway.address()).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(client).connect(name, stream).await?;
        Ok(Connection {
            stream,
            read: Vec::new(),
        })
    }
}

/// `[tls]` with the files of a folder.
pub fn section(folder: &Path) -> String {
    let folder = folder.display();
    format!("[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"")
}

/// A request of HTTP/1.1 without a body.
pub fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// A client's end of an encrypted connection.
pub struct Connection {
    pub stream: TlsStream<TcpStream>,
    pub read: Vec<u8>,
}

impl Connection {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref()).await;
        sent.expect("it is taken");
        self.stream.flush().await.expect("it is taken");
    }

    /// Reads until all that was read holds a text.
    pub async fn read_to(&mut self, text: &str) -> String {
        let reading = async {
            loop {
                let read = String::from_utf8_lossy(&self.read).into_owned();
                if read.contains(text) {
                    return read;
                }
                let count = self.stream.read_buf(&mut self.read).await.expect("bytes");
                assert!(count > 0, "it ended after {read:?}");
            }
        };
        let read = timeout(PATIENCE, reading).await;
        read.unwrap_or_else(|_| panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.read)))
    }

    /// Reads to the end, which the gateway has to announce as TLS does.
    pub async fn read_to_end(&mut self) -> String {
        let reading = self.stream.read_to_end(&mut self.read);
        let read = timeout(PATIENCE, reading).await.expect("in time");
        read.expect("an end that is announced");
        String::from_utf8_lossy(&self.read).into_owned()
    }
}
