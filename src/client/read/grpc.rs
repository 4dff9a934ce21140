//! Reading by gRPC.

use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use super::item::{GapReport, LogBounds, Received};
use super::options::ReadStart;
use super::{Incoming, ReadQuery, ended};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::ReceivedEvent;
use crate::client::http::{GatewayHttp, MAYBE_TLS, USER_AGENT, innermost, no_gateway, untrusted};
use crate::client::tls;
use crate::client::token::BearerToken;
use crate::cursor::Cursor;
use crate::limits;
use crate::proto::event_bus_client::EventBusClient;
use crate::proto::subscribe_response::Message;
use crate::proto::{self, EventBatch, OnGap, SubscribeRequest, SubscribeResponse};

pub(super) fn read(http: GatewayHttp, query: ReadQuery) -> Incoming {
    try_stream! {
        // A page of large events may be larger than the default bound of a message.
        let client = EventBusClient::new(connect(&http).await?)
            .max_decoding_message_size(limits::READ_ANSWER_BYTES);
        let opening = http.with_fresh_token(|token| open(client.clone(), &http, &query, token));
        let (mut responses, token) = opening.await?;

        // A batch of events is one message, and each event an item of its own.
        while let Some(response) = next(&mut responses, &http, token.as_ref()).await? {
            for received in response.message.into_iter().flat_map(steps) {
                let received = received?;
                received.heed_expiry(&http, token.as_ref());
                yield received;
            }
        }
    }
    .boxed()
}

async fn open(
    mut client: EventBusClient<Channel>,
    http: &GatewayHttp,
    query: &ReadQuery,
    token: Option<BearerToken>,
) -> Result<Streaming<SubscribeResponse>, ClientError> {
    let request = with_token(request(query), token.as_ref());
    let responses = client.subscribe(request).await;
    Ok(responses.map_err(|e| error_of(http, &e))?.into_inner())
}

async fn next(
    responses: &mut Streaming<SubscribeResponse>,
    http: &GatewayHttp,
    token: Option<&BearerToken>,
) -> Result<Option<SubscribeResponse>, ClientError> {
    let status = match responses.message().await {
        Ok(response) => return Ok(response),
        Err(status) => status,
    };

    // A token that was good until now has expired: a stream with a fresh one follows.
    if status.code() == Code::Unauthenticated && token.is_some() {
        http.refuse(token, &text_of(&status));
        return Err(ended(&text_of(&status)));
    }
    Err(error_of(http, &status))
}

/// A connection of its own for each stream.
async fn connect(http: &GatewayHttp) -> Result<Channel, ClientError> {
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
    let endpoint = endpoint.connect_timeout(limits::READ_HELLO_TIMEOUT);
    let connected = endpoint.connect().await;
    connected.map_err(|error| match tls::trouble(&error) {
        Some(trouble) => untrusted(address, &trouble),
        None => ClientError::unreachable(no_gateway(address, &innermost(&error))),
    })
}

fn with_token<T>(message: T, token: Option<&BearerToken>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = token.metadata();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn request(query: &ReadQuery) -> SubscribeRequest {
    let mut request = SubscribeRequest {
        topic: query.topics.clone(),
        ..SubscribeRequest::default()
    };
    match &query.start {
        // A request that names no start means what comes from now on.
        ReadStart::Latest => {}
        ReadStart::After(cursor) => request.after.clone_from(cursor),
        ReadStart::Since(time) => request.since.clone_from(time),
        ReadStart::Snapshot => request.snapshot = true,
    }
    if query.fails_at_gap {
        request.set_on_gap(OnGap::Fail);
    }
    request
}

/// What a status that ends the call means.
fn error_of(http: &GatewayHttp, status: &Status) -> ClientError {
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

fn text_of(status: &Status) -> String {
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

/// What a message says, in order.
fn steps(message: Message) -> Vec<Result<Received, ClientError>> {
    let step = match message {
        Message::Events(batch) => return events(batch),
        Message::Hello(hello) => Ok(Received::Bounds(LogBounds {
            epoch: hello.epoch,
            first: hello.first,
            last: hello.last,
            heartbeat_ms: hello.heartbeat_ms.into(),
            filter: hello.filter,
        })),
        Message::CaughtUp(caught_up) => cursor(&caught_up.cursor).map(Received::CaughtUp),
        Message::Progress(progress) => cursor(&progress.cursor).map(Received::Progress),
        Message::Gap(gap) => Ok(Received::Gap(gap.into())),
        Message::Closing(closing) => Ok(Received::Closing {
            reason: closing.reason,
            retry: Duration::from_millis(closing.retry_ms.into()),
        }),
    };
    vec![step]
}

fn cursor(text: &str) -> Result<Cursor, ClientError> {
    text.parse::<Cursor>()
        .map_err(|error| ended(&error.to_string()))
}

/// The events of a batch; its cursor names the log for all of them.
fn events(batch: EventBatch) -> Vec<Result<Received, ClientError>> {
    // One epoch for all of them: a batch never spans two logs.
    let epoch = match cursor(&batch.cursor) {
        Ok(cursor) => cursor.epoch,
        Err(error) => return vec![Err(error)],
    };
    let event = |event: proto::Event| {
        let (vid, epoch) = (event.vid, epoch.clone());
        let cursor = Cursor { vid, epoch };
        Ok(Received::Event(ReceivedEvent::from_proto(event, cursor)))
    };
    batch.events.into_iter().map(event).collect()
}
