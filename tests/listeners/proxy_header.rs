//! The PROXY protocol on real sockets, from proxies that keep to it and from others.

use std::time::Duration;

use tempfile::TempDir;

use crate::common::tls::{Authority, LOCAL_NAMES};
use crate::served::Served;
use crate::tools::{find, run};
use crate::wire::{Wire, header_for, refused};

const CONFIG: &str = "listen = \"0\"\n[proxy]\ntrusted = [\"127.0.0.1\"]\nprotocol = true\n\
    [limits]\nmax_connections_per_address = 1\n";

/// A connection that the proxy at 127.0.0.1 has made for a client.
async fn connect_for(client: [u8; 4], port: u16) -> Wire {
    let mut wire = Wire::connect("127.0.0.1", port).await;
    wire.send(&header_for(client, 0)).await.expect("sent");
    wire
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_who_is_limited() {
    let gateway = Served::start(CONFIG, &["--log", "debug"]).await;
    let port = gateway.port();
    let mut first = connect_for([192, 0, 2, 1], port).await;
    assert!(first.is_served().await);
    let mut second = connect_for([192, 0, 2, 1], port).await;
    assert!(second.read_to_end().await.starts_with("HTTP/1.1 429"));
    assert!(connect_for([192, 0, 2, 2], port).await.is_served().await);
    assert_eq!(refused(port, "proxy_header").await, 0);
}

#[tokio::test]
async fn who_is_not_trusted_names_nobody() {
    let gateway = Served::start(CONFIG, &[]).await;
    let port = gateway.port();
    let mut wire = Wire::connect("127.0.0.2", port).await;
    wire.send(&header_for([192, 0, 2, 1], 0))
        .await
        .expect("sent");
    let answer = wire.ask("/healthz", "", "\r\n\r\n").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Without a header it is served as itself.
    let mut wire = Wire::connect("127.0.0.3", port).await;
    assert!(wire.is_served().await);
    let mut other = Wire::connect("127.0.0.3", port).await;
    assert!(other.read_to_end().await.starts_with("HTTP/1.1 429"));
}

#[tokio::test]
async fn what_is_no_header_closes_the_connection_and_is_counted() {
    let gateway = Served::start(CONFIG, &["--log", "debug"]).await;
    let port = gateway.port();
    let sixty_four_kib = header_for([192, 0, 2, 1], u16::MAX - 12);
    let wrong: [&[u8]; 4] = [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &sixty_four_kib,
        b"PROXY TCP4 192.0.2.1 127.0.0.1 99999 80\r\n",
        b"PROXY TCP4 1111111111111111111111111111111111111111111111111111111111111111111111111111\
          11111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
    ];
    for (number, bytes) in (1..).zip(wrong) {
        let mut wire = Wire::connect("127.0.0.1", port).await;
        let _ = wire.send(bytes).await;
        assert_eq!(wire.read_to_end().await, "");
        assert_eq!(refused(port, "proxy_header").await, number);
    }
    let said = "a trusted proxy sent no valid header of the PROXY protocol (proxy.protocol)";
    assert!(gateway.log().contains(said), "{}", gateway.log());
}

#[tokio::test]
async fn a_header_that_drips_is_given_up_while_others_are_served() {
    let gateway = Served::start(CONFIG, &[]).await;
    let port = gateway.port();
    let mut dripping = Wire::connect("127.0.0.1", port).await;
    let header = header_for([192, 0, 2, 1], 4000);
    let mut sent = 0;
    for byte in header.chunks(1) {
        if dripping.send(byte).await.is_err() {
            break;
        }
        sent += 1;
        let other = u8::try_from(sent % 250).expect("a part of an address");
        assert!(
            connect_for([192, 0, 3, other], port)
                .await
                .is_served()
                .await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(sent < header.len(), "it was never given up");
    assert_eq!(refused(port, "proxy_header").await, 1);
}

#[tokio::test]
async fn curl_speaks_it_before_http_and_before_tls() {
    let gateway = Served::start(CONFIG, &[]).await;
    let url = format!("http://127.0.0.1:{}/healthz", gateway.port());
    let curl = find("curl", "bin");
    let said = run(&curl, &["-sS", "--haproxy-protocol", &url]).await.ok();
    assert_eq!(said, "ok\n");
    assert!(!run(&curl, &["-sS", &url]).await.status.success());

    let (authority, files) = (Authority::new("tests"), TempDir::new().expect("a folder"));
    authority.issue(&LOCAL_NAMES).write(files.path());
    let ca = files.path().join("ca.pem").display().to_string();
    std::fs::write(&ca, authority.pem()).expect("written");
    let folder = files.path().display();
    let tls = format!("[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"");
    let gateway = Served::start(&format!("{CONFIG}{tls}"), &[]).await;
    let url = format!("https://127.0.0.1:{}/healthz", gateway.port());
    for http in ["--http1.1", "--http2"] {
        let args = ["-sS", "--haproxy-protocol", http, "--cacert", &ca, &url];
        assert_eq!(run(&curl, &args).await.ok(), "ok\n");
    }
}
