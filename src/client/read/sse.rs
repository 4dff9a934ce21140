//! Reading by Server-Sent Events.

use std::time::Duration;

use async_stream::stream;
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::item::Received;
use super::sse_parser::{SseBlock, SseParser};
use super::{Incoming, ReadQuery, ended};
use crate::client::error::ClientError;
use crate::client::event::ReceivedEvent;
use crate::client::http::{GatewayHttp, innermost, refusal};
use crate::cursor::Cursor;
use crate::limits;

pub(super) fn read(http: GatewayHttp, query: ReadQuery) -> Incoming {
    stream! {
        let response = match open(&http, &query).await {
            Ok(response) => response,
            Err(error) => {
                yield Err(error);
                return;
            }
        };

        let mut parser = SseParser::new(limits::READ_ANSWER_BYTES);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            // Also bytes that complete nothing show that the connection is alive.
            yield chunk
                .map_err(|error| broken(&innermost(&error)))
                .and_then(|chunk| parser.take(&chunk).map_err(|_| too_long()))
                .map(|()| Received::Activity);
            while let Some(block) = parser.next_block() {
                for received in steps(block) {
                    yield received;
                }
            }
        }
    }
    .boxed()
}

/// Asks for the stream. A page that a proxy sends in its place is an error that passes.
async fn open(http: &GatewayHttp, query: &ReadQuery) -> Result<reqwest::Response, ClientError> {
    let request = http.get("/v1/sse").query(&query.parameters());
    let response = request.send().await.map_err(|e| http.no_answer(&e))?;
    if !response.status().is_success() {
        return Err(refusal(response, super::passes).await);
    }

    let content_type = response.headers().get(CONTENT_TYPE);
    let is_stream = content_type
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/event-stream"));
    if is_stream {
        Ok(response)
    } else {
        Err(ended(&format!(
            "the answer is no event stream; is {} the address of a gateway?",
            http.url()
        )))
    }
}

fn broken(cause: &str) -> ClientError {
    ClientError::unreachable(format!("the stream broke: {cause}"))
}

fn too_long() -> ClientError {
    let most = limits::READ_ANSWER_BYTES;
    ClientError::protocol(format!("an event has more than {most} bytes"))
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
