//! What an encrypted page that waits costs in memory, beside one that is not encrypted.
//!
//! `cargo test --test tls idle -- --nocapture` prints both.

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::common::gateway::PATIENCE;
use crate::support::{TlsGateway, get};

const READERS: usize = 2000;
/// Those that come first, and fill what grows with the first of them.
const FIRST_READERS: usize = 100;
/// With everything that is encrypted about it.
const MOST_BYTES_A_READER: usize = 12_000;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A page that has read all there is.
async fn reader(mut stream: Box<dyn Stream>) -> Box<dyn Stream> {
    let request = get("/v1/sse?topic=door.1", "");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains("vidette.caught_up") {
            assert!(stream.read_buf(&mut read).await.expect("bytes") > 0);
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    stream
}

fn resident_bytes(gateway: &TlsGateway) -> usize {
    let status = format!("/proc/{}/status", gateway.gateway.pid());
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a figure").parse::<usize>().expect("digits") * 1024
}

/// What each of many readers makes the gateway take.
async fn bytes_a_reader(gateway: &TlsGateway, connect: impl AsyncFn() -> Box<dyn Stream>) -> usize {
    let open = async || reader(connect().await).await;
    let mut readers = join_all((0..FIRST_READERS).map(|_| open())).await;
    let before = resident_bytes(gateway);
    while readers.len() < FIRST_READERS + READERS {
        readers.extend(join_all((0..50).map(|_| open())).await);
    }
    resident_bytes(gateway).saturating_sub(before) / READERS
}

#[tokio::test]
async fn an_encrypted_page_that_waits_takes_no_more_than_twelve_kilobytes() {
    let gateway = TlsGateway::start();
    let client = TlsConnector::from(gateway.authority.client(&["http/1.1"]));
    let encrypted = bytes_a_reader(&gateway, async || {
        let stream = TcpStream::connect(gateway.gateway.address()).await;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = client.connect(name, stream.expect("a connection")).await;
        Box::new(stream.expect("a handshake")) as Box<dyn Stream>
    })
    .await;

    // By another gateway, as the first has memory to give again.
    let gateway = TlsGateway::start();
    let address = gateway.plain().await;
    let plain = bytes_a_reader(&gateway, async || {
        let stream = TcpStream::connect(address).await;
        Box::new(stream.expect("a connection")) as Box<dyn Stream>
    })
    .await;
    println!("bytes a waiting SSE reader: {plain} plain, {encrypted} encrypted");
    assert!(encrypted <= MOST_BYTES_A_READER, "{encrypted} bytes");
}
