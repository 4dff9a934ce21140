//! What a request shows to be known by: a token or an API key (contract §8; RFC 6750, "Bearer").
//!
//! Invariants:
//! - what was shown is taken out of the request, wherever it stood, so that nothing behind can let
//!   it out;
//! - what a client has put into the request itself counts before the cookie, which a browser adds,
//!   and that before the certificate, which belongs to the connection. The first of them decides:
//!   if it is bad, none of the others is looked at;
//! - two that contradict each other are an error, and none of them is chosen.

use std::borrow::Cow;

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderName, Request};

use super::origin;
use crate::auth::Authenticator;
use crate::config::OriginsConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::params::{decode_form, pairs};

/// What a request shows.
pub(super) enum Shown {
    Nothing,
    /// In a header or in the address: whoever asks has meant it for this request.
    Openly(String),
    /// In a cookie.
    InCookie {
        credential: String,
        /// It was sent with a request that says nothing of the page it is from.
        for_reading_only: bool,
    },
}

/// Takes what a request shows out of it.
///
/// # Errors
/// When it cannot be read, or is contradictory.
pub(super) fn take<B>(
    request: &mut Request<B>,
    authenticator: &Authenticator,
    origins: &OriginsConfig,
    is_encrypted: bool,
    is_publishing: bool,
) -> Result<Shown> {
    // Each is taken out, whichever of them decides.
    let in_header = take_bearer(request.headers_mut());
    let in_query = match &authenticator.query_parameter {
        Some(name) => take_parameter(request.uri_mut(), name),
        None => Ok(None),
    };
    let in_cookie = match &authenticator.cookie {
        Some(name) => take_cookie(request.headers_mut(), name),
        None => Ok(None),
    };

    if let Some(credential) = one_of(in_header?, in_query?)? {
        return Ok(Shown::Openly(credential));
    }
    let headers = request.headers();
    if !origin::lets_cookie_count(headers, origins, is_encrypted, is_publishing) {
        return Ok(Shown::Nothing);
    }
    let for_reading_only = !headers.contains_key(header::ORIGIN);
    Ok(
        in_cookie?.map_or(Shown::Nothing, |credential| Shown::InCookie {
            credential,
            for_reading_only,
        }),
    )
}

const CONTRADICTION: &str = "the header Authorization and the query parameter for tokens show \
    different credentials; send one of them";

fn one_of(in_header: Option<String>, in_query: Option<String>) -> Result<Option<String>> {
    match (&in_header, &in_query) {
        (Some(one), Some(other)) if one != other => Err(Error::bad_request(CONTRADICTION)),
        _ => Ok(in_header.or(in_query)),
    }
}

const SEVERAL: &str = "there is more than one Authorization header; send one";
const NOT_BEARER: &str =
    "the header Authorization has another form than Bearer and a token or an API key";

fn take_bearer(headers: &mut HeaderMap) -> Result<Option<String>> {
    let mut lines = removed(headers, &header::AUTHORIZATION).into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(Error::bad_request(SEVERAL));
    }
    let credential = line.to_str().ok().and_then(bearer);
    credential
        .map(Some)
        .ok_or_else(|| Error::new(ErrorKind::Unauthenticated, NOT_BEARER))
}

fn bearer(text: &str) -> Option<String> {
    // The scheme is compared without regard to case (RFC 9110 §11.1).
    let (scheme, credential) = text.split_once(' ')?;
    let credential = credential.trim();
    let is_one = !credential.is_empty() && !credential.contains(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && is_one).then(|| credential.to_owned())
}

/// All lines of a header, which are no longer there.
fn removed(headers: &mut HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    let lines = headers.get_all(name).into_iter().cloned().collect();
    headers.remove(name);
    lines
}

/// A cookie may stand among others, and those in several lines (RFC 9113 §8.2.3).
fn take_cookie(headers: &mut HeaderMap, name: &str) -> Result<Option<String>> {
    let lines = removed(headers, &header::COOKIE);
    let mut found = None;
    for line in &lines {
        let pairs = line.as_bytes().split(|byte| *byte == b';');
        for pair in pairs.filter_map(|pair| std::str::from_utf8(pair).ok()) {
            let Some((other, value)) = pair.trim().split_once('=') else {
                continue;
            };
            let value = value.trim_matches('"');
            if other == name && !value.is_empty() {
                merge(&mut found, value.to_owned(), "cookie")?;
            }
        }
    }
    Ok(found)
}

/// Takes a parameter out of an address.
fn take_parameter(uri: &mut Uri, name: &str) -> Result<Option<String>> {
    let Some(query) = uri.query() else {
        return Ok(None);
    };
    let is_it = |written: &str| decode_form(written).is_ok_and(|decoded| decoded == name);
    let (taken, kept): (Vec<_>, Vec<_>) = query
        .split('&')
        .partition(|pair| is_it(pair.split_once('=').unwrap_or((pair, "")).0));
    if taken.is_empty() {
        return Ok(None);
    }

    let values: Vec<_> = pairs(&taken.join("&"))
        .map(|(_, value)| decode_form(value).map(Cow::into_owned))
        .collect();
    *uri = with_query(uri, &kept.join("&"));
    let mut found = None;
    for value in values {
        let value = value.map_err(|_| Error::bad_request(NOT_UTF8))?;
        if !value.is_empty() {
            merge(&mut found, value, "query parameter")?;
        }
    }
    Ok(found)
}

const NOT_UTF8: &str = "the query parameter for tokens is not UTF-8 after percent-decoding";

fn merge(found: &mut Option<String>, value: String, what: &str) -> Result<()> {
    match found {
        Some(first) if *first != value => Err(Error::bad_request(format!(
            "the {what} for tokens is there twice, with different values; send one"
        ))),
        _ => {
            *found = Some(value);
            Ok(())
        }
    }
}

/// The same address with another query.
fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let path_and_query = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    // Of parts of an address that was one; without, nothing of it is left to let out.
    Uri::from_parts(parts).unwrap_or_default()
}

/// What is asked for where credentials are missing or bad (RFC 6750 §3).
pub(in crate::transport) fn challenge(has_shown: bool) -> HeaderValue {
    HeaderValue::from_static(if has_shown {
        "Bearer realm=\"vidette\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"vidette\""
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(target: &str) -> (Option<String>, String) {
        let mut uri: Uri = target.parse().expect("an address");
        let taken = take_parameter(&mut uri, "access_token").expect("at most one");
        (taken, uri.to_string())
    }

    #[test]
    fn a_parameter_is_taken_out_of_the_address_however_it_is_written() {
        let taken = |value: &str, rest: &str| (Some(value.to_owned()), rest.to_owned());
        assert_eq!(parameter("/v1/sse"), (None, "/v1/sse".to_owned()));
        assert_eq!(
            parameter("/v1/sse?a=1&b"),
            (None, "/v1/sse?a=1&b".to_owned())
        );
        assert_eq!(parameter("/v1/sse?access_token=x"), taken("x", "/v1/sse"));
        assert_eq!(
            parameter("/a?b=1&access%5Ftoken=x%2By&c=2"),
            taken("x+y", "/a?b=1&c=2")
        );
        assert_eq!(parameter("/a?access_token="), (None, "/a".to_owned()));
        assert_eq!(
            parameter("http://h/a?access_token=x&access_token=x"),
            taken("x", "http://h/a")
        );
        let mut uri: Uri = "/?access_token=x&access_token=y"
            .parse()
            .expect("an address");
        let refused = take_parameter(&mut uri, "access_token").expect_err("two");
        assert_eq!(
            (uri.to_string().as_str(), refused.kind()),
            ("/", ErrorKind::BadRequest)
        );
    }

    #[test]
    fn one_header_has_one_credential_behind_its_scheme() {
        let taken = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(line));
            }
            let taken = take_bearer(&mut headers).map_err(|error| error.kind());
            assert!(headers.is_empty());
            taken
        };
        assert_eq!(taken(&[]), Ok(None));
        assert_eq!(taken(&["bearer  abc"]), Ok(Some("abc".to_owned())));
        for wrong in ["Bearer", "Bearer ", "abc", "Basic abc", "Bearer a b"] {
            assert_eq!(taken(&[wrong]), Err(ErrorKind::Unauthenticated), "{wrong}");
        }
        assert_eq!(taken(&["Bearer a", "Bearer a"]), Err(ErrorKind::BadRequest));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; xvidette=no", "vidette=\"t.o.k\"; vidette2=no"] {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        let taken = take_cookie(&mut headers, "vidette").expect("one");
        assert_eq!(
            (taken.as_deref(), headers.is_empty()),
            (Some("t.o.k"), true)
        );
    }
}
