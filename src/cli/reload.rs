//! SIGHUP: the configuration is read again, and what can follow it does.
//!
//! Invariants:
//! - an invalid configuration changes nothing, and all its errors are logged;
//! - one reload comes after the other, and none of them holds up who serves;
//! - the signal ends nothing, whoever sends it: a terminal does as it closes.

use std::path::PathBuf;

use tokio::signal::unix::Signal;

use crate::config::{Config, ConfigErrors, Overrides};
use crate::server::LiveConfig;
use crate::telemetry::Logs;

/// What a configuration is made of: the same at the start and at each reload.
#[derive(Clone)]
pub(super) struct ConfigSource {
    pub(super) file: Option<PathBuf>,
    pub(super) overrides: Overrides,
    /// What is logged; takes precedence over the file.
    pub(super) log: Option<String>,
}

impl ConfigSource {
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.file.as_deref(), self.overrides.clone())
    }

    /// What is logged by this configuration.
    pub(super) fn log_filter<'a>(&'a self, config: &'a Config) -> Option<&'a str> {
        let flag = self.log.as_deref();
        flag.or(config.log.level.as_deref())
    }
}

/// Reloads the configuration of a gateway that runs.
pub(super) struct Reloader {
    pub(super) source: ConfigSource,
    pub(super) live: LiveConfig,
    pub(super) logs: Logs,
}

impl Reloader {
    /// Reloads at each signal.
    pub(super) async fn run(self, mut hangups: Signal) {
        // Signals that come during a reload are one more of it.
        while hangups.recv().await.is_some() {
            self.reload().await;
        }
    }

    async fn reload(&self) {
        let Some(file) = &self.source.file else {
            return tracing::info!(
                "SIGHUP: there is no configuration file to read again (--config)"
            );
        };
        let file = file.display();
        tracing::info!(%file, "SIGHUP: reading the configuration again");

        // Reading files takes its time, which is not taken from those who serve.
        let source = self.source.clone();
        match tokio::task::spawn_blocking(move || source.load()).await {
            Ok(Ok(config)) => self.apply(&config),
            Ok(Err(errors)) => log_errors(&errors),
            Err(error) => tracing::error!(%error, "the configuration could not be read"),
        }
    }

    fn apply(&self, config: &Config) {
        let changed = self.live.changes(config).join(", ");
        let need_restart = self.live.replace(config).join(", ");
        self.logs.set_filter(self.source.log_filter(config));

        // Files that a setting names are read again even where no setting differs.
        tracing::info!(changed, "the configuration is in force");
        if !need_restart.is_empty() {
            tracing::warn!(
                settings = need_restart,
                "these settings differ from those the gateway was started with, and need a restart"
            );
        }
    }
}

fn log_errors(errors: &ConfigErrors) {
    for error in errors.iter() {
        tracing::error!("{error}");
    }
    tracing::error!(
        errors = errors.iter().count(),
        "the configuration is invalid: the one before stays in force"
    );
}
