//! `grpc-timeout`: how long a client waits for a call (gRPC over HTTP/2, "Timeout").
//!
//! Invariants:
//! - the time runs from the arrival of the request's head to the end of the answer, so a stream of
//!   a subscription or of publishes ends with it, too;
//! - a call that is over in time is answered as it would be without a deadline; one that is not
//!   ends with `DEADLINE_EXCEEDED`, and what it held is given back.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;

use super::subscribe::trailers;
use crate::error::{Error, Result};

const TIMEOUT: &str = "grpc-timeout";
/// Longest number of a timeout, in digits.
const MAX_DIGITS: usize = 8;

/// Answers a call within its deadline, where it has one.
pub(super) async fn within_deadline(request: Request, next: Next) -> Response {
    let timeout = match timeout_of(request.headers()) {
        Ok(timeout) => timeout,
        Err(error) => return Status::from(error).into_http(),
    };
    // A deadline that is further away than any clock goes is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let Some(deadline) = deadline else {
        return next.run(request).await;
    };
    // Boxed to keep the future of a call without a deadline small.
    match Box::pin(timeout_at(deadline, next.run(request))).await {
        Ok(answer) => answer.map(|body| Body::new(EndsAt::new(body, deadline))),
        Err(_) => exceeded().into_http(),
    }
}

fn exceeded() -> Status {
    Status::deadline_exceeded("the call took longer than its grpc-timeout")
}

/// The time that a call may take: up to eight digits and a unit.
fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>> {
    headers.get(TIMEOUT).map(timeout).transpose()
}

fn timeout(value: &HeaderValue) -> Result<Duration> {
    let timeout = value.to_str().ok().and_then(parse);
    timeout.ok_or_else(bad_timeout)
}

fn bad_timeout() -> Error {
    Error::bad_request(format!(
        "grpc-timeout is not up to {MAX_DIGITS} digits and a unit (H, M, S, m, u, n)"
    ))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = parse_digits(digits)?;
    // Eight digits fit, whatever the unit.
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// A number of digits alone: `parse` would take a sign, too.
fn parse_digits(digits: &str) -> Option<u64> {
    if digits.len() > MAX_DIGITS || digits.starts_with('+') {
        return None;
    }
    digits.parse().ok()
}

/// An answer's body that ends at a time, with trailers that say so.
struct EndsAt {
    /// None when it has ended: then what stands behind it is given back at once.
    body: Option<Body>,
    deadline: Pin<Box<Sleep>>,
}

impl EndsAt {
    fn new(body: Body, deadline: Instant) -> Self {
        EndsAt {
            body: Some(body),
            deadline: Box::pin(sleep_until(deadline)),
        }
    }
}

impl HttpBody for EndsAt {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledFrame {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        // The time also ends a stream that always has a frame ready, but not an answer that is over
        // by now.
        let is_over = matches!(&frame, Poll::Ready(None)) || is_trailers(&frame);
        if is_over || self.deadline.as_mut().poll(context).is_pending() {
            return frame;
        }

        // Dropped here, not with the call: what stands behind it is given back at once.
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&exceeded())))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}

type PolledFrame = Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>>;

fn is_trailers(frame: &PolledFrame) -> bool {
    matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.is_trailers())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn past() -> Instant {
        Instant::now() - Duration::from_secs(1)
    }

    async fn frames(body: EndsAt) -> Vec<Frame<Bytes>> {
        let mut body = body;
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.expect("no error"));
        }
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends_with_its_deadline() {
        for is_busy in [false, true] {
            let pieces = stream::repeat(Ok::<_, Infallible>(Bytes::from_static(b"piece")));
            let body = if is_busy {
                Body::from_stream(pieces)
            } else {
                Body::from_stream(pieces.take(1).chain(stream::pending()))
            };
            // Time stands still where nobody waits, so there it has run out before.
            let now = Instant::now();
            let deadline = if is_busy {
                past()
            } else {
                now + Duration::from_secs(9)
            };
            let last = frames(EndsAt::new(body, deadline)).await.pop();
            let last = last.and_then(|frame| frame.into_trailers().ok());
            assert_eq!(last.expect("trailers")["grpc-status"], "4", "{is_busy}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_over_keeps_its_own_status() {
        let status = trailers(&Status::not_found("x"));
        let only = stream::iter([Ok::<_, std::io::Error>(Frame::<Bytes>::trailers(status))]);
        let body = Body::new(StreamBody::new(only));
        let frames = frames(EndsAt::new(body, past())).await;
        let [last] = &frames[..] else {
            panic!("{} frames", frames.len())
        };
        assert_eq!(last.trailers_ref().expect("trailers")["grpc-status"], "5");
    }

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (text, nanos) in [
            ("0n", 0),
            ("1n", 1),
            ("2u", 2_000),
            ("3m", 3_000_000),
            ("99999999S", 99_999_999_000_000_000),
            ("1M", 60_000_000_000),
            ("1H", 3_600_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert!(parse("99999999H").is_some());
        for wrong in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1.5S",
            "100000000S",
            "1 S",
            "1é",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
