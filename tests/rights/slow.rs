//! Whoever takes what it gets slowly is given nothing of after its end.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;
use crate::ground::{End, Ground, master, short_token};

/// Reads until the text has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let reading = async {
        while !ends_with(&read, text) {
            let length = stream.read(&mut piece).await.expect("bytes");
            assert!(length > 0, "it ended before {text:?}");
            read.extend_from_slice(&piece[..length]);
        }
    };
    timeout(PATIENCE, reading).await.expect("it comes");
    String::from_utf8(read).expect("UTF-8")
}

/// Is the text near the end?
fn ends_with(read: &[u8], text: &str) -> bool {
    let tail = &read[read.len().saturating_sub(1000)..];
    String::from_utf8_lossy(tail).contains(text)
}

#[tokio::test]
async fn a_reader_that_is_blocked_gets_no_event_of_after_its_end() {
    let ground = Ground::start();
    let token = short_token(End::Revocation, &["door.>"]);
    let mut stream = TcpStream::connect(ground.gateway.address())
        .await
        .expect("a connection");
    let request = format!(
        "GET /v1/sse?topic=door.* HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    read_until(&mut stream, "vidette.caught_up").await;

    // More than all buffers on the way hold.
    let large = "x".repeat(500_000);
    for _ in 0..60 {
        ground.publish("door.1", &json!(large)).await;
    }
    ground.revoke("short");
    let path = "/v1/poll?topic=door.1&wait=0";
    let is_revoked = || async { ground.status(path, &token).await == 401 };
    ground.gateway.until("it is revoked", is_revoked).await;
    ground.publish("door.1", &json!("of after the end")).await;
    assert_eq!(ground.status(path, &master()).await, 200);

    let read = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(read.contains("vidette.closing") && read.contains("expired"));
    assert!(!read.contains("of after the end"));
    assert!(read.matches(&large).count() < 60, "it was blocked");
}
