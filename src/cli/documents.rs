//! `vidette completions` and `vidette man`: what a package installs beside the command, made from
//! the flags themselves, so that neither says anything else than `--help`.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CommandResult, Failure};

/// Print the completions of a shell.
#[derive(Args)]
#[command(after_help = "Example:
  vidette completions bash > /etc/bash_completion.d/vidette")]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

/// Write the manual pages, one for each command.
#[derive(Args)]
pub(super) struct ManArgs {
    /// Folder of the pages; it is made where there is none
    #[arg(default_value = "man")]
    folder: PathBuf,
}

pub(super) fn print_completions(args: &CompletionsArgs) -> CommandResult {
    let mut completions = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vidette", &mut completions);

    // The library would panic where nobody reads any more.
    let printed = io::Write::write_all(&mut io::stdout(), &completions);
    printed.map_err(Failure::new)
}

pub(super) fn write_man_pages(args: &ManArgs) -> CommandResult {
    let failed = |error: io::Error| Failure::new(format!("{}: {error}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    let command = Cli::command().name("vidette");
    clap_mangen::generate_to(command, &args.folder).map_err(failed)
}
