//! Reading by gRPC.

use std::time::Duration;

use async_stream::stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::item::{GapReport, LogBounds, Received};
use super::options::ReadStart;
use super::{Incoming, ReadQuery, ended};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::ReceivedEvent;
use crate::client::http::{USER_AGENT, innermost, no_gateway};
use crate::cursor::Cursor;
use crate::limits;
use crate::proto::event_bus_client::EventBusClient;
use crate::proto::subscribe_response::Message;
use crate::proto::{self, EventBatch, OnGap, SubscribeRequest, SubscribeResponse};

pub(super) fn read(url: String, query: ReadQuery) -> Incoming {
    stream! {
        let mut responses = match subscribe(&url, query).await {
            Ok(responses) => responses,
            Err(error) => {
                yield Err(error);
                return;
            }
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => {
                    for received in response.message.into_iter().flat_map(steps) {
                        yield received;
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    yield Err(error_of(&status));
                    return;
                }
            }
        }
    }
    .boxed()
}

async fn subscribe(
    url: &str,
    query: ReadQuery,
) -> Result<Streaming<SubscribeResponse>, ClientError> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(|error| ClientError::new(ClientErrorKind::Address, innermost(&error)))?;
    let channel = endpoint
        .connect_timeout(limits::READ_HELLO_TIMEOUT)
        .connect()
        .await
        .map_err(|error| ClientError::unreachable(no_gateway(url, &innermost(&error))))?;

    let mut client =
        EventBusClient::new(channel).max_decoding_message_size(limits::READ_ANSWER_BYTES);
    let response = client.subscribe(request(query)).await;
    Ok(response.map_err(|status| error_of(&status))?.into_inner())
}

fn request(query: ReadQuery) -> SubscribeRequest {
    let mut request = SubscribeRequest {
        topic: query.topics,
        ..SubscribeRequest::default()
    };
    match query.start {
        ReadStart::Latest => {}
        ReadStart::After(cursor) => request.after = cursor,
        ReadStart::Since(time) => request.since = time,
        ReadStart::Snapshot => request.snapshot = true,
    }
    if query.fails_at_gap {
        request.set_on_gap(OnGap::Fail);
    }
    request
}

/// What a status that ends the call means.
fn error_of(status: &Status) -> ClientError {
    let text = format!("{:?}: {}", status.code(), status.message());
    let kind = match status.code() {
        Code::OutOfRange => return gap_of(status).map_or_else(|| refused(&text), ClientError::gap),
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => return refused(&text),
        _ => ClientErrorKind::Unavailable,
    };

    let pause = status
        .get_error_details()
        .retry_info()
        .and_then(|info| info.retry_delay)
        .unwrap_or_default();
    ClientError::new(kind, text).with_retry_after(pause)
}

fn refused(text: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Refused, text)
}

/// The gap that stands in the details of a status.
fn gap_of(status: &Status) -> Option<GapReport> {
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
    let end = match cursor(&batch.cursor) {
        Ok(end) => end,
        Err(error) => return vec![Err(error)],
    };
    let cursor_of = |vid| Cursor {
        vid,
        epoch: end.epoch.clone(),
    };
    batch
        .events
        .into_iter()
        .map(|event| {
            let cursor = cursor_of(event.vid);
            Ok(Received::Event(ReceivedEvent::from_proto(event, cursor)))
        })
        .collect()
}
