//! Peers that do not keep to the protocol, or not for long.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;
use crate::support::{TlsGateway, get};
use crate::tools::{find, run};

/// What a peer that sends this reads to the end; an error where it is reset.
async fn answer_to(address: std::net::SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    timeout(PATIENCE, reading).await.expect("an end in time")?;
    Ok(read)
}

#[tokio::test]
async fn a_request_without_encryption_is_told_to_use_https() {
    let gateway = TlsGateway::start();
    let address = gateway.gateway.address();
    for request in [
        get("/v1/sse", ""),
        "POST /v1/events HTTP/1.1\r\n\r\n{}".into(),
    ] {
        let answer = answer_to(address, request.as_bytes())
            .await
            .expect("an end");
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("use https://"), "{answer}");
    }
    let url = format!("http://{address}/healthz");
    let said = run(find("curl", "bin"), &["-sS", &url]).await.ok();
    assert!(said.contains("https://"), "{said}");
}

#[tokio::test]
async fn what_is_neither_a_handshake_nor_a_request_is_closed_without_a_word() {
    let gateway = TlsGateway::start();
    let address = gateway.gateway.address();
    for bytes in [
        &b"\0\0\0\0"[..],
        b"\x80\x2e\x01\x03\x01",
        b"\xff\xff\xff\xff",
        b"\n",
    ] {
        let answer = answer_to(address, bytes).await;
        assert!(
            answer.is_err() || answer.is_ok_and(|read| read.is_empty()),
            "{bytes:?}"
        );
    }

    // What begins as a handshake and is none is told so in the words of TLS.
    let alert = answer_to(address, b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\xff\xff").await;
    let alert = alert.expect("an end");
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    assert_eq!(gateway.subscribers().await, 0);
}

#[tokio::test]
async fn a_handshake_to_a_plain_address_fails_and_nothing_else_does() {
    let gateway = TlsGateway::start();
    let plain = gateway.plain().await;
    let (url, ca) = (format!("https://{plain}/healthz"), gateway.ca());
    let refused = run(find("curl", "bin"), &["-sS", "--cacert", &ca, &url]).await;
    assert!(!refused.status.success(), "{refused:?}");
    let served = run(
        find("curl", "bin"),
        &["-sS", &format!("http://{plain}/healthz")],
    )
    .await;
    assert_eq!(served.ok(), "ok\n");
}

/// Begun or not, a handshake has ten seconds.
#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut() {
    let gateway = TlsGateway::start();
    let address = gateway.gateway.address();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let begun = [&b""[..], &hello[..1], &hello[..6], hello].map(|bytes| answer_to(address, bytes));
    let slow = async {
        // A byte every now and then does not prolong it.
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let mut byte = [0];
        for sent in hello.iter().cycle() {
            let is_sent = stream.write_all(&[*sent]).await.is_ok();
            let pause = Duration::from_millis(500);
            let read = timeout(pause, stream.read(&mut byte)).await;
            if !is_sent || read.is_ok() {
                return;
            }
        }
    };
    let all = futures_util::future::join_all(begun);
    let cut = timeout(PATIENCE, async { tokio::join!(all, slow) }).await;
    let (begun, ()) = cut.expect("all are cut in time");
    for read in begun {
        assert!(read.is_err() || read.is_ok_and(|read| read.is_empty()));
    }
}

#[tokio::test]
async fn over_the_limit_a_connection_is_answered_so_once_it_can_read_it() {
    let gateway = TlsGateway::start_with("[limits]\nmax_connections = 2");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = gateway.connect().await;
        connection.send(get("/v1/sse", "")).await;
        connection.read_to("vidette.hello").await;
        held.push(connection);
    }
    let mut refused = gateway.connect().await;
    let answer = refused.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("limits.max_connections"), "{answer}");
}

#[tokio::test]
async fn a_client_that_speaks_no_protocol_of_ours_is_refused_in_the_handshake() {
    let gateway = TlsGateway::start();
    let client = gateway.authority.client(&["smtp"]);
    let refused = gateway.try_connect(client).await.err().expect("an alert");
    assert!(
        refused.to_string().contains("NoApplicationProtocol"),
        "{refused}"
    );
}
