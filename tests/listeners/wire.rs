//! Bytes on connections that come from an address of the test's choice.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;

/// A connection to a port of this machine.
pub(crate) struct Wire(TcpStream);

impl Wire {
    /// From this address of the machine.
    pub(crate) async fn connect(from: &str, port: u16) -> Self {
        let from: IpAddr = from.parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("bound");
        let connected = socket.connect(([127, 0, 0, 1], port).into()).await;
        Wire(connected.expect("somebody listens"))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Asks, and reads until there is this text; gives what has come, also where it ends earlier.
    pub(crate) async fn ask(&mut self, path: &str, headers: &str, until: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // It may be refused before all is sent.
        let _ = self.send(head.as_bytes()).await;
        self.read_to(until).await
    }

    /// Is it served?
    pub(crate) async fn is_served(&mut self) -> bool {
        let answer = self.ask("/healthz", "", "\r\n\r\n").await;
        answer.starts_with("HTTP/1.1 200")
    }

    pub(crate) async fn read_to(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(text) {
                if !matches!(self.0.read_buf(&mut read).await, Ok(1..)) {
                    break;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("in time");
        String::from_utf8_lossy(&read).into_owned()
    }

    /// All until its end.
    pub(crate) async fn read_to_end(&mut self) -> String {
        self.read_to("\u{0}there is no such text").await
    }
}

/// The header of version 2 of the PROXY protocol for a client of IPv4, with so many bytes of what a
/// proxy may add.
pub(crate) fn header_for(client: [u8; 4], added_bytes: u16) -> Vec<u8> {
    let length = (12 + added_bytes).to_be_bytes();
    let added = vec![0; added_bytes.into()];
    let addresses = [&client[..], &[127, 0, 0, 1, 0x12, 0x34, 0, 80]].concat();
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    [&signature[..], &length, &addresses, &added].concat()
}

/// How many were refused for this reason, asked for from an address that nobody else has, so that
/// asking is no such thing itself.
pub(crate) async fn refused(port: u16, reason: &str) -> u64 {
    static ASKED: AtomicU8 = AtomicU8::new(1);
    let from = format!("127.0.1.{}", ASKED.fetch_add(1, Ordering::Relaxed));
    let mut wire = Wire::connect(&from, port).await;
    let text = wire.ask("/metrics", "", "# EOF").await;
    let name = format!("vidette_refused_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.and_then(|value| value.parse().ok()).expect("a count")
}
