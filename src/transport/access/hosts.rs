//! Whom a request is for (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Invariants:
//! - what names its host twice, or not at all where it has to, is a bad request;
//! - where the gateway can be reached from this machine alone, a request for another host is
//!   refused, whatever it asks: a page of that name, which somebody made resolve to this address
//!   (DNS rebinding), would be of the same origin as the gateway;
//! - the host is in the `Host` header for whoever looks at it later.

use axum::http::{HeaderMap, HeaderValue, Request, Uri, Version, header};

use crate::config::{Authority, Hosts};
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind, Result};

/// Checks whom a request is for, and names that in its `Host` header. Without `hosts` any is good.
pub(super) fn check<B>(request: &mut Request<B>, hosts: Option<&Hosts>) -> Result<()> {
    check_count(request.version(), request.uri(), request.headers())?;
    name_host(request)?;
    let Some(host) = request.headers().get(header::HOST) else {
        return Ok(()); // a request of HTTP/1.0, which browsers no longer send
    };
    let host = host.to_str().unwrap_or("\0");
    let Some(authority) = Authority::parse(host) else {
        return Err(Error::bad_request(format!(
            "Host: {:?} is not a host with or without a port",
            shorten(host)
        )));
    };
    match hosts {
        Some(hosts) if !hosts.contain(authority.host) => Err(wrong_host(authority.host)),
        _ => Ok(()),
    }
}

fn wrong_host(host: &str) -> Error {
    Error::new(
        ErrorKind::WrongHost,
        format!(
            "{:?} is not a host of this gateway, which listens on a loopback address; if it should be, as behind a proxy, add it to origins.hosts in the configuration",
            shorten(host)
        ),
    )
}

fn check_count(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let mut lines = headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => Err(Error::bad_request("there is more than one Host header")),
        (None, _) if version == Version::HTTP_11 => {
            Err(Error::bad_request("there is no Host header"))
        }
        (None, _) if version == Version::HTTP_2 && uri.authority().is_none() => Err(
            Error::bad_request("there is neither an :authority nor a Host header"),
        ),
        _ => Ok(()),
    }
}

/// HTTP/2 has the host in `:authority`, a request for a proxy in its target. The header has to agree
/// with the first (RFC 9113 §8.3.1), and yields to the second (RFC 9112 §3.2.2).
fn name_host<B>(request: &mut Request<B>) -> Result<()> {
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    let of_header = request.headers().get(header::HOST);
    let agrees = |host: &HeaderValue| {
        let authority = authority.as_str().as_bytes();
        host.as_bytes().eq_ignore_ascii_case(authority)
    };
    if request.version() == Version::HTTP_2 && of_header.is_some_and(|host| !agrees(host)) {
        let detail = "the Host header names another host than :authority";
        return Err(Error::bad_request(detail));
    }
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}
