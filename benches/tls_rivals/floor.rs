//! The handshake of rustls alone: both ends in memory, on one thread, without a socket.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use crate::connects::{Handshake, Offer, client};
use crate::tls::Identity;

const HANDSHAKES: u32 = 2000;

/// A line for each kind of handshake.
pub(crate) fn table(identity: &Identity) -> String {
    let mut text = "| in memory | server, µs | client, µs |\n|---|--:|--:|\n".to_owned();
    for (name, handshake, offer) in KINDS {
        for tickets in [2, 1, 0] {
            if handshake == Handshake::Resumed && tickets == 0 {
                continue;
            }
            let server = server(identity, tickets);
            let (near, far) = mean(&server, &client(handshake, offer), handshake);
            let line = format!("| {name}, {tickets} tickets | {near:.1} | {far:.1} |");
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

const KINDS: [(&str, Handshake, Offer); 4] = [
    ("full, X25519", Handshake::Full, Offer::X25519),
    ("resumed, X25519", Handshake::Resumed, Offer::X25519),
    ("full, X25519MLKEM768", Handshake::Full, Offer::PostQuantum),
    (
        "resumed, X25519MLKEM768",
        Handshake::Resumed,
        Offer::PostQuantum,
    ),
];

fn server(identity: &Identity, tickets: usize) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let provider = aws_lc_rs::default_provider();
    let builder = ServerConfig::builder_with_provider(provider.into());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let chain = vec![certificate.expect("a certificate")];
    let config = builder.with_single_cert(chain, key.expect("a key"));
    let mut config = config.expect("a key of the certificate");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().expect("randomness");
    config.send_tls13_tickets = tickets;
    Arc::new(config)
}

/// Microseconds of each end, for one handshake.
fn mean(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    handshake: Handshake,
) -> (f64, f64) {
    shake_hands(server, client); // for a ticket
    let mut spent = [Duration::ZERO; 2];
    for _ in 0..HANDSHAKES {
        let (kind, [near, far]) = shake_hands(server, client);
        assert_eq!(
            kind == HandshakeKind::Resumed,
            handshake == Handshake::Resumed
        );
        spent[0] += near;
        spent[1] += far;
    }
    let [near, far] = spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(HANDSHAKES));
    (near, far)
}

/// How long the server's end and the client's took.
fn shake_hands(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> (HandshakeKind, [Duration; 2]) {
    let mut spent = [Duration::ZERO; 2];
    let begun = Instant::now();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut far = ClientConnection::new(client.clone(), name).expect("a client");
    spent[1] += begun.elapsed();
    let begun = Instant::now();
    let mut near = ServerConnection::new(server.clone()).expect("a server");
    spent[0] += begun.elapsed();
    while far.wants_write() || near.wants_write() {
        let mut bytes = Vec::new();
        let begun = Instant::now();
        while far.wants_write() {
            far.write_tls(&mut bytes).expect("memory");
        }
        spent[1] += begun.elapsed();
        let begun = Instant::now();
        near.read_tls(&mut &bytes[..]).expect("memory");
        near.process_new_packets().expect("a handshake");
        bytes.clear();
        while near.wants_write() {
            near.write_tls(&mut bytes).expect("memory");
        }
        spent[0] += begun.elapsed();
        let begun = Instant::now();
        far.read_tls(&mut &bytes[..]).expect("memory");
        far.process_new_packets().expect("a handshake");
        spent[1] += begun.elapsed();
    }
    (near.handshake_kind().expect("it is done"), spent)
}
