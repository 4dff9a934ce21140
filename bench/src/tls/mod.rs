//! The client's side of TLS: one configuration for all connections of a run.
//!
//! Connections after the first ones resume a session, so that thousands of handshakes cost this
//! client, which shares the machine with the server, no signature to verify each.

mod any_certificate;
mod tickets;

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use any_certificate::AnyCertificate;
use tickets::Tickets;

/// Whose certificates are trusted.
#[derive(Clone, Copy)]
pub(crate) enum Trust<'a> {
    /// Those of the authorities in a PEM file.
    Authorities(&'a Path),
    /// Anybody's, which is for measurements alone.
    Anyone,
}

pub(crate) fn client_config(trust: Trust<'_>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder();
    let mut config = match trust {
        Trust::Authorities(file) => builder
            .with_root_certificates(roots(file)?)
            .with_no_client_auth(),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::default()))
            .with_no_client_auth(),
    };
    config.resumption = Resumption::store(Arc::new(Tickets::default()));
    Ok(config)
}

/// The same configuration for HTTP/1.1 and for HTTP/2.
pub(crate) fn with_protocols(config: &ClientConfig) -> [Arc<ClientConfig>; 2] {
    [&b"http/1.1"[..], &b"h2"[..]].map(|protocol| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    })
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |error: String| format!("--ca {}: {error}", file.display());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;

    // Every one of them has to be good: one that is left out would show as a refused server.
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate".to_owned()));
    }
    Ok(roots)
}
