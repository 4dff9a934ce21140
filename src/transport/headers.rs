//! Headers of answers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Asks proxies that gather answers, nginx before all, to pass each part on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Sets a header whose value never changes.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// Headers of everything that must not be kept by a cache.
pub(super) fn no_store(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, content_type);
    set(&mut headers, header::CACHE_CONTROL, "no-store");
    headers
}

/// Headers of an answer whose parts have to arrive as they are made.
pub(super) fn unbuffered(content_type: &'static str) -> HeaderMap {
    let mut headers = no_store(content_type);
    set(&mut headers, ACCEL_BUFFERING, "no");
    headers
}
