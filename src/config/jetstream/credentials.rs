//! How the gateway proves to NATS who it is: one kind of credentials, in the configuration or in
//! files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use async_nats::ConnectOptions;
use nkeys::{KeyPair, KeyPairType};

use super::super::section::Section;
use crate::engine::NatsCredentials;
use crate::limits;

const PASSWORD_TWICE: &str = "and password_file are both there; keep one";
const TOKEN_TWICE: &str = "and token_file are both there; keep one";
const NO_PASSWORD: &str = "needs a password or a password_file";
const NO_USER: &str = "is missing; a password needs a user";
const NOT_A_SEED: &str = "has no NKey seed of a user, a line that begins with SU: nk -gen user \
    makes one";
const NOT_CREDS: &str = "is no credentials file with a JWT and a seed of a user: nsc generate \
    creds makes one";

/// Reads the settings; `in_servers` are those that stand in the addresses.
pub(super) fn credentials(section: &mut Section, in_servers: NatsCredentials) -> NatsCredentials {
    let mut found = Vec::new();
    if in_servers != NatsCredentials::None {
        found.push(("an address in servers", in_servers));
    }
    // All are read, so that all errors are reported at once.
    found.extend(user(section).map(|user| ("user", user)));
    found.extend(token(section).map(|token| ("token", token)));
    found.extend(nkey_seed(section).map(|seed| ("nkey_seed_file", seed)));
    found.extend(credentials_file(section).map(|file| ("credentials_file", file)));
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let names = names.join(" and ");
        section.report_here(&format!(
            "has more than one kind of credentials: {names}; keep one"
        ));
    }
    found
        .pop()
        .map_or(NatsCredentials::None, |(_, found)| found)
}

fn user(section: &mut Section) -> Option<NatsCredentials> {
    let name = section.text("user");
    let has_password = section.has("password") || section.has("password_file");
    let password = secret_or_file(section, "password", "password_file", PASSWORD_TWICE);
    if name.is_empty() {
        section.require("user", !has_password, NO_USER);
        return None;
    }
    section.require("user", has_password, NO_PASSWORD);
    let password = password.unwrap_or_default();
    Some(NatsCredentials::User { name, password })
}

fn token(section: &mut Section) -> Option<NatsCredentials> {
    let token = secret_or_file(section, "token", "token_file", TOKEN_TWICE)?;
    Some(NatsCredentials::Token(token))
}

fn nkey_seed(section: &mut Section) -> Option<NatsCredentials> {
    let text = file_of(section, "nkey_seed_file")?;
    // Comments and empty lines stand around it in the files of some tools.
    let seed = text.lines().map(str::trim).find(|line| is_user_seed(line));
    section.require("nkey_seed_file", seed.is_some(), NOT_A_SEED);
    Some(NatsCredentials::NKeySeed(
        seed.unwrap_or_default().to_owned(),
    ))
}

fn is_user_seed(line: &str) -> bool {
    let pair = KeyPair::from_seed(line);
    pair.is_ok_and(|pair| pair.key_pair_type() == KeyPairType::User)
}

fn credentials_file(section: &mut Section) -> Option<NatsCredentials> {
    let path = section.file_path("credentials_file")?;
    let is_fit = match read_text(&path) {
        Ok(text) => ConnectOptions::with_credentials(&text).is_ok(),
        Err(error) => {
            section.error("credentials_file", at(&path, &error));
            return None;
        }
    };
    section.require("credentials_file", is_fit, NOT_CREDS);
    Some(NatsCredentials::File(path))
}

/// A secret in the configuration, or in a file of its own.
fn secret_or_file(section: &mut Section, key: &str, file_key: &str, twice: &str) -> Option<String> {
    section.require(key, !(section.has(key) && section.has(file_key)), twice);
    let secret = section.secret(key);
    let from_file = file_of(section, file_key);
    let secret = secret.or(from_file)?;
    // Editors end a file with a line break, which is not part of the secret.
    let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
    section.require(key, !secret.is_empty(), "is empty");
    Some(secret)
}

/// The text of the file that a setting names.
fn file_of(section: &mut Section, key: &str) -> Option<String> {
    let path = section.file_path(key)?;
    let text = read_text(&path);
    text.map_err(|error| section.error(key, at(&path, &error)))
        .ok()
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    let mut bounded = file.take(limits::MAX_KEY_FILE_BYTES + 1);
    bounded.read_to_string(&mut text)?;
    if text.len() as u64 > limits::MAX_KEY_FILE_BYTES {
        let most = limits::MAX_KEY_FILE_BYTES;
        return Err(io::Error::other(format!("is longer than {most} bytes")));
    }
    Ok(text)
}
