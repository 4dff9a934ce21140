//! Which gateway a command talks to, who it says it is there, and whom it trusts.
//!
//! Invariant: a token comes from a file or from the environment, never from the command line, which
//! every user of the machine can read.

use std::env;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{DEFAULT_URL, Failure};
use crate::client::{Client, ClientOptions, TokenSource};
use crate::limits;

/// The variable that has a token.
const TOKEN_VARIABLE: &str = "VIDETTE_TOKEN";

#[derive(Args)]
#[command(next_help_heading = "Gateway")]
pub(super) struct ConnectArgs {
    /// Address of the gateway, http:// or https://
    #[arg(long, env = "VIDETTE_URL", default_value = DEFAULT_URL, hide_env_values = true)]
    url: String,
    /// File of the token or API key to show; read again when the gateway says that it has expired.
    /// Without it, the environment variable `VIDETTE_TOKEN` is the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File of the certificates (PEM) that are trusted, instead of those that the system trusts
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File of the certificate (PEM) to show, as an identity; with --key
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// File of the private key (PEM) of --certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

impl ConnectArgs {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A client of that gateway. Nothing is sent yet.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let mut options = ClientOptions::new();
        if let Some(source) = self.token()? {
            options = options.token(source);
        }
        if let Some(path) = &self.ca {
            options = options.ca_certificate(read_pem("--ca", path)?);
        }
        // clap takes none of the two without the other.
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let certificate = read_pem("--certificate", certificate)?;
            options = options.client_certificate(certificate, read_pem("--key", key)?);
        }
        Client::with_options(&self.url, options).map_err(Failure::wrong_flags)
    }

    fn token(&self) -> Result<Option<TokenSource>, Failure> {
        if let Some(path) = &self.token_file {
            // A wrong path is wrong usage, and better said before anything is sent.
            readable("--token-file", path)?;
            return Ok(Some(TokenSource::file(path)));
        }

        match env::var(TOKEN_VARIABLE) {
            Ok(token) if !token.is_empty() => Ok(Some(TokenSource::fixed(token))),
            Ok(_) | Err(env::VarError::NotPresent) => Ok(None),
            // Its error would show the value.
            Err(env::VarError::NotUnicode(_)) => Err(Failure::usage(format!(
                "{TOKEN_VARIABLE} has no token in it"
            ))),
        }
    }
}

fn readable(flag: &str, path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(flag, path, &error))
}

fn unreadable(flag: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{flag} {}: {error}", path.display()))
}

fn read_pem(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let file = readable(flag, path)?;
    let mut pem = Vec::new();
    let mut file = file.take(limits::PEM_FILE_BYTES);
    file.read_to_end(&mut pem)
        .map_err(|error| unreadable(flag, path, &error))?;
    Ok(pem)
}
