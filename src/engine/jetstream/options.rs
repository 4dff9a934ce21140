//! Which stream to use, and how to reach it.
//!
//! Invariant: no secret is shown by `Debug`, so none reaches a log.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A stream of NATS JetStream as the log of any number of gateways.
#[derive(Clone, PartialEq, Eq)]
pub struct JetStreamOptions {
    /// Addresses of servers, as `nats://host:4222` or `tls://host:4222`; no secrets in them.
    pub servers: Vec<String>,
    /// The name of the stream.
    pub stream: String,
    /// What the subjects of events begin with; none: that of the stream, or, where one is created,
    /// its name.
    pub prefix: Option<String>,
    /// Creates the stream where there is none.
    pub create: bool,
    /// How many servers keep a stream that is created.
    pub replicas: usize,
    /// The vid of the first event of a stream that is created; none: 1.
    pub first_vid: Option<u64>,
    /// How the gateway proves who it is.
    pub credentials: NatsCredentials,
    /// Encryption of connections to the servers.
    pub tls: NatsTls,
    /// Not in touch with the log for so long, a gateway is behind.
    pub stale_after: Duration,
    /// Addresses at which servers can be monitored, as `http://host:8222`: whether they sync each
    /// write is told there alone.
    pub monitors: Vec<String>,
}

/// How the gateway proves to NATS who it is.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum NatsCredentials {
    /// It does not.
    #[default]
    None,
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an `NKey`, which begins with `SU`.
    NKeySeed(String),
    /// A file with a JWT and a seed, as `nsc generate creds` makes it.
    File(PathBuf),
}

/// Encryption of connections to NATS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatsTls {
    /// Refuses servers without encryption.
    pub required: bool,
    /// Certificates of authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for JetStreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOptions")
            .field("servers", &self.servers)
            .field("stream", &self.stream)
            .field("prefix", &self.prefix)
            .field("create", &self.create)
            .field("replicas", &self.replicas)
            .field("credentials", &self.credentials)
            .field("monitors", &self.monitors)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NatsCredentials::None => "none",
            NatsCredentials::User { .. } => "user and password",
            NatsCredentials::Token(_) => "token",
            NatsCredentials::NKeySeed(_) => "NKey",
            NatsCredentials::File(_) => "credentials file",
        })
    }
}
