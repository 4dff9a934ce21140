//! Tokens as an identity provider would sign them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};

/// A key that signs tokens.
pub struct Signer {
    header: Header,
    key: EncodingKey,
    /// Its public half in PEM; empty for a secret.
    pub public_pem: String,
}

impl Signer {
    /// By a secret that both sides know (HS256).
    pub fn of_secret(secret: &str) -> Self {
        Self::of_secret_with(Algorithm::HS256, secret)
    }

    /// By a secret, with another algorithm of that family.
    pub fn of_secret_with(algorithm: Algorithm, secret: &str) -> Self {
        Signer {
            header: Header::new(algorithm),
            key: EncodingKey::from_secret(secret.as_bytes()).expect("a secret"),
            public_pem: String::new(),
        }
    }

    /// By a new pair of keys of the algorithm's family.
    pub fn new(algorithm: Algorithm) -> Self {
        let (pair, key) = match algorithm {
            Algorithm::ES256 => ec(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)),
            Algorithm::ES384 => ec(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)),
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
                let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes());
                (pair, key.expect("a key"))
            }
            _ => {
                let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
                let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes());
                (pair, key.expect("a key"))
            }
        };
        Signer {
            header: Header::new(algorithm),
            key,
            public_pem: pair.public_key_pem(),
        }
    }

    /// Its tokens name this key (`kid`).
    #[must_use]
    pub fn with_key_id(mut self, id: &str) -> Self {
        self.header.kid = Some(id.to_owned());
        self
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        encode(&self.header, claims, &self.key).expect("a token")
    }
}

fn ec(pair: Result<KeyPair, rcgen::Error>) -> (KeyPair, EncodingKey) {
    let pair = pair.expect("a key");
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes());
    (pair, key.expect("a key"))
}

/// Claims that give these rights for an hour.
pub fn rights(publish: &[&str], subscribe: &[&str]) -> Value {
    json!({
        "sub": "tests",
        "exp": in_seconds(3600),
        "vidette": { "publish": publish, "subscribe": subscribe },
    })
}

/// The time of a claim (`exp`, `nbf`), so many seconds from now.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs();
    i64::try_from(now).expect("a time") + seconds
}
