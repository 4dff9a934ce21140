//! Encryption of connections: certificates, their keys, and whom certificates of clients identify.
//!
//! Invariants:
//! - what is in use was read as a whole and fits together: a certificate, the key of it, and the
//!   authorities of clients;
//! - bytes of a key are in no error, log or `Debug`;
//! - a session of before is resumed only with the files that it began with, and a client's
//!   certificate is verified again when it is.

mod live;
mod load;
mod names;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

pub(crate) use live::LiveTls;
use load::FilesSeen;
pub(crate) use load::{check_client_files, load};

/// The files of `[tls]`, as they can be opened from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities whose certificates identify clients.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The files that a connection to another server is encrypted with, where this end is the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientTlsFiles {
    /// Authorities whose certificates the other end may have.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// What was read of these files, ready to be used.
pub(crate) struct ServerTls {
    files: TlsFiles,
    /// As they were before they were read.
    seen: FilesSeen,
    config: Arc<ServerConfig>,
    /// Verifies certificates of clients, where they are asked for.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// For the handshakes of connections.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// The names in the certificate that a client has shown, once its handshake is done.
    ///
    /// # Errors
    /// When a certificate of an earlier session is no longer good.
    pub(crate) fn identify(
        &self,
        session: &ServerConnection,
    ) -> Result<Vec<Box<str>>, rustls::Error> {
        let Some([certificate, chain @ ..]) = session.peer_certificates() else {
            return Ok(Vec::new());
        };

        // A ticket outlives the certificate that was shown for it.
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        if let Some(clients) = self.clients.as_ref().filter(|_| is_resumed) {
            clients.verify_client_cert(certificate, chain, UnixTime::now())?;
        }
        Ok(names::of(certificate))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}
