//! `[auth]`: who may read and publish (contract §8).
//!
//! Invariants:
//! - a list that is missing or empty gives nothing;
//! - what is secret is not part of what `Debug` shows, nor of an error.

mod jwt;
mod keys;
mod revoked;

use std::collections::HashSet;
use std::fmt;

use super::requests::OWN_PARAMETERS;
use super::section::Section;
use crate::caller::{Permission, Rights};
use crate::limits;

pub use jwt::JwtConfig;
pub(crate) use jwt::{JwtKeys, is_trustworthy};
pub(crate) use keys::{VerificationKey, rsa_key};
pub use revoked::RevokedFile;

/// Who may do what, and how one proves who one is.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// What somebody may do who has shown no credentials.
    pub anonymous: Rights,
    /// The query parameter in which tokens and keys are taken, too.
    pub query_parameter: Option<String>,
    /// The cookie in which tokens and keys are taken, too.
    pub cookie: Option<String>,
    /// The file that lists who is revoked.
    pub revoked: Option<RevokedFile>,
    /// Whose tokens are accepted.
    pub jwt: Vec<JwtConfig>,
    /// Static keys.
    pub api_keys: Vec<ApiKeyConfig>,
    /// Client certificates.
    pub certificates: Vec<CertificateConfig>,
}

/// The SHA-256 of something.
pub(crate) type Digest = [u8; 32];

/// A static key.
#[derive(Clone)]
pub struct ApiKeyConfig {
    /// What it is known by in logs, and revoked by.
    pub name: String,
    /// The SHA-256 of the key.
    pub(crate) sha256: Digest,
    /// What it may do.
    pub rights: Rights,
}

impl fmt::Debug for ApiKeyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the digest, by which a short key could be guessed.
        let mut shown = f.debug_struct("ApiKeyConfig");
        shown
            .field("name", &self.name)
            .field("rights", &self.rights);
        shown.finish_non_exhaustive()
    }
}

/// A client certificate.
#[derive(Debug, Clone)]
pub struct CertificateConfig {
    /// A subject alternative name of it.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
}

/// Reads the section, where there is one.
pub(super) fn auth(root: &mut Section) -> Option<AuthConfig> {
    if !root.has("auth") {
        return None;
    }
    let section = root.section("auth");
    Some(AuthConfig {
        anonymous: rights(section.section("anonymous")),
        query_parameter: query_parameter(section),
        cookie: cookie(section),
        revoked: revoked::revoked(section),
        jwt: jwt::entries(section),
        api_keys: api_keys(section),
        certificates: certificates(section),
    })
}

/// `publish` and `subscribe`, two lists of filters.
fn rights(section: &mut Section) -> Rights {
    Rights {
        publish: permission(section, "publish"),
        subscribe: permission(section, "subscribe"),
    }
}

fn permission(section: &mut Section, key: &str) -> Permission {
    let filters = section.list(key, Vec::new());
    let permission = Permission::of_list(filters.iter().map(String::as_str));
    permission.unwrap_or_else(|error| {
        section.error(key, error);
        Permission::Nothing
    })
}

const NOT_A_PARAMETER: &str = "has to be the name of a query parameter such as access_token, of \
    letters, digits, - and _, and none that the gateway has itself";

fn query_parameter(section: &mut Section) -> Option<String> {
    let name = optional_text(section, "query_parameter")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    // It is found in the address as it is written, so it has to be written in one way.
    let is_fit = name.bytes().all(is_name) && name != "_" && !OWN_PARAMETERS.contains(&&*name);
    section.require("query_parameter", is_fit, NOT_A_PARAMETER);
    Some(name)
}

const NOT_A_COOKIE: &str = "has to be the name of a cookie: ASCII without spaces, and none of \
    ()<>@,;:\\\"/[]?={}";

fn cookie(section: &mut Section) -> Option<String> {
    let name = optional_text(section, "cookie")?;
    // A token of RFC 6265 §4.1.1.
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    section.require("cookie", name.bytes().all(is_token), NOT_A_COOKIE);
    Some(name)
}

/// A text that may be missing, but not empty.
fn optional_text(section: &mut Section, key: &str) -> Option<String> {
    if !section.has(key) {
        return None;
    }
    let text = section.text(key);
    section.require(
        key,
        !text.is_empty(),
        "is empty; leave it out, or write a name",
    );
    Some(text)
}

fn api_keys(auth: &mut Section) -> Vec<ApiKeyConfig> {
    let sections = bounded(auth, "api_key", limits::MAX_CONFIGURED_IDENTITIES);
    let keys: Vec<_> = sections.into_iter().map(api_key).collect();

    // The same key with two names would be the first one's or the second one's.
    let mut seen = HashSet::new();
    for key in keys.iter().flatten() {
        if !seen.insert(key.sha256) {
            let name = &key.name;
            auth.report(format!(
                "auth.api_key: the key of {name:?} is there already"
            ));
        }
    }
    keys.into_iter().flatten().collect()
}

fn api_key(mut section: Section) -> Option<ApiKeyConfig> {
    let name = identity_name(&mut section);
    let sha256 = digest(&mut section);
    let rights = rights(&mut section);
    section.finish();
    sha256.map(|sha256| ApiKeyConfig {
        name,
        sha256,
        rights,
    })
}

const NOT_A_DIGEST: &str = "has to be the SHA-256 of the key, 64 digits of hex: \
    printf %s \"$KEY\" | sha256sum";

fn digest(section: &mut Section) -> Option<Digest> {
    let text = section.text("sha256");
    let digest = parse_hex(&text);
    // Not shown: it may be the key itself that somebody has written there.
    section.require("sha256", digest.is_some(), NOT_A_DIGEST);
    digest
}

fn parse_hex(text: &str) -> Option<Digest> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut digest = Digest::default();
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    is_hex.then_some(digest)
}

fn certificates(auth: &mut Section) -> Vec<CertificateConfig> {
    let sections = bounded(auth, "certificate", limits::MAX_CONFIGURED_IDENTITIES);
    let read = |mut section: Section| {
        let config = CertificateConfig {
            name: identity_name(&mut section),
            rights: rights(&mut section),
        };
        section.finish();
        config
    };
    sections.into_iter().map(read).collect()
}

fn identity_name(section: &mut Section) -> String {
    let name = section.text("name");
    section.require("name", !name.is_empty(), "is missing");
    section.require_name("name", &name, limits::MAX_CREDENTIAL_ID_BYTES);
    name
}

/// The tables of `[[auth.KEY]]`, of which there may be only so many.
fn bounded(auth: &mut Section, key: &str, most: usize) -> Vec<Section> {
    let sections = auth.array(key);
    let rule = format!("has {} entries; at most {most} are allowed", sections.len());
    auth.require(key, sections.len() <= most, rule);
    sections
}

#[cfg(test)]
mod tests;
