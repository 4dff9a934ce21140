//! Connections that begin: a handshake, the request of a page, and the head of the answer.
//!
//! The client takes any certificate and verifies no signature, because its work is on the same
//! machine; both servers get the same from it. It sends its request together with the end of its
//! handshake. Connections stay open until all have begun, so that closing is not measured.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
};
use serde_json::{Value, json};

use crate::machine::Used;
use crate::servers::Running;

/// Connections that begin at the same time.
const AT_ONCE: u32 = 16;
const ANSWER_WAIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    Resumed,
}

/// What the client can agree on a key with.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    X25519,
    /// X25519 with ML-KEM-768, as browsers offer it, and X25519 where the server has no such.
    PostQuantum,
}

/// Opens so many connections, and gives what that took.
pub(crate) fn measure(running: &Running, count: u32, handshake: Handshake, offer: Offer) -> Value {
    let clients: Vec<_> = (0..AT_ONCE).map(|_| client(handshake, offer)).collect();
    let mut opened = Vec::new();
    // The first one of each client has no ticket yet, and finds everything cold.
    for client in &clients {
        opened.push(open(client, running, Handshake::Full).expect("a connection"));
    }

    let before = Used::now(running.pid());
    std::thread::scope(|scope| {
        let each = count / AT_ONCE;
        let threads: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(move || open_all(client, running, handshake, each)))
            .collect();
        for thread in threads {
            opened.extend(thread.join().expect("connections"));
        }
    });
    let spent = Used::now(running.pid()).since(before);
    let count = f64::from(count / AT_ONCE * AT_ONCE);
    hang_up(opened);
    json!({
        "per_second": count / spent.seconds,
        "server_us": spent.server_s * 1e6 / count,
        "machine_us": spent.machine_s * 1e6 / count,
    })
}

/// Without waiting for an end, which would use up the ports.
fn hang_up(opened: Vec<TcpStream>) {
    for socket in opened {
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
}

pub(crate) fn client(handshake: Handshake, offer: Offer) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match offer {
        Offer::X25519 => vec![kx_group::X25519],
        Offer::PostQuantum => vec![kx_group::X25519MLKEM768, kx_group::X25519],
    };
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.expect("a version").dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = builder.with_no_client_auth();
    if handshake == Handshake::Full {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

fn open_all(
    client: &Arc<ClientConfig>,
    running: &Running,
    handshake: Handshake,
    count: u32,
) -> Vec<TcpStream> {
    let opened = (0..count).map(|_| open(client, running, handshake).expect("a connection"));
    opened.collect()
}

/// A connection whose page has been answered.
fn open(
    client: &Arc<ClientConfig>,
    running: &Running,
    handshake: Handshake,
) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], running.port)))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(client.clone(), name).map_err(io::Error::other)?;
    let mut request = running.page_request().into_bytes();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if !session.is_handshaking() && !request.is_empty() {
            session.writer().write_all(&std::mem::take(&mut request))?;
        }
        while session.wants_write() {
            session.write_tls(&mut socket)?;
        }
        read(&mut session, &mut socket, &mut answer)?;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "the page is refused");
    let kind = session.handshake_kind();
    let is_resumed = kind == Some(HandshakeKind::Resumed);
    assert_eq!(is_resumed, handshake == Handshake::Resumed, "{kind:?}");
    Ok(socket)
}

fn read(
    session: &mut ClientConnection,
    socket: &mut TcpStream,
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    if session.read_tls(socket)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    session.process_new_packets().map_err(io::Error::other)?;
    match session.reader().read_to_end(answer) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Takes any certificate, and any signature: only the server is measured.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
