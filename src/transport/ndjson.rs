//! A stream of events, one a line, answered line by line (contract §5).
//!
//! Invariants:
//! - lines are answered in their order, each once its event is durable; empty lines are passed
//!   over;
//! - at most [`limits::PUBLISH_STREAM_PIPELINE`] lines are on their way, and at most a stream's
//!   bytes of the publish queue; the sender is held back then;
//! - a line that cannot be published is answered with its problem and number, and the next one is
//!   read.

use crate::caller::Caller;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio_stream::Stream;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::metered::{Lines, Metered};
use super::problem::Problem;
use super::publish::{Published, parse_event};
use crate::bus::{Bus, PublishStream, Publishing};
use crate::error::{Error, Result};
use crate::limits;

#[derive(Serialize)]
struct LineFault<'e> {
    line: u64,
    error: Problem<'e>,
}

pub(crate) fn publish(bus: Bus, caller: &Caller, body: Body) -> Response {
    let closed = bus.clone();
    let lines = lines(Body::new(Metered::<Lines>::stream(bus.memory(), body)))
        .take_until(Box::pin(async move { closed.closed().await }));
    let answers = answers(bus, caller, lines).map(Ok::<_, Infallible>);
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that gathers answers would keep them from a sender that waits for them.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, Body::from_stream(answers)).into_response()
}

/// The body's lines. Ends at the first line that cannot be told from its neighbours.
fn lines(body: Body) -> impl Stream<Item = Result<String>> {
    let reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let lines = FramedRead::new(
        reader,
        LinesCodec::new_with_max_length(limits::MAX_LINE_BYTES),
    );
    let timed = tokio_stream::StreamExt::timeout(lines, limits::NDJSON_IDLE);
    timed.map(|line| match line {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(LinesCodecError::MaxLineLengthExceeded)) => Err(Error::too_large(format!(
            "the line has more than {} bytes",
            limits::MAX_LINE_BYTES
        ))),
        Ok(Err(LinesCodecError::Io(fault))) => Err(named(&fault)),
        Err(_) => Err(Error::bad_request(format!(
            "no line came for {} s",
            limits::NDJSON_IDLE.as_secs()
        ))),
    })
}

/// What the body says itself, as of memory or of time, or what happened to it.
fn named(fault: &io::Error) -> Error {
    let own = fault.get_ref().and_then(|fault| fault.source());
    match own.and_then(|fault| fault.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => Error::bad_request(format!("the stream broke off or is not UTF-8: {fault}")),
    }
}

/// One answer a line, in order, while up to a pipeline of events are being made durable.
fn answers<L: Stream<Item = Result<String>>>(
    bus: Bus,
    caller: &Caller,
    lines: L,
) -> impl Stream<Item = Bytes> + use<L> {
    let numbered = lines.zip(futures_util::stream::iter(1u64..));
    let until_broken = numbered.scan(false, |is_broken, (line, number)| {
        let item = (!*is_broken).then(|| (line.clone(), number));
        *is_broken |= line.is_err();
        std::future::ready(item)
    });
    let events = until_broken.filter(|(line, _)| {
        std::future::ready(!matches!(line, Ok(text) if text.trim().is_empty()))
    });
    // Queued one after the other, so that vids follow the order of lines; only the waiting
    // overlaps.
    let stream = Arc::new(bus.publish_stream(caller));
    let max_event_bytes = bus.options().max_event_bytes;
    let queued = events.then(move |(line, number)| {
        let stream = stream.clone();
        async move { (enqueue(&stream, line, max_event_bytes).await, number) }
    });
    queued
        .map(move |(publishing, number)| {
            let bus = bus.clone();
            async move { answer(&bus, publishing, number).await }
        })
        .buffered(limits::PUBLISH_STREAM_PIPELINE)
}

async fn enqueue(
    stream: &PublishStream,
    line: Result<String>,
    max_event_bytes: usize,
) -> Result<Publishing> {
    let event = parse_event(line?.as_bytes(), max_event_bytes)?;
    stream.enqueue_with_backpressure(vec![event]).await
}

async fn answer(bus: &Bus, publishing: Result<Publishing>, line: u64) -> Bytes {
    let receipts = match publishing {
        Ok(publishing) => publishing.done().await,
        Err(fault) => Err(fault),
    };
    let mut text = match &receipts {
        Ok(receipts) => serde_json::to_vec(&Published::of(bus, receipts[0])),
        Err(fault) => serde_json::to_vec(&LineFault {
            line,
            error: Problem::of(fault),
        }),
    }
    .expect("texts and numbers are JSON");
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::memory::MemoryBudget;

    #[tokio::test]
    async fn a_line_that_there_is_no_memory_for_says_so() {
        let memory = MemoryBudget::new(800);
        let begun = Body::from(vec![b'x'; 301]);
        let metered = Metered::<Lines>::stream(&memory, begun);
        let mut lines = Box::pin(lines(Body::new(metered)));
        let fault = lines.next().await.expect("a line").expect_err("no memory");
        assert_eq!(fault.kind(), ErrorKind::OutOfMemory);
    }
}
