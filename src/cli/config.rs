//! `vidette config`: what is configured, whether it is right, and what could be.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::settings::SettingArgs;
use super::{CommandResult, Failure};
use crate::config::{Config, EXAMPLE, SettingList};

/// Check a configuration, print what is in force, or an example of all settings.
#[derive(Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    Check(SourceArgs),
    Show(ShowArgs),
    /// Print a configuration that has every setting, with its default and what it means
    Example,
}

/// Check a configuration as `vidette serve` would, and start nothing
///
/// All errors are printed at once, each with the file, the line and the column, or with the
/// variable or the flag that it comes from. The exit code is 64 where there is one.
#[derive(Args)]
struct SourceArgs {
    /// Configuration file (TOML); without one, the defaults, the environment and the flags
    #[arg(value_name = "FILE", env = "VIDETTE_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Print all settings that are in force, and where each comes from
///
/// What is printed is a configuration, but for its secrets: passwords, tokens and digests of keys
/// are shown as ***. Behind each setting stands its place: the file with line and column, a
/// variable, a flag, or `default`.
#[derive(Args)]
struct ShowArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Print only what differs from being left out
    #[arg(long)]
    set: bool,
}

pub(super) fn run(args: ConfigArgs) -> CommandResult {
    match args.command {
        ConfigCommand::Check(source) => {
            let list = source.load()?;
            print(format_args!("{}\n", source.verdict(&list)))
        }
        ConfigCommand::Show(show) => {
            let list = show.source.load()?;
            let list = if show.set { list.only_set() } else { list };
            print(format_args!("{list}"))
        }
        ConfigCommand::Example => print(EXAMPLE),
    }
}

impl SourceArgs {
    fn load(&self) -> Result<SettingList, Failure> {
        let overrides = self.settings.overrides()?;
        let loaded = Config::load_with_list(self.file.as_deref(), overrides);
        loaded.map(|(_, list)| list).map_err(Failure::usage)
    }

    fn verdict(&self, list: &SettingList) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        let what = file.unwrap_or_else(|| "the configuration without a file".to_owned());
        let set = list.count_set();
        format!("{what} is right: {set} settings are set, the others have their defaults")
    }
}

fn print(text: impl Display) -> CommandResult {
    let mut out = io::stdout().lock();
    let printed = write!(out, "{text}").and_then(|()| out.flush());
    match printed {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::new),
    }
}
