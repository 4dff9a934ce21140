//! Connections of gRPC, and what its errors mean.
//!
//! Invariant: an error has the same kind as the one of HTTP that means the same.

use std::time::Duration;

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::error::{ClientError, ClientErrorKind};
use super::http::{GatewayHttp, MAYBE_TLS, USER_AGENT, innermost, no_gateway, untrusted};
use super::read::GapReport;
use super::tls;
use super::token::BearerToken;
use crate::limits;
use crate::proto;

/// A connection of its own for each stream.
pub(super) async fn connect(http: &GatewayHttp) -> Result<Channel, ClientError> {
    let connected = endpoint(http)?.connect().await;
    connected.map_err(|error| match tls::trouble(&error) {
        Some(trouble) => untrusted(http.address(), &trouble),
        None => ClientError::unreachable(no_gateway(http.address(), &innermost(&error))),
    })
}

/// A connection that is made with the first call, and again after it has broken.
pub(super) fn shared_connection(http: &GatewayHttp) -> Result<Channel, ClientError> {
    let gone = limits::PUBLISH_PEER_TIMEOUT;
    let endpoint = endpoint(http)?;
    // A machine that answers nothing for a while is taken to be gone.
    let endpoint = endpoint.http2_keep_alive_interval(gone / 2);
    Ok(endpoint.keep_alive_timeout(gone / 2).connect_lazy())
}

fn endpoint(http: &GatewayHttp) -> Result<Endpoint, ClientError> {
    let address = http.address();
    // The address has been checked for HTTP; here it may still be no address of gRPC.
    let unusable = |error| ClientError::new(ClientErrorKind::Address, innermost(&error));
    let endpoint = Endpoint::from_shared(address.as_str().to_owned())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(unusable)?;
    let endpoint = match http.grpc_tls() {
        Some(tls) => endpoint.tls_config(tls).map_err(unusable)?,
        None => endpoint,
    };

    // A host that does not answer is not waited for as long as TCP would.
    let patience = http.clock().limit(limits::READ_HELLO_TIMEOUT);
    Ok(endpoint.connect_timeout(patience))
}

pub(super) fn with_token<T>(message: T, token: Option<&BearerToken>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = token.metadata();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// What a status that ends the call means.
pub(super) fn error_of(http: &GatewayHttp, status: &Status) -> ClientError {
    if let Some(trouble) = tls::trouble(status) {
        return untrusted(http.address(), &trouble);
    }

    let text = text_of(status);
    match status.code() {
        Code::Unauthenticated => ClientError::new(ClientErrorKind::Unauthenticated, text),
        // A gap is an error only where it was asked to be one.
        Code::OutOfRange => gap_of(status).map_or_else(|| refused(&text), ClientError::gap),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented => refused(&text),
        // Whatever else ends a call may have passed by the next try.
        _ => ClientError::new(ClientErrorKind::Unavailable, unspoken(http, text))
            .with_retry_after(retry_delay(status)),
    }
}

pub(super) fn text_of(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// What an error means that is not one of the call's own, but of HTTP/2 below it.
fn unspoken(http: &GatewayHttp, text: String) -> String {
    if !http.address().is_encrypted && text.contains(NO_HTTP_2) {
        return format!("{text}; {MAYBE_TLS}");
    }
    if http.has_identity && SHUT_OUT.iter().any(|why| text.contains(why)) {
        return format!("{text}; perhaps the gateway does not take the client certificate");
    }
    text
}

/// What tonic says of an answer that is no HTTP/2 …
const NO_HTTP_2: &str = "h2 protocol error";
/// … and of a connection that has been closed before it was used; why, it does not say.
const SHUT_OUT: [&str; 2] = ["operation was canceled", "transport error"];

/// The wait that a status asks for.
fn retry_delay(status: &Status) -> Duration {
    // Few statuses name a wait; without one the reader's own backoff decides.
    let details = status.get_error_details();
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    delay.unwrap_or_default()
}

fn refused(text: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Refused, text)
}

/// The gap that stands in the details of a status.
fn gap_of(status: &Status) -> Option<GapReport> {
    // The details are the same Gap message that a stream would have had.
    let details = tonic_types::pb::Status::decode(status.details()).ok()?;
    let gap = details
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/vidette.v1.Gap"))?;
    Some(proto::Gap::decode(&*gap.value).ok()?.into())
}

impl From<proto::Gap> for GapReport {
    fn from(gap: proto::Gap) -> Self {
        GapReport {
            reason: gap.reason,
            requested: gap.requested,
            first: gap.first,
            last: gap.last,
            epoch: gap.epoch,
        }
    }
}
