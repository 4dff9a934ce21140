//! How a client says who it is, and whom it trusts.

use super::clock::ClientClock;
use super::token::TokenSource;

/// What a client needs beside the address of the gateway; by default nothing.
///
/// ```no_run
/// use vidette::client::{Client, ClientOptions, TokenSource};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ClientOptions::new()
///     .token(TokenSource::file("/run/secrets/vidette.token"))
///     .ca_certificate(std::fs::read("ca.pem")?);
/// let client = Client::with_options("https://gateway.example", options)?;
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ClientOptions {
    pub(super) token: Option<TokenSource>,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) identity: Option<IdentityPem>,
    pub(super) clock: ClientClock,
}

/// A certificate by which the client names itself, and its private key.
#[derive(Clone)]
pub(super) struct IdentityPem {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl ClientOptions {
    /// No token, and the certificate authorities that the system trusts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that each request carries: `Authorization: Bearer …` over HTTP, the metadata
    /// `authorization` over gRPC. When it has expired, the source is asked for a fresh one, and
    /// reading and publishing go on.
    #[must_use]
    pub fn token(mut self, source: TokenSource) -> Self {
        self.token = Some(source);
        self
    }

    /// The certificates (PEM) of the authorities that are trusted, instead of the system's.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// The certificate, with those between it and its authority, and the private key (both PEM) by
    /// which the client names itself.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some(IdentityPem {
            certificate: certificate_pem.into(),
            key: key_pem.into(),
        });
        self
    }

    /// The clock by which the client waits and gives up; for tests that cannot wait.
    #[must_use]
    pub fn clock(mut self, clock: ClientClock) -> Self {
        self.clock = clock;
        self
    }

    /// Do they say anything about encryption?
    pub(super) fn have_certificates(&self) -> bool {
        self.ca_pem.is_some() || self.identity.is_some()
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A private key is no more to be shown than a token is.
        f.debug_struct("ClientOptions")
            .field("token", &self.token)
            .field("has_ca_certificate", &self.ca_pem.is_some())
            .field("has_client_certificate", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}
