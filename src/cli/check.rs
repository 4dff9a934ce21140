//! `vidette check`: is a stream of NATS JetStream fit as a log?

use std::path::PathBuf;

use clap::Args;

use super::nats::{self, StreamArgs};
use super::{CommandResult, Failure};
use crate::engine::{StreamReport, inspect};

/// Look at a stream of NATS JetStream and its servers, and change nothing.
///
/// Prints what keeps the stream from being a log, what is weaker than it could be, and, where the
/// servers' monitors are named, whether each write is synced to disk. The exit code is 1 where the
/// stream is unfit or cannot be reached.
#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Configuration file (TOML) of a gateway; flags take precedence over it
    #[arg(long, env = "VIDETTE_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: CheckArgs) -> CommandResult {
    let log = nats::stream_of(args.config.as_deref(), args.stream.overrides())?;
    let report = inspect(&log.options, &log.required).await;
    let report = report.map_err(Failure::new)?;
    print(&log.options.stream, &report);
    if report.faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the stream {} cannot be a log now",
        log.options.stream
    )))
}

fn print(stream: &str, report: &StreamReport) {
    println!("stream    {stream}");
    println!("log       {}", report.log);
    println!("server    {}", report.server);
    print_list("kept by", &report.replicas);
    print_list("disks", &report.sync);
    if report.sync.is_empty() {
        println!(
            "disks     not known: name the servers' monitors (--nats-monitor http://host:8222)"
        );
    }
    print_list("warning", &report.warnings);
    print_list("unfit", &report.faults);
    if report.faults.is_empty() {
        println!("The stream is fit as a log.");
    }
}

fn print_list(name: &str, lines: &[String]) {
    for line in lines {
        println!("{name:<9} {line}");
    }
}
