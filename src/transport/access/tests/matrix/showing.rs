//! Tokens, keys, cookies and certificates, good and bad, and requests that show them.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::Request;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::{Gives, Shows};

pub(super) const SECRET: &[u8] = b"a secret of the test, of more than 32 bytes";

/// A token, good from so many seconds from now for so many more.
fn token(secret: &[u8], gives: Gives, from_s: i64, for_s: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = i64::try_from(now.expect("after 1970").as_secs()).expect("it fits");
    let claims = json!({
        "sub": "somebody",
        "nbf": now_s + from_s,
        "exp": now_s + from_s + for_s,
        "vidette": { "publish": gives.publish(), "subscribe": gives.subscribe() },
    });
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret).expect("a key"),
    )
    .expect("a token")
}

pub(super) fn good_token(gives: Gives) -> String {
    token(SECRET, gives, -60, 3600)
}

fn expired_token(gives: Gives) -> String {
    token(SECRET, gives, -3600, 1800)
}

/// The same claims, under a header that says that nobody has signed them.
fn unsigned(token: &str) -> String {
    // {"alg":"none","typ":"JWT"}
    let claims = token.split('.').nth(1).expect("claims");
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
}

pub(super) fn key_of(gives: Gives) -> String {
    format!("the-key-of-{gives:?}")
}

/// A subject alternative name.
pub(super) fn certificate_of(gives: Gives) -> String {
    format!("{gives:?}.example").to_lowercase()
}

fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = value.parse().expect("a header");
    request.headers_mut().append(name, value);
    request
}

pub(super) fn with_token(request: Request<Body>, token: &str) -> Request<Body> {
    with_header(request, "authorization", &format!("Bearer {token}"))
}

fn with_parameter(request: &mut Request<Body>, name: &str, value: &str) {
    let target = request.uri().to_string();
    let separator = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{separator}{name}={value}");
    *request.uri_mut() = target.parse().expect("an address");
}

/// Shows something with a request; gives the names of the connection's certificate.
pub(super) fn show(request: &mut Request<Body>, shows: Shows, gives: Gives) -> Vec<String> {
    let mut taken = std::mem::take(request);
    let mut names = Vec::new();
    let good = good_token(gives);
    let cookie = format!("other=1; vidette={good}");
    taken = match shows {
        Shows::Nothing => taken,
        Shows::Token => with_token(taken, &good),
        Shows::ApiKey => with_token(taken, &key_of(gives)),
        Shows::Certificate | Shows::TokenBesideCertificate => {
            // The certificate's rights are others than the token's, which counts before it.
            let is_beside = shows == Shows::TokenBesideCertificate;
            names.push("unknown.example".to_owned());
            if is_beside {
                names.push(certificate_of(Gives::Both));
                with_token(taken, &good)
            } else {
                names.push(certificate_of(gives));
                taken
            }
        }
        Shows::UnknownCertificate => {
            names.push("unknown.example".to_owned());
            taken
        }
        Shows::NotAToken => with_token(taken, "no-token-at-all"),
        Shows::TokenOfAnotherKey => {
            let other = b"another secret that is as long as the first one";
            with_token(taken, &token(other, gives, -60, 3600))
        }
        Shows::TokenWithoutSignature => with_token(taken, &unsigned(&good)),
        Shows::ExpiredToken => with_token(taken, &expired_token(gives)),
        Shows::TokenOfLater => with_token(taken, &token(SECRET, gives, 3600, 3600)),
        Shows::CookieOfOwnPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "http://localhost")
        }
        Shows::CookieOfAllowedPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "https://allowed.test")
        }
        Shows::CookieOfForeignPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "https://foreign.test")
        }
        Shows::CookieWithoutOrigin => with_header(taken, "cookie", &cookie),
        Shows::CookieOfSameOrigin => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "sec-fetch-site", "same-origin")
        }
        Shows::CookieOfOtherSite => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "sec-fetch-site", "cross-site")
        }
        Shows::ExpiredTokenInCookie => {
            let cookie = format!("vidette={}", expired_token(gives));
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "http://localhost")
        }
        Shows::Parameter => {
            with_parameter(&mut taken, "access_token", &good);
            taken
        }
        Shows::ExpiredTokenInParameter => {
            with_parameter(&mut taken, "access_token", &expired_token(gives));
            taken
        }
        Shows::ParameterOffTheList => {
            with_parameter(&mut taken, "token", &good);
            taken
        }
        Shows::BadTokenBesideCookie => {
            let taken = with_header(taken, "cookie", &cookie);
            let taken = with_header(taken, "origin", "http://localhost");
            with_token(taken, "no-token-at-all")
        }
    };
    *request = taken;
    names
}
