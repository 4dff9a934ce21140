//! Fetching a key set, and which of its keys can be used (RFC 7517, RFC 7518 §6).
//!
//! Invariants:
//! - a redirect leads to no address that the configuration would not take;
//! - a key that is not for signatures, or whose parts do not fit together, is left out, and never a
//!   reason to refuse the others; a shared secret is never taken.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::config::{VerificationKey, is_trustworthy, rsa_key};
use crate::limits;

/// A key set.
pub(super) struct Fetched {
    pub(super) keys: Vec<VerificationKey>,
    pub(super) fingerprint: [u8; 32],
    pub(super) good_for: Duration,
}

/// Fetches from this address, and what it redirects to.
pub(super) fn client(url: &Url) -> Client {
    let client = Client::builder()
        .user_agent(concat!("vidette/", env!("CARGO_PKG_VERSION")))
        .timeout(limits::KEY_SET_TIMEOUT)
        .redirect(Policy::custom(follow))
        .referer(false);
    // Plain HTTP does not leave this machine.
    let client = match url.scheme() {
        "https" => client,
        _ => client.no_proxy(),
    };
    client.build().expect("settings that go together")
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_allowed =
        is_trustworthy(attempt.url()) && attempt.previous().len() <= limits::KEY_SET_REDIRECTS;
    if is_allowed {
        attempt.follow()
    } else {
        attempt.error("a redirect to an address that is not taken")
    }
}

/// Fetches a key set once.
///
/// # Errors
/// What went wrong, without the address.
pub(super) async fn fetch(client: &Client, url: &Url) -> Result<Fetched, String> {
    let request = client.get(url.clone()).header(ACCEPT, "application/json");
    let mut answer = request.send().await.map_err(described)?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status()));
    }
    let good_for = good_for(answer.headers());

    // Read piece by piece: what is announced need not be what comes.
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(described)? {
        body.extend_from_slice(&piece);
        if body.len() > limits::MAX_KEY_SET_BYTES {
            return Err(format!("more than {} bytes", limits::MAX_KEY_SET_BYTES));
        }
    }
    let keys = keys_of(&body)?;
    Ok(Fetched {
        keys,
        fingerprint: Sha256::digest(&body).into(),
        good_for,
    })
}

/// The whole chain, as the outermost error says little; without the address, which may hold a
/// password.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn good_for(headers: &HeaderMap) -> Duration {
    let directives = headers
        .get(CACHE_CONTROL)
        .and_then(|text| text.to_str().ok());
    let mut directives = directives.unwrap_or_default().split(',').map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "max-age" => value.trim_matches('"').parse().ok(),
            "no-store" | "no-cache" => Some(0),
            _ => None,
        }
    });
    let age = seconds.map_or(limits::KEY_SET_AGE, Duration::from_secs);
    age.clamp(limits::KEY_SET_AGE_MIN, limits::KEY_SET_AGE_MAX)
}

/// The keys that can be used.
fn keys_of(body: &[u8]) -> Result<Vec<VerificationKey>, String> {
    let set: Value = serde_json::from_slice(body).map_err(|_| "not JSON".to_owned())?;
    let Some(Value::Array(keys)) = set.get("keys") else {
        return Err("not a key set, which has a list of keys".to_owned());
    };
    let usable = keys.iter().filter_map(Value::as_object).filter_map(key_of);
    let usable: Vec<_> = usable.take(limits::MAX_VERIFICATION_KEYS).collect();
    if usable.is_empty() {
        return Err("a key set without a key that can be used".to_owned());
    }
    if usable.len() < keys.len() {
        let (used, there) = (usable.len(), keys.len());
        tracing::debug!(
            used,
            there,
            "some keys of an identity provider are not used"
        );
    }
    Ok(usable)
}

fn key_of(key: &Map<String, Value>) -> Option<VerificationKey> {
    let text = |name| key.get(name).and_then(Value::as_str);
    let is_for_signatures = text("use").is_none_or(|usage| usage == "sig");
    if !(is_for_signatures && may_verify(key.get("key_ops"))) {
        return None;
    }
    let id = match key.get("kid") {
        None => None,
        Some(id) => Some(
            id.as_str()
                .filter(|id| id.len() <= limits::MAX_KEY_ID_BYTES)?,
        ),
    };

    let id = id.map(Into::into);
    let part = |name| decoded(text(name)?);
    let key = match (text("kty")?, text("crv")) {
        ("RSA", _) => rsa_key(id, &part("n")?, &part("e")?).ok()?,
        ("EC", Some("P-256")) => ec_key(id, Algorithm::ES256, &part("x")?, &part("y")?, 32)?,
        ("EC", Some("P-384")) => ec_key(id, Algorithm::ES384, &part("x")?, &part("y")?, 48)?,
        ("OKP", Some("Ed25519")) => ed_key(id, &part("x")?)?,
        _ => return None,
    };
    // A key that says for which algorithm it is, is for no other one.
    match text("alg") {
        None => Some(key),
        Some(alg) => key.narrowed(alg.parse().ok()?),
    }
}

fn may_verify(operations: Option<&Value>) -> bool {
    match operations {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|one| one == "verify"),
        Some(_) => false,
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

fn ec_key(
    id: Option<Box<str>>,
    algorithm: Algorithm,
    x: &[u8],
    y: &[u8],
    bytes: usize,
) -> Option<VerificationKey> {
    if x.len() != bytes || y.len() != bytes {
        return None;
    }
    // As a point that is not compressed (SEC 1, §2.3.3).
    let point = [&[4], x, y].concat();
    let key = DecodingKey::from_ec_der(&point);
    Some(VerificationKey::new(id, &[algorithm], key))
}

fn ed_key(id: Option<Box<str>>, x: &[u8]) -> Option<VerificationKey> {
    const BYTES: usize = 32;
    let key = (x.len() == BYTES).then(|| DecodingKey::from_ed_der(x))?;
    let algorithms = AlgorithmFamily::Ed.algorithms();
    Some(VerificationKey::new(id, algorithms, key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(set: &Value) -> Result<Vec<String>, String> {
        let keys = keys_of(set.to_string().as_bytes())?;
        let id = |key: VerificationKey| key.id.unwrap_or_default().into();
        Ok(keys.into_iter().map(id).collect())
    }

    #[test]
    fn keys_that_cannot_be_used_are_left_out() {
        let ed = |id: &str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "A".repeat(43)});
        let with = |id: &str, name: &str, value: Value| {
            let mut key = ed(id);
            key[name] = value;
            key
        };
        let set = json!({"keys": [
            ed("plain"),
            with("for signatures", "use", json!("sig")),
            with("for encryption", "use", json!("enc")),
            with("signs only", "key_ops", json!(["sign"])),
            with("verifies", "key_ops", json!(["verify"])),
            with("of another algorithm", "alg", json!("RS256")),
            with("of its own", "alg", json!("EdDSA")),
            with("too short", "x", json!("AAAA")),
            with("of an unknown curve", "crv", json!("Ed448")),
            {"kty": "oct", "kid": "a secret", "k": "A".repeat(43)},
            {"kty": "RSA", "kid": "small", "n": "A".repeat(100), "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "kid": "cut", "x": "AAAA", "y": "AAAA"},
            "no key at all",
            ed(&"x".repeat(257)),
        ]});
        let used = ids(&set).expect("keys");
        assert_eq!(used, ["plain", "for signatures", "verifies", "of its own"]);

        let many: Vec<_> = (0..100).map(|number| ed(&number.to_string())).collect();
        assert_eq!(ids(&json!({"keys": many})).expect("keys").len(), 64);
        for wrong in [
            json!({}),
            json!({"keys": []}),
            json!([]),
            json!({"keys": {}}),
        ] {
            assert!(ids(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_good_for_as_long_as_their_provider_says_within_bounds() {
        let seconds = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, text.parse().expect("a header"));
            good_for(&headers).as_secs()
        };
        for (text, expected) in [
            ("public, max-age=3600", 3600),
            ("Max-Age=3600, must-revalidate", 3600),
            ("max-age=1", 60),
            ("no-store", 60),
            ("max-age=99999999", 86_400),
            ("private", 600),
            ("max-age=x", 600),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert_eq!(good_for(&HeaderMap::new()).as_secs(), 600);
    }
}
