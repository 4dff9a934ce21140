//! Encryption: whom the client trusts, how it names itself, and what is wrong where that fails.
//!
//! Invariant: HTTP and gRPC trust the same certificates, and both refuse what they cannot verify.

use std::error::Error;
use std::io;

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
#[cfg(feature = "client-grpc")]
use tonic::transport::{self, ClientTlsConfig};

use super::error::{ClientError, ClientErrorKind};
use super::options::{ClientOptions, IdentityPem};
#[cfg(feature = "client-grpc")]
use crate::limits;

/// Sets up encryption over HTTP.
pub(super) fn for_http(
    builder: ClientBuilder,
    options: &ClientOptions,
) -> Result<ClientBuilder, ClientError> {
    let mut builder = builder;
    if let Some(pem) = &options.ca_pem {
        builder = builder.tls_certs_only(authorities(pem)?);
    }
    if let Some(identity) = &options.identity {
        builder = builder.identity(identity_of(identity)?);
    }
    Ok(builder)
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    let certificates = Certificate::from_pem_bundle(pem)
        .map_err(|error| unusable("the CA certificate", &error))?;
    // Nothing would be trusted, and the error would come only with the first connection.
    if certificates.is_empty() {
        let text = "the CA certificate has no certificate in PEM";
        return Err(ClientError::new(ClientErrorKind::Tls, text));
    }
    Ok(certificates)
}

fn identity_of(identity: &IdentityPem) -> Result<Identity, ClientError> {
    // One text of both, of which the parts may come in any order.
    let pem = [&identity.key[..], b"\n", &identity.certificate].concat();
    Identity::from_pem(&pem).map_err(|error| unusable("the client certificate or its key", &error))
}

/// A file that cannot be what it was given as.
pub(super) fn unusable(what: &str, error: &(dyn Error + 'static)) -> ClientError {
    let text = format!("{what} cannot be used: {}", super::http::innermost(error));
    ClientError::new(ClientErrorKind::Tls, text)
}

/// The same for gRPC, which has been checked for HTTP.
#[cfg(feature = "client-grpc")]
pub(super) fn for_grpc(options: &ClientOptions) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().timeout(limits::READ_HELLO_TIMEOUT);
    let config = match &options.ca_pem {
        Some(pem) => config.ca_certificate(transport::Certificate::from_pem(pem)),
        None => config.with_native_roots(),
    };
    match &options.identity {
        Some(identity) => {
            let IdentityPem { certificate, key } = identity;
            config.identity(transport::Identity::from_pem(certificate, key))
        }
        None => config,
    }
}

/// What is wrong with the encryption, and what to do about it, where an error is about that.
pub(super) fn trouble(error: &(dyn Error + 'static)) -> Option<String> {
    find(error).map(explain)
}

/// Has the gateway not let this client in, so that it has read nothing of a request? It may say so
/// only when the client takes the connection to be made (TLS 1.3).
pub(super) fn is_shut_out(error: &(dyn Error + 'static)) -> bool {
    matches!(find(error), Some(rustls::Error::AlertReceived(alert))
        if *alert == AlertDescription::CertificateRequired || is_about_our_certificate(*alert))
}

/// The error of the TLS library, among those that say where it was met.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = tls_error(error) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error of the TLS library, by itself or wrapped in errors of input and output, which do not
/// give what they wrap as their source.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let wrapper = error.downcast_ref::<io::Error>();
    match wrapper.and_then(io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

const NOT_ENCRYPTED: &str = "the answer is not encrypted; give the address with http://";
const UNKNOWN_AUTHORITY: &str = "its certificate is not trusted; give the certificate of the \
     authority that issued it (--ca FILE)";
const WANTS_CERTIFICATE: &str = "it wants a client certificate (--certificate FILE and --key FILE)";

const OF_AN_AUTHORITY: &str = "its certificate is one of an authority, and not of a server; \
     make another one (openssl: -addext basicConstraints=CA:FALSE), and trust it by --ca FILE";

fn explain(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(why) => explain_certificate(why, error),
        E::InvalidMessage(InvalidMessage::InvalidContentType) => NOT_ENCRYPTED.to_owned(),
        E::AlertReceived(AlertDescription::CertificateRequired) => WANTS_CERTIFICATE.to_owned(),
        E::AlertReceived(alert) if is_about_our_certificate(*alert) => {
            format!("it does not take the client certificate ({alert:?}); give one that it trusts")
        }
        _ => format!("encryption failed: {error}"),
    }
}

fn explain_certificate(why: &CertificateError, error: &rustls::Error) -> String {
    use CertificateError as C;
    match why {
        C::UnknownIssuer => UNKNOWN_AUTHORITY.to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            format!("{error}; use an address by one of its names")
        }
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            format!("{error}; renew it, or correct the clock of this machine")
        }
        // What `openssl req -x509` makes, unless it is told otherwise.
        C::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => {
            OF_AN_AUTHORITY.to_owned()
        }
        _ => format!("its certificate is not trusted: {error}"),
    }
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    )
}
