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
    if let Some((name, value)) = parameter(shows, gives) {
        with_parameter(&mut taken, name, &value);
    }
    if let Some(shown) = bearer(shows, gives) {
        taken = with_token(taken, &shown);
    }
    for (name, value) in cookie(shows, gives) {
        taken = with_header(taken, name, &value);
    }
    *request = taken;
    certificate_names(shows, gives)
}

/// What is shown as `Authorization: Bearer`.
fn bearer(shows: Shows, gives: Gives) -> Option<String> {
    match shows {
        Shows::Token | Shows::TokenBesideCertificate => Some(good_token(gives)),
        Shows::ApiKey => Some(key_of(gives)),
        Shows::NotAToken | Shows::BadTokenBesideCookie => Some("no-token-at-all".to_owned()),
        Shows::TokenOfAnotherKey => {
            let other = b"another secret that is as long as the first one";
            Some(token(other, gives, -60, 3600))
        }
        Shows::TokenWithoutSignature => Some(unsigned(&good_token(gives))),
        Shows::ExpiredToken => Some(expired_token(gives)),
        Shows::TokenOfLater => Some(token(SECRET, gives, 3600, 3600)),
        _ => None,
    }
}

/// A cookie, and what a browser says of the page that sends it.
fn cookie(shows: Shows, gives: Gives) -> Vec<(&'static str, String)> {
    let origin = |origin: &str| Some(("origin", origin.to_owned()));
    let site = |site: &str| Some(("sec-fetch-site", site.to_owned()));
    let page = match shows {
        Shows::CookieOfOwnPage | Shows::BadTokenBesideCookie | Shows::ExpiredTokenInCookie => {
            origin("http://localhost")
        }
        Shows::CookieOfAllowedPage => origin("https://allowed.test"),
        Shows::CookieOfForeignPage => origin("https://foreign.test"),
        Shows::CookieOfSameOrigin => site("same-origin"),
        Shows::CookieOfOtherSite => site("cross-site"),
        Shows::CookieWithoutOrigin => None,
        _ => return Vec::new(),
    };
    let value = match shows {
        Shows::ExpiredTokenInCookie => expired_token(gives),
        _ => good_token(gives),
    };
    let cookie = ("cookie", format!("other=1; vidette={value}"));
    page.into_iter().chain([cookie]).collect()
}

fn parameter(shows: Shows, gives: Gives) -> Option<(&'static str, String)> {
    match shows {
        Shows::Parameter => Some(("access_token", good_token(gives))),
        Shows::ExpiredTokenInParameter => Some(("access_token", expired_token(gives))),
        Shows::ParameterOffTheList => Some(("token", good_token(gives))),
        _ => None,
    }
}

fn certificate_names(shows: Shows, gives: Gives) -> Vec<String> {
    let known = match shows {
        Shows::UnknownCertificate => None,
        Shows::Certificate => Some(certificate_of(gives)),
        // Its rights are others than the token's, which counts before it.
        Shows::TokenBesideCertificate => Some(certificate_of(Gives::Both)),
        _ => return Vec::new(),
    };
    let unknown = "unknown.example".to_owned();
    [unknown].into_iter().chain(known).collect()
}
