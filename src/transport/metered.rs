//! Request bodies that are read message by message, with what they make the gateway hold.
//!
//! Invariants:
//! - a message that is not complete is paid from the memory budget as it arrives; as the reader
//!   behind keeps its buffer, what was paid is given back when the request has ended;
//! - a message that has begun is complete in time, or the request is given up; between messages a
//!   stream may rest;
//! - a sender that is held back is not hurried: time counts only while the gateway waits for bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, Result};
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// Finds where messages end.
pub(super) trait Framing {
    /// Takes the next bytes. Gives how many bytes of a message that is not complete there are then.
    fn advance(&mut self, piece: &[u8]) -> usize;
}

/// Lines of text.
#[derive(Default)]
pub(super) struct Lines {
    unfinished_bytes: usize,
}

impl Framing for Lines {
    fn advance(&mut self, piece: &[u8]) -> usize {
        self.unfinished_bytes = match memchr::memrchr(b'\n', piece) {
            Some(end) => piece.len() - end - 1,
            None => self.unfinished_bytes + piece.len(),
        };
        self.unfinished_bytes
    }
}

/// What stands before a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Messages of gRPC, each behind its length.
#[derive(Default)]
pub(super) struct GrpcMessages {
    prefix: [u8; PREFIX_BYTES],
    /// Of the prefix and the message behind it, so much is there.
    arrived_bytes: usize,
}

impl GrpcMessages {
    /// What is needed at the moment: the prefix, or all that it announces.
    fn needed_bytes(&self) -> usize {
        if self.arrived_bytes < PREFIX_BYTES {
            return PREFIX_BYTES;
        }
        let [_, length @ ..] = self.prefix;
        PREFIX_BYTES + u32::from_be_bytes(length) as usize
    }
}

impl Framing for GrpcMessages {
    fn advance(&mut self, mut piece: &[u8]) -> usize {
        while !piece.is_empty() {
            let missing = self.needed_bytes() - self.arrived_bytes;
            let (taken, rest) = piece.split_at(missing.min(piece.len()));
            if self.arrived_bytes < PREFIX_BYTES {
                let end = self.arrived_bytes + taken.len();
                self.prefix[self.arrived_bytes..end].copy_from_slice(taken);
            }
            self.arrived_bytes += taken.len();
            piece = rest;
            // A whole prefix may announce nothing, and then it is a whole message, too.
            if self.arrived_bytes >= PREFIX_BYTES && self.arrived_bytes == self.needed_bytes() {
                self.arrived_bytes = 0;
            }
        }
        self.arrived_bytes
    }
}

/// A body that is paid for and timed.
pub(super) struct Metered<F> {
    body: Body,
    framing: F,
    /// The request is one message, and its end belongs to it.
    is_single: bool,
    held: Reservation,
    /// When the message began that is not complete.
    begun: Option<Instant>,
    /// Runs while its bytes are waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<F: Framing + Default> Metered<F> {
    /// A body of many messages, with any time between them.
    pub(super) fn stream(memory: &MemoryBudget, body: Body) -> Self {
        Metered {
            body,
            framing: F::default(),
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

impl<F: Framing> Metered<F> {
    fn take(&mut self, piece: &Bytes) -> Result<()> {
        let unfinished_bytes = self.framing.advance(piece);
        if unfinished_bytes > 0 {
            // The reader has what is unfinished in its buffer, and gets this piece.
            let needed = unfinished_bytes + piece.len();
            self.held.grow(needed.saturating_sub(self.held.bytes()))?;
        }
        if !self.is_single && unfinished_bytes <= piece.len() {
            (self.begun, self.deadline) = ((unfinished_bytes > 0).then(Instant::now), None);
        }
        Ok(())
    }

    /// Ready when the rest of a message has been waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let Some(begun) = self.begun else {
            return Poll::Pending;
        };
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(begun + limits::BODY_TIMEOUT)));
        ready!(deadline.as_mut().poll(context));
        let seconds = limits::BODY_TIMEOUT.as_secs();
        Poll::Ready(Error::bad_request(format!(
            "a message was not complete after {seconds} s; send it faster or in parts"
        )))
    }
}

impl<F: Framing + Unpin> HttpBody for Metered<F> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.poll_late(context).map(|late| Some(Err(late)));
        };
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|fault| broke_off(&fault))?;
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

fn broke_off(fault: &axum::Error) -> Error {
    Error::bad_request(format!("the request broke off: {fault}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{iter, pending};
    use futures_util::{FutureExt as _, StreamExt as _};
    use http_body_util::BodyExt as _;

    use super::*;

    fn advance(mut framing: impl Framing, pieces: &[&[u8]]) -> Vec<usize> {
        pieces.iter().map(|piece| framing.advance(piece)).collect()
    }

    #[test]
    fn what_is_unfinished_is_counted() {
        let lines: [&[u8]; 5] = [b"ab", b"c", b"d\ne", b"\n", b"f\ng\n"];
        assert_eq!(advance(Lines::default(), &lines), [2, 3, 1, 0, 0]);
        let messages: [&[u8]; 7] = [
            b"\0\0\0",           // a prefix, …
            b"\0\x02",           // … its end, …
            b"a",                // … its message, …
            b"b\0\0\0\0\0\0",    // … its end, an empty message, and a prefix again
            b"\0\0\0\x01",       // its end
            b"c\x01\0\0\0\x01d", // its message, and another one
            b"\0\0\0\0\0\0\0\0\0\x01",
        ];
        assert_eq!(
            advance(GrpcMessages::default(), &messages),
            [3, 5, 6, 1, 5, 0, 5]
        );
    }

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
        let fault = next().expect_err("more than the share of bodies");
        assert_eq!(fault.kind(), crate::error::ErrorKind::OutOfMemory);
        drop(metered);
        assert_eq!(paid(), 0);
    }
}
