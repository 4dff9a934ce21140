//! Headers of requests and answers.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};

/// Asks proxies that gather answers, nginx before all, to pass each part on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// As many as most answers have.
const FEW_HEADERS: usize = 6;

/// Sets a header whose value never changes.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// Headers of everything that must not be kept by a cache.
pub(super) fn no_store(content_type: HeaderValue) -> HeaderMap {
    // Room for what is added later, too: growing costs more than all of it.
    let mut headers = HeaderMap::with_capacity(FEW_HEADERS);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers
}

/// Headers of an answer whose parts have to arrive as they are made.
pub(super) fn unbuffered(content_type: HeaderValue) -> HeaderMap {
    let mut headers = no_store(content_type);
    set(&mut headers, ACCEL_BUFFERING, "no");
    headers
}

/// The text of a request's header, where it has that header.
///
/// # Errors
/// A bad request, when the text has other than ASCII characters.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>> {
    let text = headers.get(name).map(HeaderValue::to_str);
    text.transpose().map_err(|_| not_ascii(name))
}

fn not_ascii(name: &HeaderName) -> Error {
    Error::bad_request(format!("the header {name} has other than ASCII characters"))
}
