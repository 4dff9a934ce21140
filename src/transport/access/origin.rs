//! Which web pages may do what (the Fetch standard, "CORS protocol").
//!
//! Invariants:
//! - without an allowlist any page may read, without credentials, and none of another origin may
//!   publish;
//! - with one, the pages on it may read and publish, and no other page may read.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

use crate::config::{OriginsConfig, is_own_page};
use crate::error::{Error, ErrorKind};

/// Headers of answers that a script may read.
const EXPOSED: [&str; 10] = [
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "retry-after",
    "vidette-cursor",
    "vidette-duplicate",
    "vidette-filter",
    "vidette-gap",
    "vidette-vid",
    "www-authenticate",
];
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser keeps the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Answers preflight requests and marks answers as readable.
pub(in crate::transport) fn cors(config: &OriginsConfig) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .expose_headers(ExposeHeaders::list(EXPOSED.map(HeaderName::from_static)))
        .max_age(PREFLIGHT_MAX_AGE);
    if config.allow.is_empty() {
        return layer
            .allow_origin(AllowOrigin::any())
            // A wildcard would not let `Authorization` through (Fetch, "CORS protocol").
            .allow_headers(AllowHeaders::mirror_request());
    }

    // A browser takes no wildcard where it sends credentials: each origin is answered by its name.
    let allowed = config.clone();
    let is_allowed = AllowOrigin::predicate(move |origin, _| allows(&allowed, origin));
    layer
        .allow_origin(is_allowed)
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true)
}

/// The header that every answer has, whoever asks: who may read it, or that this depends on who
/// asks.
pub(in crate::transport) fn mark(config: &OriginsConfig) -> (HeaderName, HeaderValue) {
    // With an allowlist the answer depends on who asks, which a cache has to know.
    let (name, value) = match config.allow[..] {
        [] => (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        _ => (header::VARY, "origin"),
    };
    (name, HeaderValue::from_static(value))
}

fn allows(config: &OriginsConfig, origin: &HeaderValue) -> bool {
    let origin = text_of(origin);
    config.allow.iter().any(|allowed| allowed.is(origin))
}

/// May whoever sends this publish? What is no page sends no `Origin`.
///
/// A browser sends simple POSTs across origins without asking first, so this cannot be left to
/// CORS.
pub(super) fn may_publish(headers: &HeaderMap, config: &OriginsConfig, is_encrypted: bool) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let is_own = host.is_some_and(|host| is_own_page(text_of(origin), host, is_encrypted));
    is_own || allows(config, origin)
}

/// May a cookie say who makes this request? A browser sends it along whichever page asks, and says
/// of a plain link or image only by `Sec-Fetch-Site` where it stands (Fetch Metadata Request
/// Headers, §2.4).
pub(super) fn lets_cookie_count(
    headers: &HeaderMap,
    config: &OriginsConfig,
    is_encrypted: bool,
    is_publishing: bool,
) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return may_publish(headers, config, is_encrypted);
    }
    let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
    !is_publishing && matches!(site, None | Some(b"same-origin" | b"none"))
}

/// What a page is answered that may not.
pub(super) fn may_not_publish(headers: &HeaderMap) -> Error {
    let origin = headers.get(header::ORIGIN).map(text_of).unwrap_or_default();
    let detail = format!(
        "pages of {origin:?} may not publish here; \
         add the origin to origins.allow in the configuration"
    );
    Error::new(ErrorKind::Forbidden, detail)
}

/// Does a page of another site ask, without saying its origin?
pub(super) fn is_of_other_site(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
    !headers.contains_key(header::ORIGIN) && matches!(site, Some(b"cross-site" | b"same-site"))
}

/// What a page is answered that asks for the inside of the gateway.
pub(super) fn may_not_administer() -> Error {
    let detail = "pages of another origin may not ask for this; open /admin of this gateway, or add \
                  the origin to origins.allow in the configuration";
    Error::new(ErrorKind::Forbidden, detail)
}

/// An origin is ASCII; anything else is none.
fn text_of(origin: &HeaderValue) -> &str {
    origin.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn is_let_publish(origin: Option<&str>, allow: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("gateway.test:8080"));
        if let Some(origin) = origin {
            headers.insert(
                header::ORIGIN,
                HeaderValue::from_str(origin).expect("a header"),
            );
        }
        let text = format!("[origins]\nallow = {allow:?}");
        let config = Config::parse(&text, Overrides::default()).expect("a configuration");
        may_publish(&headers, &config.origins, false)
    }

    #[test]
    fn pages_publish_to_their_own_gateway_and_where_they_are_allowed() {
        assert!(is_let_publish(None, &[]));
        assert!(is_let_publish(Some("http://gateway.test:8080"), &[]));
        assert!(!is_let_publish(Some("https://elsewhere.test"), &[]));
        assert!(!is_let_publish(Some("null"), &[]));
        assert!(is_let_publish(
            Some("https://elsewhere.test"),
            &["https://elsewhere.test"]
        ));
        assert!(is_let_publish(
            Some("https://Elsewhere.test:443"),
            &["https://elsewhere.test"]
        ));
        assert!(!is_let_publish(
            Some("http://elsewhere.test"),
            &["https://elsewhere.test"]
        ));
    }
}
