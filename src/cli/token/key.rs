//! `vidette token key` and `vidette token hash`: API keys.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use sha2::{Digest as _, Sha256};

use super::files::{print, random_text, read_input, write_private};
use super::rights::RightsArgs;
use crate::cli::{CommandResult, Failure};
use crate::limits;

/// Make an API key, and print the section of the configuration that lets it in.
///
/// The configuration has the key's SHA-256 alone, so the key cannot be found out from it. It does
/// not expire; to revoke it, remove the section, or put its name into `revoked_file`.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette token key --name doors --publish 'door.>' --key-file doors.key >> vidette.toml
  vidette token key --name prometheus --subscribe vidette.admin")]
pub(super) struct KeyArgs {
    /// What the key is known by in logs, and revoked by
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    rights: RightsArgs,
    /// File to write the key to, for its owner's eyes only. Without it the key is the first line
    /// that is printed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Print the SHA-256 of an API key, as `sha256` in `[[auth.api_key]]` has it.
///
/// Less one newline at the end of the key, as files have one.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette token hash doors.key
  printf %s \"$KEY\" | vidette token hash")]
pub(super) struct HashArgs {
    /// File of the key; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// By which people, and programs that look for secrets in the wrong place, know a key.
const KEY_PREFIX: &str = "vidette_";
/// Random bytes of a key.
const KEY_BYTES: usize = 32;

pub(super) fn run(args: &KeyArgs) -> CommandResult {
    check_name(&args.name)?;
    args.rights.check()?;
    let key = format!("{KEY_PREFIX}{}", random_text(KEY_BYTES)?);

    // The section comes last: what it lets in exists then.
    match &args.key_file {
        Some(path) => write_private(path, &format!("{key}\n"))?,
        None => print(&key)?,
    }
    // Behind an empty line, as it is appended to a file.
    print("")?;
    print(&section(&args.name, &key, &args.rights))
}

fn check_name(name: &str) -> Result<(), Failure> {
    let most = limits::MAX_CREDENTIAL_ID_BYTES;
    if name.is_empty() || name.len() > most || name.chars().any(char::is_control) {
        return Err(Failure::usage(format!(
            "--name {name:?}: a name has 1 to {most} bytes and no control character"
        )));
    }
    Ok(())
}

/// What the configuration has about the key.
fn section(name: &str, key: &str, rights: &RightsArgs) -> String {
    let hash = sha256(key.as_bytes());
    let list = |filters: &[String]| toml::Value::from(filters.to_vec());
    let (publish, subscribe) = (list(&rights.publish), list(&rights.subscribe));
    let name = toml::Value::from(name);
    format!(
        "[[auth.api_key]]\nname = {name}\nsha256 = \"{hash}\"\n\
         publish = {publish}\nsubscribe = {subscribe}"
    )
}

pub(super) fn hash(args: &HashArgs) -> CommandResult {
    let key = read_input(&args.file)?;
    if key.is_empty() {
        return Err(Failure::usage("there is no key in it"));
    }
    print(&sha256(&key))
}

fn sha256(key: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(key) {
        write!(hex, "{byte:02x}").expect("a text takes everything");
    }
    hex
}
