//! `vidette epoch`: another epoch for a log that went back in time.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::nats::{self, StreamArgs};
use super::{CommandResult, Failure};
use crate::engine::renew_epoch;

/// Begin another epoch of a log on NATS JetStream.
#[derive(Args)]
pub(super) struct EpochArgs {
    #[command(subcommand)]
    command: EpochCommand,
}

#[derive(Subcommand)]
enum EpochCommand {
    Renew(RenewArgs),
}

/// Give the stream another epoch
///
/// Do it after the stream was restored from a backup, before gateways come back. Readers that have
/// seen vids which the stream gives again then get a gap (reset) and read again what is retained,
/// instead of missing events. Gateways that run notice it within a second. A log on disk gets
/// another epoch by `vidette serve --new-epoch`.
#[derive(Args)]
struct RenewArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Configuration file (TOML), for credentials; flags take precedence over it
    #[arg(long, env = "VIDETTE_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: EpochArgs) -> CommandResult {
    let EpochCommand::Renew(args) = args.command;
    let log = nats::stream_of(args.config.as_deref(), args.stream.overrides())?;
    let renewed = renew_epoch(&log.options).await.map_err(Failure::new)?;
    println!("The stream {} has another epoch.", log.options.stream);
    println!("  before: {}", renewed.before);
    println!("  now:    {}", renewed.now);
    println!(
        "Readers with a cursor of the epoch before get a gap (reset) and go on from the earliest \
         event."
    );
    Ok(())
}
