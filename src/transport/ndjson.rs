//! A stream of events, one a line, answered line by line (contract §5).
//!
//! Invariants:
//! - lines are answered in their order, each once its event is durable; empty lines are passed
//!   over;
//! - at most [`limits::PUBLISH_STREAM_PIPELINE`] lines are on their way, and at most a stream's
//!   bytes of the publish queue; beyond that, no more of the body is read;
//! - a line that cannot be published is answered with its problem and number, and the next one is
//!   read.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio_stream::Stream;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::event_input::parse_event;
use super::headers::unbuffered;
use super::json::to_json;
use super::metered::{Lines, Metered};
use super::problem::Problem;
use super::receipts::PublishedEvent;
use super::trace_parent::{TracedRequest, TracedStream};
use super::until_ended::until_ended;
use crate::bus::{Bus, PublishStream, Publishing};
use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// The answer to a line that could not be published.
#[derive(Serialize)]
struct RefusedLine<'e> {
    line: u64,
    error: Problem<'e>,
}

pub(crate) fn publish(bus: Bus, caller: &Caller, body: Body, traces: TracedStream) -> Response {
    let metered = Metered::<Lines>::stream(bus.memory(), body);
    let lines = lines(Body::new(metered));
    let answers = answers(bus, caller, lines, traces).map(Ok::<_, Infallible>);
    // A sender waits for answers before it sends on, so a proxy must not gather them.
    let headers = unbuffered(NDJSON);
    (headers, Body::from_stream(answers)).into_response()
}

/// The body's lines. Ends at the first error: what follows cannot be divided into lines.
fn lines(body: Body) -> impl Stream<Item = Result<String>> {
    let pieces = body.into_data_stream().map_err(io::Error::other);
    // A line is bounded, and so is the time between two of them.
    let codec = LinesCodec::new_with_max_length(limits::MAX_LINE_BYTES);
    let lines = FramedRead::new(StreamReader::new(pieces), codec);
    let timed = tokio_stream::StreamExt::timeout(lines, limits::NDJSON_IDLE);
    timed.map(|line| line.map_or_else(|_| Err(idle()), readable))
}

fn readable(line: std::result::Result<String, LinesCodecError>) -> Result<String> {
    line.map_err(|error| match error {
        LinesCodecError::MaxLineLengthExceeded => too_long(),
        LinesCodecError::Io(error) => broken_off(&error),
    })
}

fn too_long() -> Error {
    let most = limits::MAX_LINE_BYTES;
    Error::too_large(format!("the line has more than {most} bytes"))
}

fn idle() -> Error {
    let seconds = limits::NDJSON_IDLE.as_secs();
    Error::bad_request(format!("no line came for {seconds} s"))
}

/// The body's own error, as of memory or of time, or what happened to the connection.
fn broken_off(error: &io::Error) -> Error {
    // The body's errors come wrapped twice, by axum and by the reader of lines.
    let own = error.get_ref().and_then(|error| error.source());
    match own.and_then(|error| error.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => unreadable(error),
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::bad_request(format!("the stream broke off or is not UTF-8: {error}"))
}

/// One answer a line, in order, while up to a pipeline of events are being made durable.
fn answers<L: Stream<Item = Result<String>>>(
    bus: Bus,
    caller: &Caller,
    lines: L,
    traces: TracedStream,
) -> impl Stream<Item = Bytes> + use<L> {
    // Queued one after the other, so that vids follow the order of lines; only the waiting
    // overlaps.
    let stream = Arc::new(bus.publish_stream(caller));
    let lines = until_ended(lines, stream.ended(), last_line);
    let max_event_bytes = bus.options().max_event_bytes;
    let queued = numbered(lines).then(move |(line, number)| {
        let (stream, traces) = (stream.clone(), traces.clone());
        async move {
            let queued = enqueue(&stream, line, max_event_bytes, &traces).await;
            (queued, number)
        }
    });

    let answers = queued.map(move |(publishing, number)| {
        let bus = bus.clone();
        async move { answer(&bus, publishing, number).await }
    });
    answers.buffered(limits::PUBLISH_STREAM_PIPELINE)
}

/// When the gateway closes, no more lines are read; those that were are still answered. When the
/// publisher's credentials have ended, the next line is answered with that.
fn last_line(why: Error) -> Option<Result<String>> {
    (why.kind() == ErrorKind::Unauthenticated).then_some(Err(why))
}

/// The lines that are to be answered, with their numbers from 1; a line that cannot be read is the
/// last.
fn numbered(
    lines: impl Stream<Item = Result<String>>,
) -> impl Stream<Item = (Result<String>, u64)> {
    let until_broken = lines.scan(false, |is_broken, line| {
        let is_behind_error = std::mem::replace(is_broken, line.is_err());
        ready((!is_behind_error).then_some(line))
    });
    // Empty lines are counted, so that a number is that of an editor.
    let numbered = until_broken.zip(futures_util::stream::iter(1u64..));
    numbered.filter(|(line, _)| ready(!is_empty(line)))
}

fn is_empty(line: &Result<String>) -> bool {
    line.as_ref().is_ok_and(|text| text.trim().is_empty())
}

async fn enqueue(
    stream: &PublishStream,
    line: Result<String>,
    max_event_bytes: usize,
    traces: &TracedStream,
) -> Result<(Publishing, TracedRequest)> {
    let events = vec![parse_event(line?.as_bytes(), max_event_bytes)?];
    let mut trace = traces.begin(&events);
    // Waits while the queue has no space, and so does the sender.
    let queued = stream.enqueue_with_backpressure(trace.batch(events)).await;
    match queued {
        Ok(publishing) => Ok((publishing, trace)),
        Err(error) => trace.end(Err(error)),
    }
}

async fn answer(bus: &Bus, queued: Result<(Publishing, TracedRequest)>, line: u64) -> Bytes {
    // An error of reading the line, of the queue or of the log: each has the line's number.
    let receipts = match queued {
        Ok((publishing, trace)) => trace.end_with(publishing.done().await),
        Err(error) => Err(error),
    };
    match receipts {
        Ok(receipts) => json_line(&PublishedEvent::of(bus, receipts[0])),
        Err(error) => refused_line(line, &error),
    }
}

fn refused_line(line: u64, error: &Error) -> Bytes {
    let error = Problem::of(error);
    json_line(&RefusedLine { line, error })
}

fn json_line(answer: &impl Serialize) -> Bytes {
    let mut json = to_json(answer);
    json.push(b'\n');
    json.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBudget;

    #[tokio::test]
    async fn a_line_beyond_the_memory_budget_is_refused() {
        let memory = MemoryBudget::new(800);
        let begun = Body::from(vec![b'x'; 301]);
        let metered = Metered::<Lines>::stream(&memory, begun);
        let mut lines = Box::pin(lines(Body::new(metered)));
        let error = lines.next().await.expect("a line").expect_err("no memory");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }
}
