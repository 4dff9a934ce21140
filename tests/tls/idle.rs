//! What an encrypted page that waits costs in memory.

use futures_util::future::join_all;

use crate::support::{Connection, TlsGateway, get};

const READERS: usize = 2000;
/// With everything that is encrypted about it.
const MOST_BYTES_A_READER: usize = 12_000;

async fn reader(gateway: &TlsGateway, client: &std::sync::Arc<rustls::ClientConfig>) -> Connection {
    let connected = gateway.try_connect(client.clone()).await;
    let mut connection = connected.expect("a connection");
    connection.send(get("/v1/sse?topic=door.1", "")).await;
    connection.read_to("vidette.caught_up").await;
    connection
}

fn resident_bytes(gateway: &TlsGateway) -> usize {
    let status = format!("/proc/{}/status", gateway.gateway.pid());
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .expect("a figure");
    kib.parse::<usize>().expect("digits") * 1024
}

#[tokio::test]
async fn an_encrypted_page_that_waits_takes_no_more_than_twelve_kilobytes() {
    let gateway = TlsGateway::start();
    let client = gateway.authority.client(&["http/1.1"]);
    let mut readers = join_all((0..100).map(|_| reader(&gateway, &client))).await;
    let before = resident_bytes(&gateway);
    while readers.len() < READERS + 100 {
        readers.extend(join_all((0..50).map(|_| reader(&gateway, &client))).await);
    }
    let taken = resident_bytes(&gateway).saturating_sub(before);
    let a_reader = taken / READERS;
    assert!(a_reader <= MOST_BYTES_A_READER, "{a_reader} bytes");
}
