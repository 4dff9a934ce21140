//! JSON Web Tokens: whose signature, and whether it is meant for here and now (RFC 7519, RFC 8725).
//!
//! Invariants:
//! - the configuration decides which algorithm a key is used with; what a token says of itself only
//!   chooses among those;
//! - of a token's header nothing is used but `alg` and `kid`: no key is taken from it, and no
//!   address in it is asked for one.

use std::sync::Arc;

use futures_util::future::join_all;
use jsonwebtoken::errors::ErrorKind as JwtError;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::AuthBackground;
use super::claims::Claims;
use super::key_set::{Awaited, KeySet};
use crate::config::{JwtConfig, JwtKeys, VerificationKey};
use crate::error::{Error, ErrorKind, Result};

/// Verifies tokens by the entries of a configuration.
pub(super) struct TokenVerifier(Vec<Entry>);

/// One `[[auth.jwt]]`.
struct Entry {
    validation: Validation,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<[VerificationKey]>),
    Fetched(Arc<KeySet>),
}

/// What a token says, which nobody has made up.
type VerifiedClaims = Map<String, Value>;

impl TokenVerifier {
    pub(super) fn new(entries: &[JwtConfig], background: &AuthBackground) -> Self {
        let entries = entries.iter().map(|entry| Entry::new(entry, background));
        TokenVerifier(entries.collect())
    }

    /// Rises when the keys change.
    pub(super) fn generation(&self) -> u64 {
        let generation = |entry: &Entry| match &entry.keys {
            Keys::Fixed(_) => 0,
            Keys::Fetched(set) => set.known().generation,
        };
        self.0.iter().map(generation).sum()
    }

    /// What a token says, if one entry accepts it.
    ///
    /// # Errors
    /// Unauthenticated, with the reason of the entry that came closest to accepting it; keys
    /// unavailable, where its key could not be fetched.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims> {
        let header = decode_header(token).map_err(|_| bad(NOT_A_TOKEN))?;
        let verified = match self.verify_now(token, &header) {
            // Keys may have changed since they were fetched.
            Err(refused) if self.fetch_key(&header, refused).await? => {
                self.verify_now(token, &header)
            }
            verified => verified,
        };
        let claims = verified.map_err(|refused| bad(refused.text()))?;
        Claims::of(&claims)
    }

    fn verify_now(
        &self,
        token: &str,
        header: &Header,
    ) -> std::result::Result<VerifiedClaims, Refusal> {
        let mut refused = Refusal::NoKey;
        for entry in self.0.iter().filter(|entry| entry.takes(header.alg)) {
            match entry.verify(token, header) {
                Ok(claims) => return Ok(claims),
                Err(reason) => refused = refused.max(reason),
            }
        }
        Err(refused)
    }

    /// Waits for keys that may be the token's; gives whether there was anything to wait for.
    async fn fetch_key(&self, header: &Header, refused: Refusal) -> Result<bool> {
        let mut awaited = Vec::new();
        for entry in &self.0 {
            if let Some(set) = entry.may_get_key_for(header, refused) {
                // Asked for together: a provider that is down holds up nobody of another one.
                awaited.push(set.wait_for(|keys| names_key(keys, header)));
            }
        }
        if awaited.is_empty() {
            return Ok(false);
        }
        let awaited = join_all(awaited).await;
        if awaited.contains(&Awaited::Failed) {
            let is_there = |entry: &Entry| match &entry.keys {
                Keys::Fixed(_) => false,
                Keys::Fetched(set) => names_key(&set.known().keys, header),
            };
            if !self.0.iter().any(is_there) {
                return Err(Error::new(ErrorKind::KeysUnavailable, NO_KEYS));
            }
        }
        Ok(true)
    }
}

const NO_KEYS: &str = "the key of the token is not known here, and the keys of its issuer cannot \
    be fetched now; try again shortly";

/// Is there a key by the name that the token gives? One without a name may be any.
fn names_key(keys: &[VerificationKey], header: &Header) -> bool {
    let named = header.kid.as_deref();
    named.is_some() && keys.iter().any(|key| key.id.as_deref() == named)
}

impl Entry {
    fn new(config: &JwtConfig, background: &AuthBackground) -> Self {
        let keys = match &config.keys {
            JwtKeys::Fixed(keys) => Keys::Fixed(keys.clone()),
            JwtKeys::Url(url) => Keys::Fetched(background.key_set(url)),
        };
        Entry {
            validation: validation(config),
            keys,
        }
    }

    fn takes(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }

    /// The keys that may have one for this token once they are fetched again.
    fn may_get_key_for(&self, header: &Header, refused: Refusal) -> Option<&KeySet> {
        let Keys::Fetched(set) = &self.keys else {
            return None;
        };
        // With a key that is there it was verified: another one of that name would be no better.
        let is_missing = refused <= Refusal::Signature && !names_key(&set.known().keys, header);
        (self.takes(header.alg) && is_missing).then_some(set)
    }

    fn verify(&self, token: &str, header: &Header) -> std::result::Result<VerifiedClaims, Refusal> {
        match &self.keys {
            Keys::Fixed(keys) => self.verify_by(keys, token, header),
            Keys::Fetched(set) => self.verify_by(&set.known().keys, token, header),
        }
    }

    fn verify_by(
        &self,
        keys: &[VerificationKey],
        token: &str,
        header: &Header,
    ) -> std::result::Result<VerifiedClaims, Refusal> {
        let mut refused = Refusal::NoKey;
        for key in keys.iter().filter(|key| fits(key, header)) {
            match decode::<VerifiedClaims>(token, &key.key, &self.validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refused = refused.max(Refusal::of(error.kind())),
            }
        }
        Err(refused)
    }
}

/// May this key have signed it? A name is compared where both have one.
fn fits(key: &VerificationKey, header: &Header) -> bool {
    let names = key.id.as_deref().zip(header.kid.as_deref());
    key.fits(header.alg) && names.is_none_or(|(key, token)| key == token)
}

/// What a token has to say, whoever has signed it.
fn validation(config: &JwtConfig) -> Validation {
    let first = config.algorithms.first().copied().unwrap_or_default();
    let mut validation = Validation::new(first);
    validation.algorithms.clone_from(&config.algorithms);
    validation.leeway = config.leeway.as_secs();
    validation.validate_nbf = true;

    // What is configured has to be there; a time is looked at where there is one.
    validation.required_spec_claims.clear();
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    validation.validate_aud = !config.audience.is_empty();
    if validation.validate_aud {
        validation.set_audience(&config.audience);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    validation
}

/// Why a token is not accepted; the later ones came closer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    NoKey,
    NotAToken,
    Signature,
    Issuer,
    Audience,
    Early,
    Expired,
    Claims,
}

const NOT_A_TOKEN: &str =
    "what was shown is neither an API key of this gateway nor a JSON Web Token that it can read";

impl Refusal {
    fn of(error: &JwtError) -> Self {
        match error {
            JwtError::InvalidSignature => Refusal::Signature,
            JwtError::ExpiredSignature => Refusal::Expired,
            JwtError::ImmatureSignature => Refusal::Early,
            JwtError::InvalidIssuer => Refusal::Issuer,
            JwtError::InvalidAudience => Refusal::Audience,
            // The header has been read before, so it is the claims that cannot be.
            JwtError::Json(_) => Refusal::Claims,
            JwtError::MissingRequiredClaim(claim) | JwtError::InvalidClaimFormat(claim) => {
                match claim.as_str() {
                    "iss" => Refusal::Issuer,
                    "aud" => Refusal::Audience,
                    _ => Refusal::Claims,
                }
            }
            _ => Refusal::NotAToken,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::NoKey => "the token is signed with an algorithm or a key that is not accepted",
            Refusal::NotAToken => NOT_A_TOKEN,
            Refusal::Signature => "the token's signature is not of a key that is accepted",
            Refusal::Issuer => "the token is not of an issuer (iss) that is accepted",
            Refusal::Audience => "the token is not meant for this gateway (aud)",
            Refusal::Early => "the token is not good yet (nbf); is the clock of its issuer right?",
            Refusal::Expired => "the token has expired; ask for a new one",
            Refusal::Claims => {
                "the token's claims have to be numbers (exp, nbf) and texts (sub, iss)"
            }
        }
    }
}

fn bad(detail: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, detail)
}
