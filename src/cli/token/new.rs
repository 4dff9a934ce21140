//! `vidette token new`: signs a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde::Serialize;

use super::files::{print, random_text, read_key};
use super::rights::RightsArgs;
use crate::cli::{CommandResult, Failure};
use crate::limits;

/// Sign a token (JWT) that gives rights, and print it on standard output.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette token new --secret-file jwt.key --subscribe 'door.>' > reader.token
  vidette token new --secret-file jwt.key --subject alice --publish 'door.3' --expires-in 15m
  vidette token new --private-key-file jwt-private.pem --key-id 2026-11 --subscribe '>'

A token that is renewed while programs read it is best put in place whole:
  vidette token new --secret-file jwt.key --subscribe '>' > new && mv new reader.token")]
pub(super) struct NewArgs {
    /// File of the secret to sign with, which the gateway knows as `secret_file`
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "private_key_file"
    )]
    #[arg(conflicts_with = "private_key_file")]
    secret_file: Option<PathBuf>,
    /// File of the private key (PEM, PKCS#8) to sign with, of which the gateway has the public one
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// How to sign [default: HS256 with a secret, else what the key is for]
    #[arg(long, value_name = "HS256|ES256|EdDSA|…")]
    algorithm: Option<Algorithm>,
    #[command(flatten)]
    rights: RightsArgs,
    /// Who the token is for (sub), by which it can be revoked
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// How long it is good
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    expires_in: Duration,
    /// Its own name (jti), by which it alone can be revoked; auto is a random one
    #[arg(long, value_name = "ID", default_value = "auto")]
    id: String,
    /// Who has issued it (iss), where the gateway asks for that
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Which gateway it is meant for (aud), where the gateway asks for that
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Which key it is signed with (kid), where a key set has several
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = (Duration::from_secs(1), limits::TOKEN_LIFETIME_MAX);
    if !(least..=most).contains(&lifetime) {
        return Err("from 1s to 10years is possible; for longer there are API keys".to_owned());
    }
    Ok(lifetime)
}

/// What the token says (contract §8).
#[derive(Serialize)]
struct NewClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: i64,
    exp: i64,
    jti: String,
    vidette: NewRights<'a>,
}

#[derive(Serialize)]
struct NewRights<'a> {
    publish: &'a [String],
    subscribe: &'a [String],
}

/// Random bytes of an id.
const ID_BYTES: usize = 12;

pub(super) fn run(args: &NewArgs) -> CommandResult {
    args.rights.check()?;
    let claims = args.claims(Timestamp::now().as_second())?;
    let token = args.sign(&claims)?;

    // The gateway would refuse it for its length.
    let most = limits::MAX_CREDENTIAL_BYTES;
    if token.len() > most {
        let text = format!("the token would have more than {most} bytes; use wildcards");
        return Err(Failure::usage(text));
    }
    print(&token)
}

impl NewArgs {
    fn claims(&self, now_s: i64) -> Result<NewClaims<'_>, Failure> {
        let lifetime_s = i64::try_from(self.expires_in.as_secs());
        let lifetime_s = lifetime_s.expect("it has been checked against its bound");
        for (flag, name) in [
            ("--subject", self.subject.as_deref()),
            ("--id", Some(&self.id)),
        ] {
            check_length(flag, name.unwrap_or_default())?;
        }

        Ok(NewClaims {
            sub: self.subject.as_deref(),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
            iat: now_s,
            exp: now_s + lifetime_s,
            jti: match self.id.as_str() {
                "auto" => random_text(ID_BYTES)?,
                id => id.to_owned(),
            },
            vidette: NewRights {
                publish: &self.rights.publish,
                subscribe: &self.rights.subscribe,
            },
        })
    }

    fn sign(&self, claims: &NewClaims<'_>) -> Result<String, Failure> {
        let key = match (&self.secret_file, &self.private_key_file) {
            (Some(file), _) => secret(file)?,
            (None, Some(file)) => private_key(file)?,
            // clap asks for one of them.
            (None, None) => return Err(Failure::usage("give a --secret-file")),
        };
        let algorithms = match &self.algorithm {
            Some(algorithm) => std::slice::from_ref(algorithm),
            None => likely_algorithms(key.family()),
        };

        // A curve is known by the algorithm alone that can sign with it.
        let mut header = Header::default();
        header.kid.clone_from(&self.key_id);
        let signed = algorithms.iter().find_map(|algorithm| {
            header.alg = *algorithm;
            encode(&header, claims, &key).ok()
        });
        signed.ok_or_else(|| unfit(&key, algorithms))
    }
}

/// Names by which a token is revoked have a bound.
fn check_length(flag: &str, name: &str) -> Result<(), Failure> {
    let most = limits::MAX_CREDENTIAL_ID_BYTES;
    if name.len() > most {
        return Err(Failure::usage(format!("{flag} has more than {most} bytes")));
    }
    Ok(())
}

fn likely_algorithms(family: AlgorithmFamily) -> &'static [Algorithm] {
    match family {
        AlgorithmFamily::Hmac => &[Algorithm::HS256],
        AlgorithmFamily::Rsa => &[Algorithm::RS256],
        AlgorithmFamily::Ec => &[Algorithm::ES256, Algorithm::ES384],
        AlgorithmFamily::Ed => &[Algorithm::EdDSA],
    }
}

fn secret(file: &Path) -> Result<EncodingKey, Failure> {
    let secret = read_key(file)?;
    let least = limits::MIN_SECRET_BYTES;
    if secret.len() < least {
        return Err(Failure::usage(format!(
            "{} has {} bytes; a secret has at least {least}: `vidette token secret` makes one",
            file.display(),
            secret.len()
        )));
    }
    EncodingKey::from_secret(&secret).map_err(|error| not_a_key(file, &error))
}

fn private_key(file: &Path) -> Result<EncodingKey, Failure> {
    let pem = read_key(file)?;
    // A key of another kind is refused by each of them.
    EncodingKey::from_ed_pem(&pem)
        .or_else(|_| EncodingKey::from_ec_pem(&pem))
        .or_else(|_| EncodingKey::from_rsa_pem(&pem))
        .map_err(|error| not_a_key(file, &error))
}

fn not_a_key(file: &Path, error: &jsonwebtoken::errors::Error) -> Failure {
    let file = file.display();
    Failure::usage(format!(
        "{file} has no private key in PEM (PKCS#8): {error}; \
         `openssl pkcs8 -topk8 -nocrypt -in {file}` makes one of an older form"
    ))
}

fn unfit(key: &EncodingKey, algorithms: &[Algorithm]) -> Failure {
    let family = key.family();
    let fitting = family.algorithms();
    Failure::usage(format!(
        "the key cannot sign by {algorithms:?}; it is one for one of {fitting:?}"
    ))
}
