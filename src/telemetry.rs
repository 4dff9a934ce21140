//! Logs, for a person or as JSON, on standard error.
//!
//! Invariants:
//! - whoever logs never waits for whoever reads the logs (see [`log_queue`]);
//! - a panic is logged like everything else.

mod log_queue;

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload::{Error as ReloadError, Handle};
use tracing_subscriber::{EnvFilter, fmt};

pub(crate) use log_queue::LogFlush;
use log_queue::LogQueue;

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line a person can read.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged unless something else is asked for.
const DEFAULT_FILTER: &str = "info";

/// Logs that have been started.
pub(crate) struct Logs {
    set_filter: SetFilter,
}

type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), ReloadError> + Send + Sync>;

impl Logs {
    /// Starts logging. `filter` is as in `RUST_LOG`, for example `info` or `vidette=debug`. What
    /// was logged has been written once the second value is dropped.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub(crate) fn start(
        format: LogFormat,
        filter: Option<&str>,
    ) -> Result<(Self, LogFlush), ParseError> {
        let filter = parse(filter)?;
        let (queue, flush) = LogQueue::start();
        // An error of a log is nothing to log.
        let logs = fmt()
            .with_env_filter(filter)
            .with_writer(queue)
            .with_target(false)
            .log_internal_errors(false);

        // Colours are for a terminal; JSON goes to a collector.
        let set_filter = match format {
            LogFormat::Text => {
                let is_terminal = std::io::stderr().is_terminal();
                let logs = logs.with_ansi(is_terminal).with_filter_reloading();
                let handle = logs.reload_handle();
                // A second call, as in tests, keeps what the first one set.
                let _ = logs.try_init();
                reloading(handle)
            }
            LogFormat::Json => {
                let logs = logs.json().flatten_event(true).with_filter_reloading();
                let handle = logs.reload_handle();
                let _ = logs.try_init();
                reloading(handle)
            }
        };
        log_panics();
        Ok((Logs { set_filter }, flush))
    }

    /// Has what is logged from now on follow another filter.
    pub(crate) fn set_filter(&self, filter: Option<&str>) {
        // Whoever gave it has checked it; and if it cannot be set, the old one goes on.
        let set = parse(filter).map(|filter| (self.set_filter)(filter));
        if !matches!(set, Ok(Ok(()))) {
            tracing::warn!(?filter, "what is logged could not be changed");
        }
    }
}

fn parse(filter: Option<&str>) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))
}

fn reloading<S: 'static>(handle: Handle<EnvFilter, S>) -> SetFilter {
    Box::new(move |filter| handle.reload(filter))
}

/// Panics are written straight to standard error otherwise, where a thread would wait for whoever
/// reads it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(thread, %backtrace, "{panic}");
    }));
}
