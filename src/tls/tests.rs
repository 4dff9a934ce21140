//! Whom a handshake identifies, and when files are read anew.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::limits;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

fn issue(authority: &Authority, names: Vec<SanType>) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (certificate, key)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

/// The files of a gateway whose clients this authority vouches for.
fn files(folder: &Path, authority: &Authority) -> TlsFiles {
    let (certificate, key) = issue(authority, vec![dns("localhost")]);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("it is written");
        path
    };
    TlsFiles {
        certificate: write("cert.pem", certificate.pem()),
        key: write("key.pem", key.serialize_pem()),
        client_ca: Some(write("ca.pem", authority.pem())),
    }
}

fn client(authority: &Authority, names: Vec<SanType>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("a root");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let (certificate, key) = issue(authority, names);
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = builder.with_client_auth_cert(vec![certificate.der().clone()], key.into());
    config.expect("a certificate of its key").into()
}

/// The gateway's end of a handshake with this client.
fn shake_hands(tls: &ServerTls, client: &Arc<ClientConfig>) -> ServerConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut far = ClientConnection::new(client.clone(), name).expect("a client");
    let mut near = ServerConnection::new(tls.config()).expect("a gateway");
    while far.wants_write() || near.wants_write() {
        let mut bytes = Vec::new();
        far.write_tls(&mut bytes).expect("memory");
        near.read_tls(&mut &bytes[..]).expect("memory");
        near.process_new_packets().expect("a handshake");
        bytes.clear();
        near.write_tls(&mut bytes).expect("memory");
        far.read_tls(&mut &bytes[..]).expect("memory");
        far.process_new_packets().expect("a handshake");
    }
    near
}

#[test]
fn a_client_has_the_names_of_its_certificate() {
    let (authority, folder) = (authority(), TempDir::new().expect("a folder"));
    let tls = load(&files(folder.path(), &authority)).expect("files that fit");
    let names = vec![
        dns("billing.example"),
        SanType::URI("spiffe://example/billing".try_into().expect("a URI")),
        SanType::Rfc822Name("billing@example.org".try_into().expect("mail")),
        SanType::IpAddress([192, 0, 2, 7].into()),
        SanType::IpAddress("2001:db8::7".parse().expect("an address")),
    ];
    let session = shake_hands(&tls, &client(&authority, names));
    let names = tls.identify(&session).expect("a good certificate");
    let expected = [
        "billing.example",
        "spiffe://example/billing",
        "billing@example.org",
        "192.0.2.7",
        "2001:db8::7",
    ];
    assert_eq!(
        names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        expected
    );
}

#[test]
fn names_are_bounded_in_count_and_in_bytes() {
    let (authority, folder) = (authority(), TempDir::new().expect("a folder"));
    let tls = load(&files(folder.path(), &authority)).expect("files that fit");
    let long = format!("spiffe://{}", "a".repeat(limits::CERTIFICATE_NAME_BYTES));
    let long = SanType::URI(long.as_str().try_into().expect("a URI"));
    let many = (0..100).map(|n| dns(&format!("n{n}.example")));
    let names = [long].into_iter().chain(many).collect();
    let session = shake_hands(&tls, &client(&authority, names));
    let names = tls.identify(&session).expect("a good certificate");
    assert_eq!(names.len(), limits::CERTIFICATE_NAMES);
    assert_eq!(names[0].as_ref(), "n0.example");
}

/// With the same ticket, and authorities that are other ones by now.
#[test]
fn a_certificate_is_verified_again_when_its_session_is_resumed() {
    let (authority, folder) = (authority(), TempDir::new().expect("a folder"));
    let mut tls = load(&files(folder.path(), &authority)).expect("files that fit");
    let client = client(&authority, vec![dns("billing.example")]);
    shake_hands(&tls, &client);
    let resumed = shake_hands(&tls, &client);
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(tls.identify(&resumed).expect("it is good").len(), 1);

    let other = TempDir::new().expect("a folder");
    let other = load(&files(other.path(), &self::authority())).expect("files that fit");
    tls.clients = other.clients;
    let resumed = shake_hands(&tls, &client);
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(tls.identify(&resumed).is_err());
}

#[test]
fn a_key_is_not_in_what_is_shown_of_it() {
    let (authority, folder) = (authority(), TempDir::new().expect("a folder"));
    let tls = load(&files(folder.path(), &authority)).expect("files that fit");
    let shown = format!("{tls:?}");
    assert!(shown.contains("key.pem") && shown.len() < 500, "{shown}");
}
