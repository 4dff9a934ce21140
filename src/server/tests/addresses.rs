//! Limits of connections for each address, also of addresses that a proxy names.

use tokio::io::AsyncWriteExt as _;

use super::{Connected, STREAM_BYTES, TestGateway, config};

const AT_MOST_2: &str = "[limits]\nmax_connections_per_address = 2";

/// A connection that a proxy has made for a client.
async fn connect_for(gateway: &TestGateway, client: &str) -> Connected {
    let mut stream = gateway.connect(STREAM_BYTES);
    let line = format!("PROXY TCP4 {client} 127.0.0.1 1234 80\r\n");
    stream.0.write_all(line.as_bytes()).await.expect("sent");
    stream
}

async fn assert_refused(mut stream: Connected) {
    let refused = stream.read_to_end().await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(
        refused.to_lowercase().contains("retry-after: 1\r\n"),
        "{refused}"
    );
    assert!(
        refused.contains("limits.max_connections_per_address"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_address_is_refused_more_connections_than_it_may_have() {
    let gateway = TestGateway::start(AT_MOST_2).await;
    let mut first = gateway.connect(STREAM_BYTES);
    let mut second = gateway.connect(STREAM_BYTES);
    assert_eq!(first.get("/healthz").await.0, 200);
    assert_eq!(second.get("/healthz").await.0, 200);
    assert_refused(gateway.connect(STREAM_BYTES)).await;
    drop(second);
    gateway.until_open_are(1).await;
    let mut third = gateway.connect(STREAM_BYTES);
    let (_, metrics) = third.get("/metrics").await;
    let counted = "vidette_refused_total{reason=\"address_connections\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_new_limit_knows_of_the_connections_that_are_there() {
    let gateway = TestGateway::start("").await;
    let mut open: Vec<_> = (0..3).map(|_| gateway.connect(STREAM_BYTES)).collect();
    for stream in &mut open {
        assert_eq!(stream.get("/healthz").await.0, 200);
    }
    assert!(gateway.live.replace(&config(AT_MOST_2)).is_empty());
    assert_refused(gateway.connect(STREAM_BYTES)).await;
    for stream in &mut open {
        assert_eq!(stream.get("/healthz").await.0, 200);
    }
}

#[tokio::test]
async fn clients_behind_a_proxy_are_counted_by_their_own_addresses() {
    let text = format!("[proxy]\ntrusted = \"127.0.0.1\"\nprotocol = true\n{AT_MOST_2}");
    let gateway = TestGateway::start(&text).await;
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"] {
        let mut stream = connect_for(&gateway, client).await;
        assert_eq!(stream.get("/healthz").await.0, 200);
        open.push(stream);
    }
    assert_refused(connect_for(&gateway, "192.0.2.2").await).await;
    let mut other = connect_for(&gateway, "192.0.2.3").await;
    assert_eq!(other.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_trusted_proxy_itself_has_no_limit() {
    let text = format!("[proxy]\ntrusted = \"127.0.0.1\"\n{AT_MOST_2}");
    let gateway = TestGateway::start(&text).await;
    let mut open: Vec<_> = (0..5).map(|_| gateway.connect(STREAM_BYTES)).collect();
    for stream in &mut open {
        assert_eq!(stream.get("/healthz").await.0, 200);
    }
}

#[tokio::test]
async fn a_proxy_that_sends_no_header_is_closed_and_counted() {
    let text = "[proxy]\ntrusted = \"127.0.0.1\"\nprotocol = true";
    let gateway = TestGateway::start(text).await;
    let mut stream = gateway.connect(STREAM_BYTES);
    stream
        .send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(stream.read_to_end().await, "");
    // One that only connects, to see whether somebody listens, has done nothing wrong.
    drop(gateway.connect(STREAM_BYTES));
    gateway.until_open_are(0).await;

    let mut stream = connect_for(&gateway, "192.0.2.1").await;
    let (_, metrics) = stream.get("/metrics").await;
    let counted = "vidette_refused_total{reason=\"proxy_header\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn also_over_the_limit_of_all_the_header_is_taken_before_the_answer() {
    let proxied = "[proxy]\ntrusted = \"127.0.0.1\"\nprotocol = true";
    let text = format!("{proxied}\n[limits]\nmax_connections = 1");
    let gateway = TestGateway::start(&text).await;
    let mut first = connect_for(&gateway, "192.0.2.1").await;
    assert_eq!(first.get("/healthz").await.0, 200);
    let refused = connect_for(&gateway, "192.0.2.2").await.read_to_end().await;
    assert!(refused.contains("(limits.max_connections)"), "{refused}");
}
