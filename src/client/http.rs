//! HTTP requests to the gateway, and what its refusals mean.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, redirect};
use serde::Deserialize;
#[cfg(feature = "client-grpc")]
use tonic::transport::ClientTlsConfig;

use super::address::GatewayAddress;
use super::clock::ClientClock;
use super::error::{ClientError, ClientErrorKind};
use super::options::ClientOptions;
use super::tls;
use super::token::{BearerToken, TokenKeeper};
use crate::limits;

/// How the client names itself to servers.
pub(super) const USER_AGENT: &str = concat!("vidette-rust/", env!("CARGO_PKG_VERSION"));

/// The address of a gateway, the connections to it, and who the client is there.
#[derive(Clone)]
pub(super) struct GatewayHttp {
    http: reqwest::Client,
    address: GatewayAddress,
    tokens: Option<Arc<TokenKeeper>>,
    clock: ClientClock,
    /// It shows a certificate of its own.
    #[cfg(feature = "client-grpc")]
    pub(super) has_identity: bool,
    /// Where the address is of `https:`.
    #[cfg(feature = "client-grpc")]
    grpc_tls: Option<Arc<ClientTlsConfig>>,
}

impl fmt::Debug for GatewayHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What encrypts holds a private key.
        f.debug_struct("GatewayHttp")
            .field("address", &self.address)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl GatewayHttp {
    pub(super) fn new(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        // The address is checked here, so that no request can fail because of it.
        let address = GatewayAddress::parse(url)?;
        check_together(&address, &options)?;
        let http = tls::for_http(http_client(&options.clock), &options)?
            .build()
            .map_err(|error| tls::unusable("the certificates", &error))?;

        #[cfg(feature = "client-grpc")]
        let grpc_tls = address.is_encrypted.then(|| tls::for_grpc(&options));
        Ok(GatewayHttp {
            http,
            address,
            tokens: options
                .token
                .map(|source| Arc::new(TokenKeeper::new(source))),
            #[cfg(feature = "client-grpc")]
            has_identity: options.identity.is_some(),
            clock: options.clock,
            #[cfg(feature = "client-grpc")]
            grpc_tls: grpc_tls.map(Arc::new),
        })
    }

    pub(super) fn clock(&self) -> &ClientClock {
        &self.clock
    }

    pub(super) fn address(&self) -> &GatewayAddress {
        &self.address
    }

    #[cfg(feature = "client-grpc")]
    pub(super) fn grpc_tls(&self) -> Option<ClientTlsConfig> {
        self.grpc_tls.as_deref().cloned()
    }

    pub(super) fn get(&self, path: &str, token: Option<&BearerToken>) -> RequestBuilder {
        with_token(self.http.get(self.at(path)), token)
    }

    pub(super) fn post(&self, path: &str, token: Option<&BearerToken>) -> RequestBuilder {
        with_token(self.http.post(self.at(path)), token)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address.as_str())
    }

    pub(super) fn has_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// The token to send, where the client has any.
    pub(super) async fn token(&self) -> Result<Option<BearerToken>, ClientError> {
        match &self.tokens {
            Some(tokens) => tokens.get().await.map(Some),
            None => Ok(None),
        }
    }

    /// The gateway does not take this token any more: the next request has another one.
    pub(super) fn refuse(&self, token: Option<&BearerToken>, why: &str) {
        if let (Some(tokens), Some(token)) = (&self.tokens, token) {
            tokens.refuse(token, why);
        }
    }

    /// Makes a request; once more with a fresh token, where the gateway refuses the one that it
    /// had. Gives what came, and for which token.
    pub(super) async fn with_fresh_token<T, F>(
        &self,
        request: impl Fn(Option<BearerToken>) -> F,
    ) -> Result<(T, Option<BearerToken>), ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let token = self.token().await?;
        match request(token.clone()).await {
            Ok(answer) => return Ok((answer, token)),
            Err(error) => self.refused(token.as_ref(), error)?,
        }

        // A fresh one that is refused as well is not replaced again.
        let token = self.token().await?;
        Ok((request(token.clone()).await?, token))
    }

    /// Does an error come from the token, so that another one may help? Any other error is given
    /// back.
    pub(super) fn refused(
        &self,
        token: Option<&BearerToken>,
        error: ClientError,
    ) -> Result<(), ClientError> {
        match token {
            Some(_) if error.kind() == ClientErrorKind::Unauthenticated => {
                self.refuse(token, &error.to_string());
                Ok(())
            }
            Some(_) => Err(error),
            None => Err(error.with_advice()),
        }
    }

    /// What a request that got no answer means.
    pub(super) fn no_answer(&self, error: &reqwest::Error) -> ClientError {
        if let Some(trouble) = tls::trouble(error) {
            return untrusted(&self.address, &trouble);
        }

        // Advice about the address helps only where no connection was made.
        let (address, cause) = (&self.address, innermost(error));
        ClientError::unreachable(if error.is_connect() {
            no_gateway(address, &cause)
        } else if cause.starts_with(NO_HTTP) && !address.is_encrypted {
            format!("{address} answers with something else than HTTP; {MAYBE_TLS}")
        } else {
            format!("the connection to {address} broke: {cause}")
        })
        .unsent(error.is_connect())
    }
}

/// What hyper says of an answer that does not begin with `HTTP/`.
const NO_HTTP: &str = "invalid HTTP version";

pub(super) const MAYBE_TLS: &str = "if it speaks TLS, give the address with https://";

/// Settings that only make sense together.
fn check_together(address: &GatewayAddress, options: &ClientOptions) -> Result<(), ClientError> {
    let wrong = |why: &str| Err(ClientError::new(ClientErrorKind::Address, why));
    if options.have_certificates() && !address.is_encrypted {
        return wrong("certificates are for an address with https://");
    }
    // Both would be the one Authorization header of a request.
    if options.token.is_some() && address.has_password {
        return wrong("a user name and a token; leave one of them out");
    }
    Ok(())
}

fn http_client(clock: &ClientClock) -> reqwest::ClientBuilder {
    // A machine that acknowledges nothing for a while is taken to be gone.
    let gone = limits::PUBLISH_PEER_TIMEOUT;
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        // A connection for each request: one that has gone silent is left together with it.
        .http1_only()
        // What is sent, and the token with it, goes to the address that was given.
        .redirect(redirect::Policy::none())
        .connect_timeout(clock.limit(limits::READ_HELLO_TIMEOUT))
        .tcp_user_timeout(gone)
        .tcp_keepalive(gone / 2)
        .tcp_keepalive_interval(gone / 4)
}

fn with_token(request: RequestBuilder, token: Option<&BearerToken>) -> RequestBuilder {
    match token {
        Some(token) => request.header(AUTHORIZATION, token.header()),
        None => request,
    }
}

pub(super) fn no_gateway(address: &GatewayAddress, cause: &str) -> String {
    format!(
        "no gateway at {address}: {cause}; start one with `vidette serve`, or correct the address"
    )
}

pub(super) fn untrusted(address: &GatewayAddress, trouble: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Tls, format!("{address}: {trouble}"))
}

/// The cause behind all errors that only say where they were met.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    // The outer ones say "error sending request" and no more.
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }

    // An error without a cause would show the address, and with it a password.
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request failed".to_owned(),
        None => cause.to_string(),
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
    /// For a person; what a proxy sends has no such fields.
    fn text(&self, status: reqwest::StatusCode, body: &[u8]) -> String {
        match (&self.title, &self.detail, sentence(body)) {
            (Some(title), Some(detail), _) => format!("{title}: {detail}"),
            (_, _, Some(sentence)) => format!("the gateway answered {status}: {sentence}"),
            _ => format!("the gateway answered {status}"),
        }
    }
}

/// A body that can be shown as it is: neither a page nor a document.
fn sentence(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok()?.trim();
    let is_words = text.chars().all(|c| !c.is_control()) && !text.starts_with(['<', '{', '[']);
    let is_short = (1..=limits::READ_SENTENCE_BYTES).contains(&text.len());
    (is_words && is_short).then_some(text)
}

/// What an answer that is no success means; `passes` says which statuses are worth another try.
pub(super) async fn refusal(
    response: reqwest::Response,
    passes: impl Fn(u16) -> bool,
) -> ClientError {
    // Reading the body uses up the response.
    let (status, pause) = (response.status(), retry_after(response.headers()));
    let location = redirection(&response);
    let body = body_up_to(limits::READ_REFUSAL_BYTES, response).await;
    let body = body.unwrap_or_default();

    // The problem of a gap also has the gap's own fields.
    let problem: ProblemFields = serde_json::from_slice(&body).unwrap_or_default();
    if status == 410 && problem.reason.is_some() {
        let gap = serde_json::from_slice(&body).unwrap_or_default();
        return ClientError::gap(gap).with_status(410);
    }

    // Whoever gets the error decides by its kind whether to try again.
    let kind = match status.as_u16() {
        401 => ClientErrorKind::Unauthenticated,
        301 | 308 => ClientErrorKind::Refused,
        status if passes(status) => ClientErrorKind::Unavailable,
        _ => ClientErrorKind::Refused,
    };
    let text = match location {
        Some(location) => format!("the gateway answered {status}: it is at {location}"),
        None => problem.text(status, &body),
    };
    let error = ClientError::new(kind, text).with_retry_after(pause);
    error.with_status(status.as_u16())
}

/// Where an answer sends the client, which does not follow.
fn redirection(response: &reqwest::Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(location).ok()?;
    // Without the path and parameters of this request.
    let is_redirection = response.status().is_redirection();
    is_redirection.then(|| target.origin().ascii_serialization())
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
