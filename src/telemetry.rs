//! Logs, for a person or as JSON, on standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line a person can read.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging. `filter` is as in `RUST_LOG`, for example `info` or `vidette=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn init(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    // Nobody may be reading any more; to say so on the same standard error would panic.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let logs = logs.log_internal_errors(false);
    // A second call, as in tests, keeps what the first one set.
    // Colours are for a terminal; JSON goes to a collector.
    let _ = match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}
