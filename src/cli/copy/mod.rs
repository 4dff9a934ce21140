//! `vidette copy`: the events of one log into another.

mod address;
mod progress;

use std::path::PathBuf;

use clap::Args;

use super::signals::InterruptSignals;
use super::{CommandResult, Failure};
use crate::config::{Config, JetStreamOverrides, Overrides, setting_variables};
use crate::copy::{self, CopyPlan, CopyProgress, PlanOptions};
use crate::cursor::Vid;
use crate::engine::import::{CopyError, CopySource, CopyTarget};
use crate::engine::{EngineKind, JetStreamEngine, JetStreamTarget, SqliteEngine, SqliteSource};
use address::LogAddress;
use progress::CopyDisplay;

/// Copy the events of one log into another.
///
/// A log is a data folder, or a stream of NATS JetStream as nats://HOST:PORT/STREAM. Times, ids,
/// types, headers and data are kept, and vids with them where the target is empty: cursors of the
/// source are then good on the copy. Into a log with events of its own the copy is made only with
/// --renumber.
///
/// A copy that was interrupted, or whose source has got more events since, goes on where it was
/// when the same command is started again. So a source may be in use: copy it, stop its gateway,
/// and copy what has come meanwhile.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette copy --from ./vidette-data --to nats://127.0.0.1:4222/doors --create
  vidette copy --from nats://127.0.0.1:4222/doors --to ./copy
  vidette copy --from ./vidette-data --to-config gateway.toml")]
pub(super) struct CopyArgs {
    /// The log to copy: a data folder, or nats://HOST:PORT/STREAM
    #[arg(long, value_name = "LOG", required_unless_present = "from_config")]
    from: Option<LogAddress>,
    /// The log to copy into: a data folder, or nats://HOST:PORT/STREAM
    #[arg(long, value_name = "LOG", required_unless_present = "to_config")]
    to: Option<LogAddress>,
    /// Configuration of the gateway of the source: where its log is, and credentials for it
    #[arg(long, value_name = "FILE")]
    from_config: Option<PathBuf>,
    /// Configuration of the gateway of the target: where its log is, credentials, and retention
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,
    /// Create the stream to copy into where there is none, with the retention of --to-config
    #[arg(long)]
    create: bool,
    /// How many servers keep a stream that is created [default: 3]
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
    /// Append events with new vids where the target cannot keep those of the source
    ///
    /// They come as if they were published now. Cursors of the source get a gap (reset).
    #[arg(long)]
    renumber: bool,
}

const SAME_LOG: &str = "--from and --to are the same log";
const NO_MEMORY: &str = "a log in memory is gone when its gateway ends: it cannot be copied";

pub(super) async fn run(args: CopyArgs) -> CommandResult {
    // First of all, so that no signal is missed.
    let mut signals = InterruptSignals::listen()?;
    let (from, to) = (args.source()?, args.target()?);
    if from.engine == to.engine {
        return Err(Failure::usage(SAME_LOG));
    }
    let copying = args.copy(&from, &to);
    tokio::select! {
        done = copying => done,
        interrupted = signals.next() => Err(interrupted.with_line(GO_ON)),
    }
}

const GO_ON: &str = "start the same command again, and it goes on where it was";

impl CopyArgs {
    async fn copy(&self, from: &Config, to: &Config) -> CommandResult {
        let source = open_source(from).await.map_err(Failure::new)?;
        let state = source.state().await.map_err(Failure::new)?;
        let target = open_target(to, state.bounds.first).await;
        let target = target.map_err(Failure::new)?;

        let options = PlanOptions {
            renumber: self.renumber,
            retention: to.bus.retention,
        };
        let plan = copy::plan(state, &*target, options).await;
        let Some(plan) = plan.map_err(Failure::new)? else {
            println!("nothing to copy: the target has everything that the source has");
            return Ok(());
        };
        let done = show(&*source, &*target, &plan).await?;
        println!("{}", progress::summary(&plan, &done));
        println!("{}", progress::cursors(plan.vids));
        Ok(())
    }

    fn source(&self) -> Result<Config, Failure> {
        let overrides = overrides("--from", self.from.as_ref())?;
        Config::load(self.from_config.as_deref(), overrides).map_err(Failure::usage)
    }

    fn target(&self) -> Result<Config, Failure> {
        let mut overrides = overrides("--to", self.to.as_ref())?;
        overrides.jetstream.create = self.create;
        overrides.jetstream.replicas = self.replicas;
        Config::load(self.to_config.as_deref(), overrides).map_err(Failure::usage)
    }
}

async fn show(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    plan: &CopyPlan,
) -> Result<CopyProgress, Failure> {
    let mut display = CopyDisplay::begin(plan);
    let done = copy::copy(source, target, plan, |progress| display.show(progress)).await;
    display.clear();
    done.map_err(Failure::new)
}

/// What the command line says of a log, as the configuration takes it.
fn overrides(flag: &str, address: Option<&LogAddress>) -> Result<Overrides, Failure> {
    let settings = setting_variables().map_err(Failure::usage)?;
    let overrides = Overrides {
        settings,
        // Nothing is listened on here.
        insecure: true,
        ..Overrides::default()
    };
    Ok(match address.cloned() {
        None => overrides,
        Some(LogAddress::Folder(folder)) if folder.as_os_str().is_empty() => {
            return Err(Failure::usage(format!("{flag} is empty")));
        }
        Some(LogAddress::Folder(folder)) => Overrides {
            engine: Some("sqlite".into()),
            data_dir: Some(folder),
            ..overrides
        },
        Some(LogAddress::Stream { servers, stream }) => Overrides {
            engine: Some("jetstream".into()),
            jetstream: JetStreamOverrides {
                servers,
                stream: Some(stream),
                ..JetStreamOverrides::default()
            },
            ..overrides
        },
    })
}

async fn open_source(config: &Config) -> Result<Box<dyn CopySource>, CopyError> {
    match config.engine.clone() {
        EngineKind::Memory => Err(CopyError::new(NO_MEMORY)),
        EngineKind::Sqlite { data_dir } => Ok(Box::new(SqliteSource::open(&data_dir)?)),
        EngineKind::JetStream(mut options) => {
            options.create = false;
            let engine = JetStreamEngine::open(*options, config.log_requirements()).await?;
            Ok(Box::new(engine))
        }
    }
}

async fn open_target(config: &Config, first_vid: Vid) -> Result<Box<dyn CopyTarget>, CopyError> {
    let required = config.log_requirements();
    match config.engine.clone() {
        EngineKind::Memory => Err(CopyError::new(NO_MEMORY)),
        EngineKind::Sqlite { data_dir } => {
            let window = required.retention.dedupe_window;
            Ok(Box::new(SqliteEngine::open(&data_dir, window)?))
        }
        EngineKind::JetStream(options) => {
            let target = JetStreamTarget::open(*options, required, first_vid).await?;
            Ok(Box::new(target))
        }
    }
}
