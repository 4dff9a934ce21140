//! Certificates as an authority would issue them, and clients that trust it alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Where the gateways of the tests listen.
pub const LOCAL_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new one, with a name that error messages show.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key);
        Authority {
            issuer: issuer.expect("a certificate"),
        }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, good for a server and for a client.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(&params)
    }

    /// A certificate with whatever the test has put into it.
    pub fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer);
        Identity {
            certificate: certificate.expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority alone, and offers these protocols (ALPN).
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        with_protocols(builder.with_no_client_auth(), protocols)
    }

    /// The same, with a certificate of its own.
    pub fn client_as(&self, identity: &Identity, protocols: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
        let certificates = vec![certificate.expect("a certificate")];
        let config = builder.with_client_auth_cert(certificates, key.expect("a key"));
        with_protocols(config.expect("a key of the certificate"), protocols)
    }

    /// A builder of HTTP clients that trust this authority alone.
    pub fn http_client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.pem().as_bytes());
        reqwest::Client::builder().tls_certs_only([root.expect("a certificate")])
    }

    /// For a channel of tonic that trusts this authority alone.
    pub fn grpc_client(&self) -> tonic::transport::ClientTlsConfig {
        let root = tonic::transport::Certificate::from_pem(self.pem());
        tonic::transport::ClientTlsConfig::new().ca_certificate(root)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        roots
    }
}

impl Identity {
    /// Writes `cert.pem` and `key.pem`, each put in place whole as a tool that renews them does.
    pub fn write(&self, folder: &Path) {
        put(&folder.join("cert.pem"), &self.certificate);
        put(&folder.join("key.pem"), &self.key);
    }

    /// As one text, which curl, reqwest and others take.
    pub fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// Puts a file in place whole.
pub fn put(file: &Path, text: &str) -> PathBuf {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("it is written");
    std::fs::rename(&new, file).expect("it is put in place");
    file.to_owned()
}

fn with_protocols(mut config: ClientConfig, protocols: &[&str]) -> Arc<ClientConfig> {
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}
