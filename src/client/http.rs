//! HTTP requests to the gateway, and what its refusals mean.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::error::{ClientError, ClientErrorKind};
use crate::limits;

/// How the client names itself to servers.
pub(super) const USER_AGENT: &str = concat!("vidette-rust/", env!("CARGO_PKG_VERSION"));

/// The address of a gateway, and the connections to it.
#[derive(Debug, Clone)]
pub(super) struct GatewayHttp {
    http: reqwest::Client,
    /// Without a slash at its end.
    url: String,
}

impl GatewayHttp {
    pub(super) fn new(url: &str) -> Result<Self, ClientError> {
        // A machine that acknowledges nothing for a while is taken to be gone.
        let gone = limits::PUBLISH_PEER_TIMEOUT;
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(limits::READ_HELLO_TIMEOUT)
            .tcp_user_timeout(gone)
            .tcp_keepalive(gone / 2)
            .tcp_keepalive_interval(gone / 4)
            .build()
            .map_err(|error| ClientError::new(ClientErrorKind::Address, error.to_string()))?;

        // The address is checked here, so that no request can fail because of it.
        Ok(GatewayHttp {
            http,
            url: checked_url(url)?,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(super) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// What a request that got no answer means.
    pub(super) fn no_answer(&self, error: &reqwest::Error) -> ClientError {
        let (url, cause) = (&self.url, innermost(error));

        // Advice about the address helps only where no connection was made.
        ClientError::unreachable(if error.is_connect() {
            no_gateway(url, &cause)
        } else {
            format!("the connection to {url} broke: {cause}")
        })
    }
}

pub(super) fn no_gateway(url: &str, cause: &str) -> String {
    format!("no gateway at {url}: {cause}; start one with `vidette serve`, or correct the address")
}

/// The cause behind all errors that only say where they were met.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    // The outer ones say "error sending request" and no more.
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// An address that this client can use, without a slash at its end.
fn checked_url(text: &str) -> Result<String, ClientError> {
    let wrong = |why: &str| Err(ClientError::new(ClientErrorKind::Address, why));
    // The most likely mistake gets an answer of its own.
    if text.starts_with("https://") {
        return wrong("this client speaks no TLS; give the http:// address behind the proxy");
    }

    // Paths are appended to the address, so its last slash would be doubled.
    match reqwest::Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => wrong("not an address such as http://127.0.0.1:8080"),
    }
}

/// The fields of a problem+json (RFC 9457) that the client uses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemFields {
    title: Option<String>,
    detail: Option<String>,
    reason: Option<String>,
}

impl ProblemFields {
    /// For a person; a proxy's page has no such fields.
    fn text(&self, status: reqwest::StatusCode) -> String {
        match (&self.title, &self.detail) {
            (Some(title), Some(detail)) => format!("{title}: {detail}"),
            _ => format!("the gateway answered {status}"),
        }
    }
}

/// What an answer that is no success means; `passes` says which statuses are worth another try.
pub(super) async fn refusal(
    response: reqwest::Response,
    passes: impl Fn(u16) -> bool,
) -> ClientError {
    // Reading the body uses up the response.
    let (status, pause) = (response.status(), retry_after(response.headers()));
    let body = body_up_to(limits::READ_REFUSAL_BYTES, response).await;
    let body = body.unwrap_or_default();

    // The problem of a gap also has the gap's own fields.
    let problem: ProblemFields = serde_json::from_slice(&body).unwrap_or_default();
    if status == 410 && problem.reason.is_some() {
        return ClientError::gap(serde_json::from_slice(&body).unwrap_or_default());
    }

    // Whoever gets the error decides by its kind whether to try again.
    let kind = if passes(status.as_u16()) {
        ClientErrorKind::Unavailable
    } else {
        ClientErrorKind::Refused
    };
    ClientError::new(kind, problem.text(status)).with_retry_after(pause)
}

/// The body of an answer, or what has come of it beyond a bound: a page that a proxy sends in place
/// of an answer may never end.
pub(super) async fn body_up_to(
    most_bytes: usize,
    mut response: reqwest::Response,
) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        // Whoever takes the body sees that it is more than that.
        body.extend_from_slice(&chunk);
        if body.len() > most_bytes {
            break;
        }
    }
    Ok(body)
}

/// The wait that a refusal asks for, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers.get(RETRY_AFTER);
    let text = value.and_then(|value| value.to_str().ok());
    let text = text.unwrap_or_default();

    // A proxy may send a date, where a gateway sends seconds.
    let pause = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => until(text).unwrap_or_default(),
    };

    // A wrong answer must not send a client away for days.
    pause.min(limits::READ_RETRY_AFTER_MAX)
}

/// How long it is until a date of HTTP, where that is to come.
fn until(date: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_plain_http_and_loses_its_slash() {
        let url = |text| checked_url(text).map_err(|error| error.kind());
        assert_eq!(url("http://a:1/").as_deref(), Ok("http://a:1"));
        for wrong in ["https://a", "ftp://a", "127.0.0.1:8080", "http://", ""] {
            assert_eq!(url(wrong), Err(ClientErrorKind::Address), "{wrong}");
        }
    }

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_and_is_bounded() {
        let asked = |text: &str| {
            let value = text.parse().expect("a header");
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(asked("7"), Duration::from_secs(7));
        assert_eq!(asked("86400"), limits::READ_RETRY_AFTER_MAX);
        assert_eq!(asked("soon"), Duration::ZERO);
        let date = SystemTime::now() + Duration::from_secs(100);
        let wait = asked(&httpdate::fmt_http_date(date));
        assert!(wait > Duration::from_secs(90) && wait <= Duration::from_secs(100));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Duration::ZERO);
    }
}
