//! Encrypted connections over streams that are no sockets, and requests that are sent to them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::generate_simple_self_signed;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{PATIENCE, STREAM_BYTES, TestGateway};

/// A gateway whose connections are encrypted, and what a client needs to trust it.
async fn start(more: &str) -> (TestGateway, TlsConnector) {
    let folder = TempDir::new().expect("a folder");
    let certificate = write_certificate(folder.path());
    let folder = folder.path().display();
    let text =
        format!("[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n{more}");
    (TestGateway::start(&text).await, trusting(certificate))
}

fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let write = |name, text| std::fs::write(folder.join(name), text).expect("it is written");
    write("cert.pem", made.cert.pem());
    write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

fn trusting(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    TlsConnector::from(Arc::new(builder.with_no_client_auth()))
}

/// A connection whose two ends hold so many encrypted bytes between them.
async fn connect(
    gateway: &TestGateway,
    client: &TlsConnector,
    bytes: usize,
) -> TlsStream<DuplexStream> {
    let stream = gateway.connect(bytes).0;
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, stream).await.expect("a handshake")
}

async fn read_to(stream: &mut TlsStream<DuplexStream>, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            assert!(stream.read_buf(&mut read).await.expect("bytes") > 0);
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8(read).expect("text")
}

/// What is encrypted goes out in many parts, and an event that comes meanwhile waits its turn.
#[tokio::test]
async fn an_event_stream_goes_on_through_an_encrypted_stream_that_holds_little() {
    let (gateway, client) = start("").await;
    for headers in ["", "Content-Length: 0\r\n"] {
        let mut stream = connect(&gateway, &client, 100).await;
        let request = format!(
            "GET /v1/sse?topic=door.1&format=raw HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        read_to(&mut stream, "vidette.hello").await;
        let long = "x".repeat(200_000);
        gateway.publish(long.clone()).await;
        gateway.publish("the end").await;
        let read = read_to(&mut stream, "the end\n\n").await;
        assert!(read.contains(&format!("data: {long}\n\n")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_of_what_is_encrypted_is_cut() {
    let (gateway, client) = start("[limits]\nwrite_timeout = \"5s\"").await;
    gateway.publish("x".repeat(1000)).await;
    for by_hyper in ["", "Content-Length: 0\r\n"] {
        let mut stream = connect(&gateway, &client, 700).await;
        let poll = "GET /v1/poll?after=0&wait=0 HTTP/1.1\r\nHost: localhost\r\n";
        let request = format!("{poll}{by_hyper}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        gateway.context.admission.tracker.close();
        let gone = timeout(PATIENCE, gateway.context.admission.tracker.wait()).await;
        gone.expect("it is cut");
    }
}

/// It takes far less than a record within the timeout; that it takes something is seen all the
/// same.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_little_of_what_is_encrypted_now_and_then_is_not_cut() {
    let (gateway, client) = start("[limits]\nwrite_timeout = \"5s\"").await;
    gateway.publish("x".repeat(3000)).await;
    for by_hyper in ["", "Content-Length: 0\r\n"] {
        let mut stream = connect(&gateway, &client, 700).await;
        let poll = "GET /v1/poll?after=0&wait=0 HTTP/1.1\r\nHost: localhost\r\n";
        let request = format!("{poll}{by_hyper}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");

        // As it comes, without being decrypted.
        let (mut taken, mut some) = (0, [0; 100]);
        while taken < 3000 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            let count = stream.get_mut().0.read(&mut some).await.expect("bytes");
            assert!(count > 0, "cut after {taken} bytes");
            taken += count;
        }
    }
}

#[tokio::test]
async fn where_it_is_configured_others_are_sent_to_the_encrypted_address() {
    let (mut gateway, _) = start("redirect = true").await;
    let context = Arc::get_mut(&mut gateway.context).expect("nobody has it yet");
    let at = |address: &str| {
        let address: SocketAddr = address.parse().expect("an address");
        context.routes.at(&address.into(), Some(8443))
    };
    let (public, local) = (at("0.0.0.0:80"), at("127.0.0.1:80"));
    (context.tls, context.routes) = (None, public);
    for (line, body) in [
        ("GET /v1/sse?topic=a", ""),
        ("HEAD /", ""),
        ("POST /v1/events", super::EVENT),
        ("POST /v1/topics/door.1", "{}"),
    ] {
        let mut stream = gateway.connect(STREAM_BYTES);
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: gateway.test:80\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.send(&request).await;
        let answer = stream.read_to_end().await.to_lowercase();
        assert!(answer.starts_with("http/1.1 308 "), "{line}: {answer}");
        let target = line.split(' ').nth(1).expect("a target");
        let location = format!("location: https://gateway.test:8443{target}\r\n");
        assert!(answer.contains(&location), "{line}: {answer}");
    }
    assert_eq!(gateway.bus.bounds().last, 0, "nothing was published");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.connect(STREAM_BYTES).get(path).await.0, 200);
    }

    // An address of this machine alone is for its own proxies and scrapers.
    let context = Arc::make_mut(&mut gateway.context);
    context.routes = local;
    assert_eq!(gateway.connect(STREAM_BYTES).get("/v1/bus").await.0, 200);
}
