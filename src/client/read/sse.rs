//! Reading by Server-Sent Events.

use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::item::Received;
use super::sse_parser::{SseBlock, SseParser};
use super::{Incoming, ReadQuery, ended};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::ReceivedEvent;
use crate::client::http::{GatewayHttp, innermost, refusal};
use crate::client::token::BearerToken;
use crate::cursor::Cursor;

pub(super) fn read(http: GatewayHttp, query: ReadQuery) -> Incoming {
    try_stream! {
        let opening = http.with_fresh_token(|token| open(&http, &query, token));
        let (mut response, token) = opening.await?;
        yield Received::Opened;

        let mut parser = SseParser::new(query.most_wire_bytes);
        while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e))? {
            parser.take(&chunk).map_err(|_| too_long(query.most_wire_bytes))?;

            // Also bytes that complete nothing show that the connection is alive.
            yield Received::Activity;

            // One read may complete several blocks.
            while let Some(block) = parser.next_block() {
                for received in steps(block) {
                    let received = received?;
                    received.heed_expiry(&http, token.as_ref());
                    yield received;
                }
            }
        }
    }
    .boxed()
}

async fn open(
    http: &GatewayHttp,
    query: &ReadQuery,
    token: Option<BearerToken>,
) -> Result<reqwest::Response, ClientError> {
    // Only the parameters say where to resume: a Last-Event-ID would win over them.
    let request = http
        .get("/v1/sse", token.as_ref())
        .query(&query.parameters());
    let response = request.send().await.map_err(|e| http.no_answer(&e))?;
    if !response.status().is_success() {
        return Err(refusal(response, super::passes).await);
    }

    // A proxy may send a page of its own for a while.
    if !is_event_stream(&response) {
        let address = http.address();
        let text = format!("the answer is no event stream; is {address} the address of a gateway?");
        return Err(ended(&text).with_status(response.status().as_u16()));
    }
    Ok(response)
}

fn is_event_stream(response: &reqwest::Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);

    // Parameters, such as a charset, may follow.
    content_type.is_some_and(|text| text.as_bytes().starts_with(b"text/event-stream"))
}

fn broken(error: &reqwest::Error) -> ClientError {
    ClientError::unreachable(format!("the stream broke: {}", innermost(error)))
}

pub(super) fn too_long(most_bytes: usize) -> ClientError {
    let text = format!("an event has more than {most_bytes} bytes on the wire");
    ClientError::new(ClientErrorKind::TooLarge, text)
}

fn unreadable(what: &str, why: &str) -> ClientError {
    ended(&format!("{what} cannot be read: {why}"))
}

#[derive(Deserialize)]
struct ClosingFields {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    retry_ms: u32,
}

/// What a block says; a `retry:` goes before all else.
fn steps(block: SseBlock) -> impl Iterator<Item = Result<Received, ClientError>> {
    let retry = block
        .retry_ms
        .map(|pause_ms| Ok(Received::Retry(Duration::from_millis(pause_ms))));
    retry.into_iter().chain(step(block))
}

/// Names of a later version are passed over.
fn step(block: SseBlock) -> Option<Result<Received, ClientError>> {
    // A block without an id moves nothing, and one without data is no event.
    let SseBlock {
        id, event, data, ..
    } = block;
    let data = data.unwrap_or_default();
    let name = event.as_deref().unwrap_or_default();
    match name.strip_prefix("vidette.") {
        Some("hello") => Some(fields(name, &data).map(Received::Bounds)),
        Some("gap") => Some(fields(name, &data).map(Received::Gap)),
        Some("closing") => Some(fields(name, &data).map(closing)),
        Some("caught_up") => Some(cursor(&id?).map(Received::CaughtUp)),
        // A step that this version does not know may still move the position.
        Some(_) => Some(cursor(&id?).map(Received::Progress)),
        None if data.is_empty() => Some(cursor(&id?).map(Received::Progress)),
        None => Some(event_of(&id?, &data)),
    }
}

fn fields<T: DeserializeOwned>(name: &str, data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|error| unreadable(name, &error.to_string()))
}

fn closing(fields: ClosingFields) -> Received {
    Received::Closing {
        reason: fields.reason,
        retry: Duration::from_millis(fields.retry_ms.into()),
    }
}

fn cursor(id: &str) -> Result<Cursor, ClientError> {
    id.parse::<Cursor>()
        .map_err(|error| unreadable("the id of a block", &error.to_string()))
}

fn event_of(id: &str, data: &str) -> Result<Received, ClientError> {
    let cursor = cursor(id)?;
    let event = ReceivedEvent::from_json(data, |_| cursor);
    event
        .map(Received::Event)
        .map_err(|why| unreadable("an event", &why))
}
