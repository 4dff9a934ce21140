//! Reading by gRPC.

use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::item::{LogBounds, Received};
use super::options::ReadStart;
use super::{Incoming, ReadQuery, ended};
use crate::client::error::ClientError;
use crate::client::event::ReceivedEvent;
use crate::client::grpc::{connect, error_of, text_of, with_token};
use crate::client::http::GatewayHttp;
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
                check_size(&received, query.most_wire_bytes)?;
                received.heed_expiry(&http, token.as_ref());
                yield received;
            }
        }
    }
    .boxed()
}

/// Data has no other form here, so it is shorter than it may be over HTTP.
fn check_size(received: &Received, most_wire_bytes: usize) -> Result<(), ClientError> {
    match received {
        Received::Event(event) if event.data.len() > most_wire_bytes => {
            Err(super::sse::too_long(most_wire_bytes))
        }
        _ => Ok(()),
    }
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
