//! Request bodies that are read message by message, within bounds of memory and time.
//!
//! Invariants:
//! - a message that is not complete is paid from the memory budget as it arrives; as the reader
//!   behind keeps its buffer, what was paid is given back when the request has ended;
//! - a message that has begun is complete in time, or the request is given up; between messages a
//!   stream may rest;
//! - backpressure does not count against a sender: time runs only while the gateway waits for
//!   bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::message_ends::MessageEnds;
pub(super) use super::message_ends::{GrpcMessages, Lines};
use super::receive::too_slow;
use crate::error::{Error, Result};
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// A body that is paid for and timed.
pub(super) struct Metered<E> {
    body: Body,
    ends: E,
    /// The request is one message, and its end belongs to it.
    is_single: bool,
    held: Reservation,
    /// When the message that is not complete began.
    begun: Option<Instant>,
    /// When it has to be complete; made once it is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<E: Default> Metered<E> {
    /// A body of any number of messages, with any time between them.
    pub(super) fn stream(memory: &MemoryBudget, body: Body) -> Self {
        Metered {
            body,
            ends: E::default(),
            is_single: false,
            held: memory.charge(MemoryKind::Body, 0),
            begun: None,
            deadline: None,
        }
    }

    /// A body of one message, which has to end in time.
    pub(super) fn single(memory: &MemoryBudget, body: Body) -> Self {
        Metered {
            is_single: true,
            begun: Some(Instant::now()),
            ..Self::stream(memory, body)
        }
    }
}

impl<E: MessageEnds> Metered<E> {
    fn take(&mut self, piece: &Bytes) -> Result<()> {
        let unfinished_bytes = self.ends.advance(piece);
        if unfinished_bytes > 0 {
            // The reader has what is unfinished in its buffer, and gets this piece.
            let needed = unfinished_bytes + piece.len();
            self.held.grow(needed.saturating_sub(self.held.bytes()))?;
        }
        // Where a message ended within this piece, the time of the next one begins with it.
        if !self.is_single && unfinished_bytes <= piece.len() {
            self.begun = (unfinished_bytes > 0).then(Instant::now);
            self.deadline = None;
        }
        Ok(())
    }

    /// Ready when the rest of a message has been waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let Some(begun) = self.begun else {
            return Poll::Pending;
        };
        // A timer is made only for a message that does not arrive at once.
        let sleep = || Box::pin(sleep_until(begun + limits::BODY_TIMEOUT));
        let deadline = self.deadline.get_or_insert_with(sleep);
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(too_slow("a message"))
    }
}

impl<E: MessageEnds + Unpin> HttpBody for Metered<E> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        // While the body has nothing, the time of a message that has begun runs.
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.poll_late(context).map(|late| Some(Err(late)));
        };
        // What was paid is given back when the request is dropped, not at its end.
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        // Trailers are passed on as they are.
        let frame = frame.map_err(|error| broken_off(&error))?;
        if let Some(piece) = frame.data_ref() {
            self.take(piece)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn broken_off(error: &axum::Error) -> Error {
    Error::bad_request(format!("the request broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{iter, pending};
    use futures_util::{FutureExt as _, StreamExt as _};
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(pieces: &[&'static [u8]]) -> Body {
        let pieces = pieces.iter().copied().map(Bytes::from_static);
        let pieces: Vec<_> = pieces.map(Ok::<_, Infallible>).collect();
        Body::from_stream(iter(pieces).chain(pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_has_to_be_complete_in_time_and_a_stream_may_rest() {
        let memory = MemoryBudget::new(1 << 20);
        let rests = Metered::<Lines>::stream(&memory, body(&[b"one\ntwo\n"]));
        let mut rests = Box::pin(rests.collect());
        let long = tokio::time::timeout(limits::NDJSON_IDLE, &mut rests).await;
        long.expect_err("nothing has to come");

        let begins = Metered::<Lines>::stream(&memory, body(&[b"one\ntw"]));
        let late = begins.collect().await.expect_err("the rest does not come");
        assert!(late.to_string().contains("60 s"), "{late}");
        let single = Metered::<GrpcMessages>::single(&memory, body(&[b"\0\0\0\0\0"]));
        single.collect().await.expect_err("its end does not come");
    }

    #[tokio::test]
    async fn what_is_unfinished_is_paid_until_the_request_ends() {
        let memory = MemoryBudget::new(120);
        let paid = || memory.used_bytes(MemoryKind::Body);
        let mut metered = Metered::<Lines>::stream(
            &memory,
            body(&[b"one\ntwo\n", b"three", b"\nfour", &[0; 30]]),
        );
        let mut next = || metered.frame().now_or_never().flatten().expect("a frame");
        next().expect("two lines");
        assert_eq!(paid(), 0);
        next().expect("a part");
        assert_eq!(paid(), 10);
        next().expect("another");
        assert_eq!(paid(), 10);
        let error = next().expect_err("more than the share of bodies");
        assert_eq!(error.kind(), crate::error::ErrorKind::OutOfMemory);
        drop(metered);
        assert_eq!(paid(), 0);
    }
}
