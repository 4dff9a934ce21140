//! Whom a request is for (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Invariants:
//! - a request that names its host twice, or not at all where it has to, is a bad one;
//! - where the gateway can be reached from this machine alone, a request for another host is
//!   refused, whatever it asks: a page of that name, which somebody made resolve to this address
//!   (DNS rebinding), would be of the same origin as the gateway;
//! - the host is in the `Host` header for whoever looks at it later.

use axum::http::{HeaderMap, HeaderValue, Request, Uri, Version, header};

use crate::config::{Authority, Hosts};
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind, Result};

/// Checks whom a request is for, and names that in its `Host` header. Without `hosts` any host will
/// do.
pub(super) fn check<B>(request: &mut Request<B>, hosts: Option<&Hosts>) -> Result<()> {
    // One host, in the header, whichever way it was said.
    check_count(request.version(), request.uri(), request.headers())?;
    name_host(request)?;

    // A request of HTTP/1.0, which browsers no longer send, may have none.
    let Some(host) = request.headers().get(header::HOST) else {
        return Ok(());
    };
    let authority = parse_host(host)?;
    match hosts {
        Some(hosts) if !hosts.contain(authority.host) => Err(wrong_host(authority.host)),
        _ => Ok(()),
    }
}

fn parse_host(host: &HeaderValue) -> Result<Authority<'_>> {
    let host = host.to_str().unwrap_or("\0");
    Authority::parse(host).ok_or_else(|| not_a_host(host))
}

fn not_a_host(host: &str) -> Error {
    let host = shorten(host);
    Error::bad_request(format!(
        "Host: {host:?} is not a host with or without a port"
    ))
}

fn wrong_host(host: &str) -> Error {
    let host = shorten(host);
    let detail = format!(
        "{host:?} is not a host of this gateway, which listens on a loopback address or a Unix socket; \
         if it should be, as behind a proxy, add it to origins.hosts in the configuration"
    );
    Error::new(ErrorKind::WrongHost, detail)
}

fn check_count(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let mut lines = headers.get_all(header::HOST).iter();
    let detail = match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => "there is more than one Host header",
        (None, _) if version == Version::HTTP_11 => "there is no Host header",
        (None, _) if version == Version::HTTP_2 && uri.authority().is_none() => {
            "there is neither an :authority nor a Host header"
        }
        _ => return Ok(()),
    };
    Err(Error::bad_request(detail))
}

/// HTTP/2 has the host in `:authority`, a request for a proxy in its target. The header has to
/// agree with the first (RFC 9113 §8.3.1), and yields to the second (RFC 9112 §3.2.2).
fn name_host<B>(request: &mut Request<B>) -> Result<()> {
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };

    // Two names would be read differently by whoever stands before the gateway.
    let of_header = request.headers().get(header::HOST);
    let agrees = of_header.is_none_or(|host| {
        let authority = authority.as_str().as_bytes();
        host.as_bytes().eq_ignore_ascii_case(authority)
    });
    if request.version() == Version::HTTP_2 && !agrees {
        let detail = "the Host header names another host than :authority";
        return Err(Error::bad_request(detail));
    }

    // From here on only the header is looked at.
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}
