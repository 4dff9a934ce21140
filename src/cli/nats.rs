//! The flags that name a stream of NATS JetStream.
//!
//! Invariant: addresses may have passwords in them, so that neither the help nor an error shows
//! their values.

use std::path::Path;

use clap::Args;

use super::Failure;
use crate::config::{Config, JetStreamOverrides, Overrides, setting_variables};
use crate::engine::{EngineKind, JetStreamOptions, LogRequirements};

/// Where the stream is.
#[derive(Args)]
#[command(next_help_heading = "NATS JetStream")]
pub(super) struct StreamArgs {
    /// Address of a NATS server, nats:// or tls://; several with commas between, or repeated
    ///
    /// One is enough: the servers of a cluster name each other. Credentials may stand in it
    /// (`nats://user:password@host:4222`), and are better kept in files that `[jetstream]` of the
    /// configuration names.
    #[arg(long, env = "VIDETTE_NATS", value_name = "URL", value_delimiter = ',')]
    #[arg(hide_env_values = true)]
    nats: Vec<String>,
    /// Name of the stream
    #[arg(long, env = "VIDETTE_STREAM", value_name = "NAME")]
    stream: Option<String>,
    /// Address at which a server can be monitored, `http://host:8222`; several with commas between,
    /// or repeated
    ///
    /// There alone a server says whether it syncs each write (`sync_interval: always`). Give those
    /// of all servers.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    nats_monitor: Vec<String>,
}

/// The stream that is the log of a gateway.
#[derive(Args)]
#[command(next_help_heading = "NATS JetStream")]
pub(super) struct JetStreamArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Create the stream where there is none
    #[arg(long)]
    create: bool,
    /// How many servers keep a stream that is created: 3, or 1 for tests [default: 3]
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
}

impl StreamArgs {
    /// As the configuration takes them.
    pub(super) fn overrides(&self) -> JetStreamOverrides {
        JetStreamOverrides {
            servers: self.nats.clone(),
            stream: self.stream.clone(),
            monitors: self.nats_monitor.clone(),
            ..JetStreamOverrides::default()
        }
    }
}

impl JetStreamArgs {
    /// As the configuration takes them.
    pub(super) fn overrides(&self) -> JetStreamOverrides {
        JetStreamOverrides {
            create: self.create,
            replicas: self.replicas,
            ..self.stream.overrides()
        }
    }
}

/// A stream, and what is demanded of it.
pub(super) struct NamedStream {
    pub(super) options: JetStreamOptions,
    pub(super) required: LogRequirements,
}

/// The stream that flags and a configuration name.
pub(super) fn stream_of(
    config: Option<&Path>,
    jetstream: JetStreamOverrides,
) -> Result<NamedStream, Failure> {
    let overrides = Overrides {
        engine: Some("jetstream".to_owned()),
        jetstream,
        settings: setting_variables().map_err(Failure::usage)?,
        ..Overrides::default()
    };
    let config = Config::load(config, overrides).map_err(Failure::usage)?;
    let required = config.log_requirements();
    match config.engine {
        EngineKind::JetStream(options) => Ok(NamedStream {
            options: *options,
            required,
        }),
        _ => Err(Failure::usage(
            "the log is not on a stream of NATS JetStream",
        )),
    }
}
