//! `[[auth.jwt]]`: whose tokens are accepted.
//!
//! Invariants:
//! - an entry has one source of keys, and algorithms of one family: a public key is never taken for
//!   a secret;
//! - keys are read and checked with the configuration.

use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Url;

use super::keys::{self, VerificationKey};
use super::{bounded, optional_text};
use crate::config::section::Section;
use crate::limits;

/// Tokens that are accepted.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// By which they may be signed; all of one family.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Whose keys have signed them.
    pub(crate) keys: JwtKeys,
    /// Who they have to be issued by.
    pub issuer: Option<String>,
    /// One of whom they have to be meant for; empty: whomever.
    pub audience: Vec<String>,
    /// By how much the issuer's clock may be ahead of the gateway's.
    pub leeway: Duration,
}

/// Where the keys of an entry come from.
#[derive(Clone)]
pub(crate) enum JwtKeys {
    /// From a file, which has been read.
    Fixed(Arc<[VerificationKey]>),
    /// From the key set of an identity provider.
    Url(Url),
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwtKeys::Fixed(keys) => write!(f, "{} key(s) of a file", keys.len()),
            // Without what may be a password in it.
            JwtKeys::Url(url) => write!(f, "keys of {:?}", url.host_str().unwrap_or_default()),
        }
    }
}

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// Reads all entries.
pub(super) fn entries(auth: &mut Section) -> Vec<JwtConfig> {
    let sections = bounded(auth, "jwt", limits::MAX_JWT_ENTRIES);
    // One without algorithms or keys has been reported, and would accept nothing.
    sections.into_iter().filter_map(entry).collect()
}

fn entry(mut section: Section) -> Option<JwtConfig> {
    let algorithms = algorithms(&mut section);
    let keys = keys_of(&mut section, &algorithms);
    let issuer = optional_text(&mut section, "issuer");
    let audience = section.list("audience", Vec::new());
    let leeway = leeway(&mut section);
    section.finish();
    Some(JwtConfig {
        algorithms,
        keys: keys?,
        issuer,
        audience,
        leeway,
    })
}

const NO_ALGORITHMS: &str =
    "is missing; name those that the issuer signs with, as [\"HS256\"] or [\"RS256\", \"RS384\"]";
const MIXED: &str = "mixes families: HS, RS and PS, ES, EdDSA have different keys; \
    write an [[auth.jwt]] for each of them";

fn algorithms(section: &mut Section) -> Vec<Algorithm> {
    let names = section.list("algorithms", Vec::new());
    section.require("algorithms", !names.is_empty(), NO_ALGORITHMS);

    let mut algorithms = Vec::new();
    for name in &names {
        match Algorithm::from_str(name) {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) => section.error("algorithms", unknown_algorithm(name)),
        }
    }
    let first = algorithms.first().map(|first: &Algorithm| first.family());
    let is_mixed = algorithms.iter().any(|other| Some(other.family()) != first);
    section.require("algorithms", !is_mixed, MIXED);
    algorithms
}

fn unknown_algorithm(name: &str) -> String {
    let known =
        "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
    match name {
        _ if name.eq_ignore_ascii_case("none") => {
            "none would accept a token of anybody; name what the issuer signs with".to_owned()
        }
        _ => format!("{name:?} is none of {known}"),
    }
}

fn leeway(section: &mut Section) -> Duration {
    let leeway = section.duration("leeway", DEFAULT_LEEWAY);
    let most_s = limits::MAX_CLOCK_LEEWAY.as_secs();
    let rule = format!("has to be at most {most_s}s; set the clocks instead");
    section.require("leeway", leeway <= limits::MAX_CLOCK_LEEWAY, rule);
    leeway
}

const ONE_SOURCE: &str = "has to have one of secret_file, public_key_file and jwks_url";

fn keys_of(section: &mut Section, algorithms: &[Algorithm]) -> Option<JwtKeys> {
    let secret = section.file_path("secret_file");
    let public = section.file_path("public_key_file");
    let url = optional_text(section, "jwks_url");
    match (secret, public, url) {
        (Some(file), None, None) => secret_key(section, &file, algorithms),
        (None, Some(file), None) => public_keys(section, &file, algorithms),
        (None, None, Some(url)) => key_set_url(section, &url, algorithms),
        _ => {
            section.report_here(ONE_SOURCE);
            None
        }
    }
}

const NOT_FOR_SECRETS: &str = "a secret is for HS256, HS384 and HS512 alone; \
    public keys are named by public_key_file or jwks_url";
const FOR_SECRETS: &str = "HS256, HS384 and HS512 have a secret, which secret_file names";

fn has_secrets(algorithms: &[Algorithm]) -> bool {
    let is_secret = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    algorithms.iter().any(is_secret)
}

fn secret_key(section: &Section, file: &Path, algorithms: &[Algorithm]) -> Option<JwtKeys> {
    let is_for_secrets = algorithms.is_empty() || has_secrets(algorithms);
    if !is_for_secrets {
        section.error("secret_file", NOT_FOR_SECRETS);
        return None;
    }
    let key = keys::read_secret(file);
    let key = key
        .map_err(|error| section.error("secret_file", error))
        .ok()?;
    Some(JwtKeys::Fixed([key].into()))
}

fn public_keys(section: &Section, file: &Path, algorithms: &[Algorithm]) -> Option<JwtKeys> {
    if has_secrets(algorithms) {
        section.error("public_key_file", FOR_SECRETS);
        return None;
    }
    let read = keys::read_public_keys(file, algorithms);
    let read = read.map_err(|error| section.error("public_key_file", error));
    Some(JwtKeys::Fixed(read.ok()?.into()))
}

const NOT_A_KEY_SET: &str = "has to be https://…, or http://… on a loopback host; \
    whoever can change what is fetched can make tokens";

fn key_set_url(section: &Section, text: &str, algorithms: &[Algorithm]) -> Option<JwtKeys> {
    if has_secrets(algorithms) {
        section.error("jwks_url", FOR_SECRETS);
        return None;
    }
    let url = Url::parse(text).ok().filter(is_trustworthy);
    // The address is not shown, as it may have a password in it.
    section.require("jwks_url", url.is_some(), NOT_A_KEY_SET);
    url.map(JwtKeys::Url)
}

/// Is nobody between here and there who could change what is fetched?
pub(crate) fn is_trustworthy(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost",
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}
