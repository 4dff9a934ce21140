//! `GET /v1/sse`: Server-Sent Events, until closed (contract §5; WHATWG HTML, "Server-sent
//! events").
//!
//! Invariant: what differs between subscribers is only which blocks they get; the blocks themselves
//! are made in [`blocks`].

pub(crate) mod blocks;

use std::io;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::Instant;
use tokio_stream::Stream;

use super::access::RequestCaller;
use super::closing::opened_and_closed;
use super::headers::{set, text, unbuffered};
use super::params::Params;
use super::peer::PeerWatch;
use super::reader::Reader;
use super::request::{HttpSubscribe, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Closing, OnGap, Step, SubscribeRequest};
use crate::error::{ErrorKind, Result};
use crate::metrics::Transport;
use blocks::{SseFormat, batch_blocks, error_block, step_block};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The parameters by which polyfills that cannot set the header say where they resume (contract
/// §3).
const LAST_EVENT_ID_PARAMS: [&str; 4] = [
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "evs_last_event_id",
];

pub(super) async fn sse(
    State(state): State<AppState>,
    peer: PeerWatch,
    caller: Result<RequestCaller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let readers = &state.bus.metrics().readers;
    let caller = match caller {
        Ok(caller) => caller,
        // Who is known later may come back.
        Err(error) if error.kind() == ErrorKind::KeysUnavailable => {
            return opened_and_closed(readers, error, sse_headers(), Closing::because);
        }
        Err(error) => return Err(error),
    };
    // A mistake in the request is a status: coming back would not help.
    let params = Params::of(&state, query.as_deref())?;
    let (request, rendering) = parse(params, last_event_id(&headers)?)?;
    // An EventSource gives up on a status, so what passes by itself is a stream that ends.
    let opening = Reader::open(&state.bus, &caller, request, (Transport::Sse, peer));
    let reader = match opening.await {
        Ok(reader) => reader,
        Err(error) => {
            let closing = |reason| state.bus.closing_of_newcomer(reason);
            return opened_and_closed(readers, error, sse_headers(), closing);
        }
    };
    let blocks = blocks(reader, rendering);
    Ok((sse_headers(), Body::from_stream(blocks)).into_response())
}

fn parse(mut params: Params<'_>, header: Option<&str>) -> Result<(SubscribeRequest, Rendering)> {
    let format = take_format(&mut params)?;
    let parameter = params.take_any(&LAST_EVENT_ID_PARAMS)?;
    // The header comes from the EventSource itself, and is newer than what its address says.
    let last_event_id = header.or(parameter.as_deref());
    let asked = HttpSubscribe::take(&mut params, last_event_id)?;
    params.finish(&format!("{SUBSCRIBE_PARAMS}, format, lastEventId"))?;

    let rendering = Rendering {
        format,
        on_gap: asked.subscribe.on_gap,
        wait: asked.wait,
    };
    Ok((asked.subscribe, rendering))
}

fn take_format(params: &mut Params<'_>) -> Result<SseFormat> {
    let expected = || "neither object nor raw nor cloudevents";
    let format = params.take_parsed("format", parse_format, expected)?;
    Ok(format.unwrap_or(SseFormat::Object))
}

fn parse_format(text: &str) -> Option<SseFormat> {
    match text {
        "object" => Some(SseFormat::Object),
        "raw" => Some(SseFormat::Raw),
        "cloudevents" => Some(SseFormat::CloudEvents),
        _ => None,
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>> {
    let id = text(headers, &LAST_EVENT_ID)?;
    // Empty is what an EventSource has before its first event.
    Ok(id.filter(|id| !id.is_empty()))
}

fn sse_headers() -> HeaderMap {
    let mut headers = unbuffered(EVENT_STREAM);
    // A proxy that compressed the stream would gather it, too.
    set(
        &mut headers,
        header::CACHE_CONTROL,
        "no-store, no-transform",
    );
    headers
}

/// How this stream differs from others.
#[derive(Clone, Copy)]
struct Rendering {
    format: SseFormat,
    on_gap: OnGap,
    /// End after so long at the live end without an event.
    wait: Option<Duration>,
}

fn blocks(mut reader: Reader, rendering: Rendering) -> impl Stream<Item = io::Result<Bytes>> {
    stream! {
        let mut quiet_since = Instant::now();
        loop {
            let step = match rendering.wait {
                // Boxed to keep the idle future of a stream without an end small: it has no timer.
                Some(wait) => {
                    let until = quiet_since + wait;
                    Box::pin(reader.next_until(until)).await
                }
                None => reader.next().await,
            };
            let next = NextBlock::of(&reader, step, rendering);
            // No step: the wait at the live end is over, or the peer has left.
            let Some(block) = next.block else { break };
            yield block;
            if next.is_last {
                break;
            }
            // Heartbeats and gaps do not prolong the stream, events do.
            if !next.is_quiet {
                quiet_since = Instant::now();
            }
        }
    }
}

/// What is written next.
struct NextBlock {
    block: Option<io::Result<Bytes>>,
    /// Nothing is written behind it.
    is_last: bool,
    /// It does not start the quiet time anew after which a stream may end.
    is_quiet: bool,
}

impl NextBlock {
    fn of(reader: &Reader, next: Result<Option<Step>>, rendering: Rendering) -> Self {
        NextBlock {
            is_quiet: !is_of_events(&next),
            is_last: next.is_err(),
            block: match next {
                Ok(step) => step.map(|step| Ok(encoded(reader, step, rendering.format))),
                Err(error) => Some(error_block(&error, rendering.on_gap)),
            },
        }
    }
}

fn is_of_events(next: &Result<Option<Step>>) -> bool {
    matches!(next, Ok(Some(Step::Events(..) | Step::CaughtUp(_))))
}

fn encoded(reader: &Reader, step: Step, format: SseFormat) -> Bytes {
    let log = reader.subscription.log();
    match step {
        Step::Events(events, _) => {
            let blocks = batch_blocks(log, &events, format);
            reader.count_page(&events, blocks.len());
            // Paid from the memory budget until the connection has taken them.
            reader.subscription.memory().share(blocks)
        }
        step => {
            let block = step_block(log, step);
            reader.count_bytes(block.len());
            block
        }
    }
}
