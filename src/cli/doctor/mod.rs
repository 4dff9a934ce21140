//! `vidette doctor`: what on this machine, in the configuration or on the way to a gateway would
//! keep it from working well, and what to do about it.
//!
//! Invariants:
//! - it changes nothing: the one file that it writes, to measure the disk, is removed again;
//! - it publishes nothing on a gateway that other machines can reach, unless it is given a topic;
//! - each finding that is not good says what to do.

mod clock;
mod disk;
mod finding;
mod gateway;
mod ports;

use std::path::PathBuf;

use clap::Args;

use super::connect::ConnectArgs;
use super::open_files::OpenFiles;
use super::{CommandResult, Failure};
use crate::config::{Config, Overrides, setting_variables};
use crate::engine::EngineKind;
use clock::ClockWatch;
use finding::{Finding, Level};

/// Look for what would keep a gateway from working well, and say what to do about it.
///
/// Looks at the configuration, the limit of open files, the disk of the log, the clock, and whether
/// the ports are free; then at the gateway of --url: whether events arrive as they come, or
/// something on the way collects them. On a gateway of this machine, or with --publish, one event
/// is published and read by all transports. The exit code is 1 where there is a problem.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette doctor --config /etc/vidette/vidette.toml
  vidette doctor --url https://push.example.org --publish doctor.check --token-file token.jwt")]
pub(super) struct DoctorArgs {
    /// Configuration file (TOML) of the gateway
    #[arg(long, env = "VIDETTE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the log, where the configuration does not name it
    #[arg(long, env = "VIDETTE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Publish one event to this topic, and read it by each transport
    #[arg(long, value_name = "TOPIC")]
    publish: Option<String>,
    /// Leave gRPC out, where a proxy cannot pass it on
    #[arg(long)]
    without_grpc: bool,
    /// Print the findings as JSON, for other programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: ConnectArgs,
}

pub(super) async fn run(args: DoctorArgs) -> CommandResult {
    let clock = ClockWatch::start();
    let mut findings = Vec::new();
    match args.load() {
        Ok(config) => {
            findings.push(Finding::good("configuration", "it is valid"));
            findings.extend(of_machine(&config));
        }
        Err(errors) => findings.push(Finding::problem(
            "configuration",
            errors,
            "correct these settings; README.md has all of them",
        )),
    }
    findings.extend(gateway::look(&args.gateway, args.publish, args.without_grpc).await?);
    findings.extend(clock.look().await);
    print(&findings, args.json)
}

impl DoctorArgs {
    fn load(&self) -> Result<Config, String> {
        let overrides = Overrides {
            data_dir: self.data_dir.clone(),
            settings: setting_variables()?,
            ..Overrides::default()
        };
        let config = Config::load(self.config.as_deref(), overrides);
        config.map_err(|errors| errors.to_string())
    }
}

fn of_machine(config: &Config) -> Vec<Finding> {
    let open_files = OpenFiles::raise_limit();
    let mut findings = vec![match open_files.shortage(config.max_connections) {
        None => Finding::good("open files", "enough for limits.max_connections"),
        Some(shortage) => {
            Finding::warning("open files", "too few for limits.max_connections", shortage)
        }
    }];
    if let EngineKind::Sqlite { data_dir } = &config.engine {
        findings.extend(disk::look(data_dir, config.bus.retention.max_bytes));
    }
    let addresses = config.listen.iter().chain(&config.listen_plain);
    findings.extend(addresses.map(ports::look));
    findings
}

fn print(findings: &[Finding], as_json: bool) -> CommandResult {
    if as_json {
        let text = serde_json::to_string_pretty(findings).map_err(Failure::new)?;
        println!("{text}");
    } else {
        for finding in findings {
            println!("{finding}");
        }
    }
    let is_problem = |finding: &&Finding| finding.level == Level::Problem;
    match findings.iter().filter(is_problem).count() {
        0 => Ok(()),
        1 => Err(Failure::new("one problem was found")),
        count => Err(Failure::new(format!("{count} problems were found"))),
    }
}
