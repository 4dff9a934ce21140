//! Certificates that are replaced while connections are served.

use std::sync::Arc;

use futures_util::future::join_all;
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::common::tls::{Authority, LOCAL_NAMES, put};
use crate::support::{Connection, TlsGateway, get};

const STREAMS: usize = 1000;

/// A client that does a whole handshake each time.
fn client(authority: &Authority) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&authority.client(&["http/1.1"]));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

async fn stream(gateway: &TlsGateway, client: &Arc<ClientConfig>) -> Connection {
    let connected = gateway.try_connect(client.clone()).await;
    let mut connection = connected.expect("a connection");
    connection.send(get("/v1/sse?topic=live", "")).await;
    connection.read_to("vidette.caught_up").await;
    connection
}

/// The certificate that new connections get.
async fn served(gateway: &TlsGateway, client: &Arc<ClientConfig>) -> Option<Vec<u8>> {
    let connection = gateway.try_connect(client.clone()).await.ok()?;
    let certificates = connection.stream.get_ref().1.peer_certificates();
    Some(certificates.expect("a certificate")[0].to_vec())
}

#[tokio::test]
async fn a_thousand_streams_go_on_while_certificates_are_replaced() {
    let gateway = TlsGateway::start();
    let client = client(&gateway.authority);
    let mut streams = Vec::new();
    for _ in 0..STREAMS / 50 {
        streams.extend(join_all((0..50).map(|_| stream(&gateway, &client))).await);
    }
    for round in 1..=3 {
        let before = served(&gateway, &client).await.expect("a certificate");
        gateway
            .authority
            .issue(&LOCAL_NAMES)
            .write(gateway.folder.path());
        let is_new = || async { served(&gateway, &client).await != Some(before.clone()) };
        gateway.gateway.until("the new one is served", is_new).await;
        gateway.publish("live", 1).await;
        let event = format!("\"vid\":{round},");
        join_all(streams.iter_mut().map(|stream| stream.read_to(&event))).await;
    }
    assert_eq!(gateway.subscribers().await, STREAMS as u64);
    let log = gateway.gateway.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn files_that_do_not_fit_together_change_nothing_and_are_reported() {
    let gateway = TlsGateway::start();
    let (client, folder) = (client(&gateway.authority), gateway.folder.path());
    let before = served(&gateway, &client).await.expect("a certificate");
    let other = gateway.authority.issue(&LOCAL_NAMES);
    for (file, text, said) in [
        (
            "key.pem",
            other.key.as_str(),
            "is not the key of the first certificate",
        ),
        ("cert.pem", "", "has no certificate in PEM"),
        (
            "key.pem",
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "key",
        ),
    ] {
        put(&folder.join(file), text);
        let is_said = || async { gateway.gateway.log().contains(said) };
        gateway.gateway.until(said, is_said).await;
        assert_eq!(
            served(&gateway, &client).await,
            Some(before.clone()),
            "{said}"
        );
    }
    assert!(
        !gateway.gateway.log().contains("c2VjcmV0"),
        "the key is in the log"
    );

    // What fits together again is used.
    other.write(folder);
    let is_new = || async { served(&gateway, &client).await != Some(before.clone()) };
    gateway.gateway.until("the new one is served", is_new).await;
}

/// As in a folder that Kubernetes mounts, or that certbot links into: the file itself is never
/// written, what the link leads to is replaced.
#[tokio::test]
async fn what_a_link_leads_to_may_be_replaced() {
    let gateway = TlsGateway::start();
    let (client, folder) = (client(&gateway.authority), gateway.folder.path());
    let before = served(&gateway, &client).await.expect("a certificate");
    let next = folder.join("next");
    std::fs::create_dir(&next).expect("a folder");
    gateway.authority.issue(&LOCAL_NAMES).write(&next);
    for file in ["cert.pem", "key.pem"] {
        let link = folder.join("link");
        std::os::unix::fs::symlink(next.join(file), &link).expect("a link");
        std::fs::rename(&link, folder.join(file)).expect("it is put in place");
    }
    let is_new = || async { served(&gateway, &client).await != Some(before.clone()) };
    gateway.gateway.until("the new one is served", is_new).await;
}
