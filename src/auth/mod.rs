//! Who a credential is of (contract §8).
//!
//! Invariants:
//! - whoever is known by a credential gets the rights of that credential, and no others;
//! - a credential is looked at anew for each request: what has expired or was revoked meanwhile is
//!   refused, whatever is remembered of it;
//! - nothing that was shown is part of an error or of what `Debug` shows.

mod background;
mod claims;
mod key_set;
mod key_set_fetch;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::caller::{Allowance, Caller, Credential, Identity, Revocations, Rights};
use crate::config::{ApiKeyConfig, AuthConfig, CertificateConfig, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
pub(crate) use background::{AuthBackground, Revoked};
use claims::Claims;
use token::TokenVerifier;

/// Knows callers by what they show, by one configuration.
pub(crate) struct Authenticator {
    /// The query parameter that a credential may be in.
    pub(crate) query_parameter: Option<String>,
    /// The cookie that a credential may be in.
    pub(crate) cookie: Option<String>,
    anonymous: Arc<Caller>,
    api_keys: HashMap<Digest, Arc<Caller>>,
    /// By their names in lower case, in the order of the configuration.
    certificates: Vec<(Box<str>, Arc<Caller>)>,
    tokens: TokenVerifier,
    /// Tokens that were verified, by their digests.
    verified: Cache<Digest, Verified, ByLength>,
    revocations: Revocations,
    background: AuthBackground,
}

#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    token_bytes: u64,
    /// By which keys.
    generation: u64,
}

/// What is remembered of a token grows with its length.
#[derive(Clone)]
struct ByLength;

impl Weighter<Digest, Verified> for ByLength {
    fn weight(&self, _: &Digest, verified: &Verified) -> u64 {
        const AT_LEAST: u64 = 256;
        AT_LEAST + verified.token_bytes
    }
}

impl Authenticator {
    /// By this configuration. What goes on in the background is shared with those of before.
    pub(crate) fn new(config: &AuthConfig, background: &AuthBackground) -> Self {
        let revocations = background.follow(config.revoked.as_ref());
        let entries = limits::TOKEN_CACHE_BYTES / limits::MAX_CREDENTIAL_BYTES as u64;
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        Authenticator {
            query_parameter: config.query_parameter.clone(),
            cookie: config.cookie.clone(),
            anonymous: Arc::new(anonymous(config)),
            api_keys: api_keys(&config.api_keys, &revocations),
            certificates: certificates(&config.certificates, &revocations),
            tokens: TokenVerifier::new(&config.jwt, background),
            verified: Cache::with_weighter(entries, limits::TOKEN_CACHE_BYTES, ByLength),
            revocations,
            background: background.clone(),
        }
    }

    /// Revokes whoever is known by this name: the subject or the id of a token, or the name of an
    /// API key or a certificate.
    pub(crate) async fn revoke(&self, name: &str) -> Revoked {
        self.background.revoke(name).await
    }

    /// Somebody who has shown nothing.
    pub(crate) fn anonymous(&self) -> &Arc<Caller> {
        &self.anonymous
    }

    /// Whose token or API key this is.
    ///
    /// # Errors
    /// Unauthenticated, when it is nobody's or is not good now.
    pub(crate) async fn known_by(&self, shown: &str) -> Result<Arc<Caller>> {
        if shown.len() > limits::MAX_CREDENTIAL_BYTES {
            return Err(too_long());
        }

        // By its digest: how long the look-up takes tells nothing of the keys.
        let digest: Digest = Sha256::digest(shown).into();
        let caller = match self.remembered(&digest) {
            Some(caller) => caller,
            None => self.verify(shown, digest).await?,
        };
        check(&caller)?;
        Ok(caller)
    }

    fn remembered(&self, digest: &Digest) -> Option<Arc<Caller>> {
        if let Some(caller) = self.api_keys.get(digest) {
            return Some(caller.clone());
        }
        // By keys that are still those of its issuer.
        let verified = self.verified.get(digest)?;
        (verified.generation == self.tokens.generation()).then_some(verified.caller)
    }

    async fn verify(&self, shown: &str, digest: Digest) -> Result<Arc<Caller>> {
        // Before the keys are looked at: a later generation may lack the one that fits.
        let generation = self.tokens.generation();
        let claims = self.tokens.verify(shown).await?;
        let caller = Arc::new(self.caller_of(claims));
        let verified = Verified {
            caller: caller.clone(),
            token_bytes: shown.len() as u64,
            generation,
        };
        self.verified.insert(digest, verified);
        Ok(caller)
    }

    fn caller_of(&self, claims: Claims) -> Caller {
        let Claims {
            id,
            subject,
            expires_ms,
            rights,
        } = claims;
        let identity = Identity::Token(subject.as_deref().map(Arc::from));
        let ids = id.into_iter().chain(subject).collect();
        let credential = Credential {
            expires_ms,
            ids,
            revocations: self.revocations.clone(),
        };
        known(identity, rights, credential)
    }

    /// Whose certificate has one of these names; none where it is nobody's.
    ///
    /// # Errors
    /// Unauthenticated, when it was revoked.
    pub(crate) fn known_by_certificate(&self, names: &[Box<str>]) -> Result<Option<Arc<Caller>>> {
        let is_shown = |own: &str| names.iter().any(|name| name.eq_ignore_ascii_case(own));
        let found = self.certificates.iter().find(|(own, _)| is_shown(own));
        let Some((_, caller)) = found else {
            return Ok(None);
        };
        check(caller)?;
        Ok(Some(caller.clone()))
    }
}

fn too_long() -> Error {
    let most = limits::MAX_CREDENTIAL_BYTES;
    let detail = format!("the token or key has more than {most} bytes; ask for a shorter one");
    Error::new(ErrorKind::Unauthenticated, detail)
}

fn check(caller: &Caller) -> Result<()> {
    caller.credential.as_ref().map_or(Ok(()), |one| one.check())
}

fn anonymous(config: &AuthConfig) -> Caller {
    let Rights { publish, subscribe } = config.anonymous.clone();
    let can_be_known =
        !(config.jwt.is_empty() && config.api_keys.is_empty() && config.certificates.is_empty());
    Caller {
        credentials_would_help: can_be_known,
        ..Caller::unnamed(subscribe, publish)
    }
}

fn api_keys(keys: &[ApiKeyConfig], revocations: &Revocations) -> HashMap<Digest, Arc<Caller>> {
    let caller = |key: &ApiKeyConfig| {
        let identity = Identity::ApiKey(key.name.as_str().into());
        named(identity, &key.name, &key.rights, revocations)
    };
    keys.iter().map(|key| (key.sha256, caller(key))).collect()
}

fn certificates(
    certificates: &[CertificateConfig],
    revocations: &Revocations,
) -> Vec<(Box<str>, Arc<Caller>)> {
    let known = certificates.iter().map(|certificate| {
        let name = certificate.name.as_str();
        let identity = Identity::Certificate(name.into());
        let caller = named(identity, name, &certificate.rights, revocations);
        (name.into(), caller)
    });
    known.collect()
}

/// Somebody whose credential is good until its name is revoked.
fn named(
    identity: Identity,
    name: &str,
    rights: &Rights,
    revocations: &Revocations,
) -> Arc<Caller> {
    let credential = Credential {
        expires_ms: None,
        ids: vec![name.into()],
        revocations: revocations.clone(),
    };
    Arc::new(known(identity, rights.clone(), credential))
}

fn known(identity: Identity, rights: Rights, credential: Credential) -> Caller {
    Caller {
        identity,
        may_read: rights.subscribe,
        may_publish: rights.publish,
        allowance: Allowance::UNLIMITED,
        credential: Some(Arc::new(credential)),
        credentials_would_help: false,
        is_read_only: false,
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing by which a key or a token could be guessed.
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
