//! `vidette serve`: the gateway.

use std::path::PathBuf;

use clap::Args;
use tokio_util::task::AbortOnDropHandle;

use super::open_files::OpenFiles;
use super::reload::{ConfigSource, Reloader};
use super::settings::SettingArgs;
use super::signals::{self, InterruptSignals};
use super::{CommandResult, Failure, demo};
use crate::bus::Bus;
use crate::config::{Config, ListenAddress};
use crate::engine::{EngineKind, OpenError, SqliteEngine, renew_epoch};
use crate::server::Gateway;
use crate::telemetry::{LogFlush, LogFormat, Logs};

/// Run the gateway.
///
/// All transports are on one port: long-poll /v1/poll, Server-Sent Events /v1/sse, gRPC
/// vidette.v1.EventBus (with reflection, also as gRPC-web), the legacy page /backend.php, and a
/// start page at /.
#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
    /// Configuration file (TOML); flags take precedence over it
    #[arg(long, env = "VIDETTE_CONFIG")]
    config: Option<PathBuf>,
    /// Publish a demo event on door.N about every second
    #[arg(long)]
    demo: bool,
    /// Begin a new epoch of the log at this start
    ///
    /// Give it once after the data folder went back in time in a way that cannot be noticed: a
    /// snapshot of the machine, its disk or file system was restored or cloned. Readers that have
    /// seen vids which this log gives again then get a gap (reset) instead of missing events; all
    /// others read on. A data folder or a backup that was copied is noticed without it. A log in
    /// memory always begins a new epoch.
    #[arg(long)]
    new_epoch: bool,
    /// How logs look
    #[arg(long, env = "VIDETTE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, or as in `RUST_LOG` [default: info]
    #[arg(long, env = "VIDETTE_LOG")]
    log: Option<String>,
}

pub(super) async fn run(args: ServeArgs) -> CommandResult {
    let (logs, _flushed_at_the_end) = start_logs(&args)?;
    let source = args.source()?;
    let config = source.load().map_err(Failure::usage)?;
    logs.set_filter(source.log_filter(&config));
    let open_files = OpenFiles::raise_limit();

    // Before the log is opened, so that no signal ends the process in the middle of that.
    let (signals, hangups) = (InterruptSignals::listen()?, signals::listen_to_hangups()?);
    if args.new_epoch {
        begin_new_epoch(&config.engine)
            .await
            .map_err(Failure::new)?;
    }
    let gateway = Gateway::start(&config).await.map_err(Failure::new)?;
    announce(&gateway, &config, &open_files);

    let live = gateway.live_config();
    let reloader = Reloader { source, live, logs };
    let reloading = AbortOnDropHandle::new(tokio::spawn(reloader.run(hangups)));
    run_until_signal(gateway, args.demo, signals).await;
    drop(reloading);
    tracing::info!("stopped");
    Ok(())
}

fn start_logs(args: &ServeArgs) -> Result<(Logs, LogFlush), Failure> {
    let log = args.log.as_deref();
    let started = Logs::start(args.log_format, log);
    started.map_err(|error| Failure::usage(format!("--log {:?}: {error}", log.unwrap_or_default())))
}

/// Runs the gateway, with demo events where they are asked for, until it is asked to end.
async fn run_until_signal(gateway: Gateway, with_demo: bool, signals: InterruptSignals) {
    let bus = gateway.bus().clone();
    let demo = with_demo.then(|| AbortOnDropHandle::new(tokio::spawn(demo::run(bus))));
    let [first, second] = signals.first_and_second();
    gateway
        .run_until(first.cancelled(), second.cancelled())
        .await;
    drop(demo);
}

impl ServeArgs {
    fn source(&self) -> Result<ConfigSource, Failure> {
        Ok(ConfigSource {
            file: self.config.clone(),
            log: self.log.clone(),
            overrides: self.settings.overrides()?,
        })
    }
}

const NO_NEW_EPOCH: &str = "--new-epoch changes nothing: a log in memory begins a new epoch anyway";

/// Done before the log is opened for readers, so that nobody sees the earlier epoch as the current.
async fn begin_new_epoch(engine: &EngineKind) -> Result<(), OpenError> {
    match engine {
        EngineKind::Sqlite { data_dir } => SqliteEngine::begin_new_epoch(data_dir),
        EngineKind::JetStream(options) => {
            let renewed = renew_epoch(options).await?;
            let (before, now) = (renewed.before, renewed.now);
            tracing::info!(%before, %now, "the stream has another epoch");
            Ok(())
        }
        EngineKind::Memory => {
            tracing::info!("{NO_NEW_EPOCH}");
            Ok(())
        }
    }
}

/// Logs what was started, and where it can be reached.
fn announce(gateway: &Gateway, config: &Config, open_files: &OpenFiles) {
    announce_log(gateway.bus(), &config.engine);
    open_files.warn_where_too_few(config.max_connections);
    if config.is_open_to_all() {
        tracing::warn!("{OPEN_TO_ALL}");
    }
    for (address, is_encrypted) in gateway.listeners() {
        match (address, is_encrypted) {
            (ListenAddress::Tcp(address), true) => tracing::info!("listening on https://{address}"),
            (ListenAddress::Tcp(address), _) => tracing::info!("listening on http://{address}"),
            (address, true) => tracing::info!("listening on {address} with TLS"),
            (address, _) => tracing::info!("listening on {address}"),
        }
    }
}

const OPEN_TO_ALL: &str = "--insecure: everybody who can reach this gateway may read and publish \
    everything; say in a section [auth] who may what";
fn announce_log(bus: &Bus, engine: &EngineKind) {
    if let EngineKind::Sqlite { data_dir } = engine {
        tracing::info!(data_dir = %data_dir.display(), "the log is kept in this folder");
    }
    let (bounds, epoch) = (bus.bounds(), bus.epoch());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        engine = bus.engine_kind(),
        %epoch,
        first = bounds.first,
        last = bounds.last,
        "{}",
        bus.durability()
    );
}
