//! Settings that the command line has: flags, and the variables that stand for them.

use std::env;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::Failure;
use super::nats::JetStreamArgs;
use crate::config::{Overrides, setting_variables};

/// Flags, each with the variable that stands for it where it is not given.
const VARIABLES: [(&str, &str); 7] = [
    ("--listen", "VIDETTE_LISTEN"),
    ("--data-dir", "VIDETTE_DATA_DIR"),
    ("--engine", "VIDETTE_ENGINE"),
    ("--pages-dir", "VIDETTE_PAGES_DIR"),
    ("--otlp-endpoint", "VIDETTE_OTLP_ENDPOINT"),
    ("--nats", "VIDETTE_NATS"),
    ("--stream", "VIDETTE_STREAM"),
];

#[derive(Args)]
pub(super) struct SettingArgs {
    /// Address to listen on; may be repeated [default: 127.0.0.1:8080]
    ///
    /// 8080 is the loopback address, :8080 every address of the machine, `unix:/run/vidette.sock`
    /// a Unix socket.
    #[arg(long, env = "VIDETTE_LISTEN", value_delimiter = ',')]
    listen: Vec<String>,
    /// Folder in which the log is kept [default: ./vidette-data]
    #[arg(long, env = "VIDETTE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where events are kept: sqlite (on disk), memory (lost at exit) or jetstream (on a stream of
    /// NATS, for any number of gateways) [default: sqlite]
    #[arg(long, env = "VIDETTE_ENGINE", value_name = "sqlite|memory|jetstream")]
    engine: Option<String>,
    #[command(flatten)]
    jetstream: JetStreamArgs,
    /// Folder of your own pages, served where nothing else is
    #[arg(long, env = "VIDETTE_PAGES_DIR")]
    pages_dir: Option<PathBuf>,
    /// Collector to which spans of publishing are sent, by OTLP over gRPC [default: none]
    #[arg(
        long,
        env = "VIDETTE_OTLP_ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    otlp_endpoint: Option<String>,
    /// Let everybody who can reach the gateway read and publish everything
    ///
    /// Without a section [auth] in the configuration the gateway listens only where this machine
    /// alone can reach it, unless this is given.
    #[arg(long, env = "VIDETTE_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
}

impl SettingArgs {
    /// As the configuration takes them, with the settings of the environment.
    pub(super) fn overrides(&self) -> Result<Overrides, Failure> {
        Ok(Overrides {
            listen: self.listen.clone(),
            engine: self.engine.clone(),
            data_dir: self.data_dir.clone(),
            jetstream: self.jetstream.overrides(),
            pages_dir: self.pages_dir.clone(),
            otlp_endpoint: self.otlp_endpoint.clone(),
            insecure: self.insecure,
            settings: setting_variables().map_err(Failure::usage)?,
            variables: VARIABLES
                .into_iter()
                .filter(|(flag, variable)| is_from_variable(flag, variable))
                .collect(),
        })
    }
}

/// Does a variable stand for a flag, because that is not given?
fn is_from_variable(flag: &str, variable: &str) -> bool {
    let is_given = env::args_os().any(|argument| {
        let argument = argument.to_string_lossy();
        let rest = argument.strip_prefix(flag);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    !is_given && env::var_os(variable).is_some()
}
