//! Sends whoever comes without encryption to the encrypted address (`tls.redirect`).
//!
//! Invariants:
//! - what is sent elsewhere is done by nobody here: it reaches no handler;
//! - those who look whether the gateway is well are answered where they ask.

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::config::{Authority, TlsConfig};
use crate::error::Error;

/// Paths that are answered here whatever the configuration says.
const ANSWERED_HERE: [&str; 2] = ["/healthz", "/readyz"];
/// The port that `https://` means without one.
const HTTPS_PORT: u16 = 443;

/// Where requests without encryption are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Redirect {
    /// The port that clients reach, where it is not the one that the gateway listens on.
    port: Option<u16>,
}

impl Redirect {
    /// None where they are answered.
    pub(super) fn of(tls: Option<&TlsConfig>) -> Option<Self> {
        let tls = tls.filter(|tls| tls.redirect)?;
        Some(Redirect {
            port: tls.redirect_port,
        })
    }

    /// The answer to a request, if it is to be sent elsewhere. `port` is where the gateway listens
    /// for the encrypted ones.
    pub(super) fn answer<B>(self, request: &Request<B>, port: u16) -> Option<Response> {
        if ANSWERED_HERE.contains(&request.uri().path()) {
            return None;
        }
        let location = location(request, self.port.unwrap_or(port));
        Some(location.map_or_else(|| no_host().into_response(), see))
    }
}

/// The same method again, at another place, and each time anew: the port may change.
fn see(location: HeaderValue) -> Response {
    let cached = HeaderValue::from_static("no-store");
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, cached),
    ];
    (StatusCode::PERMANENT_REDIRECT, headers, Body::empty()).into_response()
}

/// The host has been checked, and is in its header whichever way it was said.
fn location<B>(request: &Request<B>, port: u16) -> Option<HeaderValue> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let host = Authority::parse(host)?.host;
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let location = match port {
        HTTPS_PORT => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    HeaderValue::try_from(location).ok()
}

fn no_host() -> Error {
    Error::bad_request("this address is not encrypted: use https, and name the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(target: &str, host: &str, redirect_port: Option<u16>) -> Option<String> {
        let request = Request::get(target).header(header::HOST, host).body(());
        let redirect = Redirect {
            port: redirect_port,
        };
        let answer = redirect.answer(&request.expect("a request"), 8443)?;
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        let location = &answer.headers()[header::LOCATION];
        Some(location.to_str().expect("text").to_owned())
    }

    #[test]
    fn everything_but_health_is_sent_to_the_same_host_and_target() {
        let to = |port, target: &str| Some(format!("https://{port}{target}"));
        let sse = "/v1/sse?topic=a.%3E";
        assert_eq!(sent_to(sse, "a.test", None), to("a.test:8443", sse));
        assert_eq!(sent_to("/", "a.test:80", Some(443)), to("a.test", "/"));
        assert_eq!(sent_to("/", "[::1]:80", Some(8)), to("[::1]:8", "/"));
        assert_eq!(sent_to("/healthz", "a.test", None), None);
        assert_eq!(sent_to("/readyz?verbose", "a.test", None), None);
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        let request = Request::get("/").body(()).expect("a request");
        let answer = Redirect { port: None }.answer(&request, 443);
        assert_eq!(answer.expect("an answer").status(), StatusCode::BAD_REQUEST);
    }
}
