//! `vidette token`: makes tokens, keys and secrets for development and small deployments, and shows
//! what is in a token.
//!
//! Invariants:
//! - what is secret goes to standard output or into a file that its owner alone may read, and is
//!   never taken from the command line, which every user of the machine can read;
//! - no file is written over.

mod files;
mod key;
mod new;
mod pair;
mod rights;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CommandResult;

/// Make tokens, API keys and secrets, and show what is in a token.
///
/// The gateway itself needs none of this: it checks tokens of any issuer. Where there is no
/// identity provider, as in development or a small deployment, these commands stand in for one.
#[derive(Args)]
#[command(after_help = "Examples: from nothing to a protected gateway
  vidette token secret jwt.key
  cat > vidette.toml <<'END'
  [[auth.jwt]]
  algorithms = [\"HS256\"]
  secret_file = \"jwt.key\"
  END
  vidette serve --config vidette.toml &
  vidette token new --secret-file jwt.key --subject alice --subscribe 'door.>' > alice.token
  vidette tail 'door.>' --token-file alice.token

A program that publishes, with a key that never expires:
  vidette token key --name doors --publish 'door.>' --key-file doors.key >> vidette.toml
  vidette publish door.3 '{\"doorno\":3}' --token-file doors.key")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Subcommand)]
enum TokenAction {
    New(new::NewArgs),
    Key(key::KeyArgs),
    Secret(SecretArgs),
    Pair(pair::PairArgs),
    Show(show::ShowArgs),
    Hash(key::HashArgs),
}

/// Make a secret, by which tokens are signed and checked.
///
/// It is for `secret_file` in [[auth.jwt]], and for `vidette token new --secret-file`. Whoever has
/// it can make tokens.
#[derive(Args)]
struct SecretArgs {
    /// File to write, for its owner's eyes only; it must not be there yet
    file: PathBuf,
}

pub(super) fn run(args: TokenArgs) -> CommandResult {
    match args.action {
        TokenAction::New(args) => new::run(&args),
        TokenAction::Key(args) => key::run(&args),
        TokenAction::Secret(args) => secret(&args),
        TokenAction::Pair(args) => pair::run(&args),
        TokenAction::Show(args) => show::run(&args),
        TokenAction::Hash(args) => key::hash(&args),
    }
}

/// Bytes of a secret, before they are written as text: as many as the longest hash (HS512) has.
const SECRET_BYTES: usize = 48;

fn secret(args: &SecretArgs) -> CommandResult {
    // As text, 64 bytes: it survives editors, environments and secret stores.
    let secret = files::random_text(SECRET_BYTES)?;
    files::write_private(&args.file, &format!("{secret}\n"))
}
