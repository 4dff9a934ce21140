//! Certificates and keys, read from their files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::{ClientTlsFiles, ServerTls, TlsFiles};
use crate::limits;

/// What clients may speak over TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is wrong with the file of a setting.
#[derive(Debug)]
pub(crate) struct FileError {
    pub(crate) setting: &'static str,
    pub(crate) text: String,
}

/// Reads the files, and checks that they fit together.
///
/// # Errors
/// What is wrong with each of them.
pub(crate) fn load(files: &TlsFiles) -> Result<ServerTls, Vec<FileError>> {
    // Before they are read, so that a change meanwhile is noticed later.
    let seen = FilesSeen::of(files);
    let chain = named("certificate", certificates(&files.certificate));
    let key = named("key", private_key(&files.key));
    let clients = named("client_ca", client_verifier(files.client_ca.as_deref()));

    // All are looked at, so that all errors are reported at once.
    let (chain, key, clients) = match (chain, key, clients) {
        (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients),
        (chain, key, clients) => {
            let errors = [chain.err(), key.err(), clients.err()];
            return Err(errors.into_iter().flatten().collect());
        }
    };
    warn_if_not_valid_now(&files.certificate, &chain[0]);
    let config = server_config(chain, key, clients.clone());
    let config = named("key", config.map_err(|error| does_not_fit(files, &error)));
    Ok(ServerTls {
        config: Arc::new(config.map_err(|error| vec![error])?),
        files: files.clone(),
        seen,
        clients,
    })
}

/// What is wrong with the files of a client; nothing where they can be used.
pub(crate) fn check_client_files(files: &ClientTlsFiles) -> Vec<FileError> {
    let authorities = files.ca.as_deref().map(certificates).transpose();
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => check_client_identity(certificate, key),
        (None, None) => Vec::new(),
        (Some(_), None) => vec![error_of("key", "is missing: it belongs to the certificate")],
        (None, Some(_)) => vec![error_of("certificate", "is missing: the key belongs to it")],
    };
    let of_authorities = named("ca", authorities).err();
    of_authorities.into_iter().chain(identity).collect()
}

fn error_of(setting: &'static str, text: &str) -> FileError {
    let text = text.to_owned();
    FileError { setting, text }
}

fn check_client_identity(certificate: &Path, key: &Path) -> Vec<FileError> {
    let chain = named("certificate", certificates(certificate));
    let private_key = named("key", private_key(key));
    let (chain, private_key) = match (chain, private_key) {
        (Ok(chain), Ok(private_key)) => (chain, private_key),
        (chain, private_key) => {
            let errors = [chain.err(), private_key.err()];
            return errors.into_iter().flatten().collect();
        }
    };
    let provider = aws_lc_rs::default_provider();
    let fits = CertifiedKey::from_der(chain, private_key, &provider);
    let fits = fits.map_err(|error| {
        let (key, certificate) = (key.display(), certificate.display());
        format!("{key} is not the key of the first certificate in {certificate}: {error}")
    });
    named("key", fits).err().into_iter().collect()
}

fn named<T>(setting: &'static str, read: Result<T, String>) -> Result<T, FileError> {
    read.map_err(|text| FileError { setting, text })
}

fn does_not_fit(files: &TlsFiles, error: &rustls::Error) -> String {
    let (key, certificate) = (files.key.display(), files.certificate.display());
    format!("{key} is not the key of the first certificate in {certificate}: {error}")
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions()?;
    let verifier = clients.unwrap_or_else(|| Arc::new(NoClientAuth));
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(chain, key)?;

    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Sessions are in their clients' tickets, not in memory here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{} has no certificate in PEM", path.display())),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(path)?;
    // Without the parser's words, which quote the file.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let path = path.display();
        format!("{path} has no private key in PEM that can be read without a password")
    })
}

/// Verifies certificates of clients where they show one; nobody has to.
fn client_verifier(path: Option<&Path>) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    let not_usable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| not_usable(&error))?;
    }
    let provider = aws_lc_rs::default_provider();
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.into());
    let verifier = builder.allow_unauthenticated().build();
    verifier.map(Some).map_err(|error| not_usable(&error))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut file = file.take(limits::TLS_FILE_BYTES + 1);
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(count) if count as u64 > limits::TLS_FILE_BYTES => Err(format!(
            "{} is longer than {} bytes",
            path.display(),
            limits::TLS_FILE_BYTES
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A gateway with an old certificate starts: clients say so more clearly than a port that is
/// closed.
fn warn_if_not_valid_now(path: &Path, certificate: &CertificateDer<'_>) {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return;
    };
    let (path, validity) = (path.display(), certificate.validity());
    let (not_before, not_after) = (validity.not_before, validity.not_after);
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if now > not_after.timestamp() {
        tracing::warn!(%path, %not_after, "the certificate has expired: clients refuse it");
    } else if now < not_before.timestamp() {
        tracing::warn!(%path, %not_before, "the certificate is not valid yet: clients refuse it");
    } else {
        tracing::info!(%path, %not_after, "the certificate is valid");
    }
}

/// What shows that files have changed. A missing one is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilesSeen(Vec<Option<FileState>>);

/// Device, inode, length, and when it was last written and changed.
type FileState = (u64, u64, u64, [i64; 4]);

impl FilesSeen {
    pub(super) fn of(files: &TlsFiles) -> Self {
        let all = [&files.certificate, &files.key];
        let all = all.into_iter().chain(&files.client_ca);
        FilesSeen(all.map(|path| file_state(path).ok()).collect())
    }
}

#[cfg(test)]
impl FilesSeen {
    /// So many files that are not there.
    pub(super) fn missing(count: usize) -> Self {
        FilesSeen(vec![None; count])
    }
}

fn file_state(path: &Path) -> io::Result<FileState> {
    // Of the file itself, not of a link to it, which stays while what it leads to is replaced.
    let state = fs::metadata(path)?;
    let times = [
        state.mtime(),
        state.mtime_nsec(),
        state.ctime(),
        state.ctime_nsec(),
    ];
    Ok((state.dev(), state.ino(), state.len(), times))
}
