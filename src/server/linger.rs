//! The end of a connection whose last answer has to arrive (RFC 9112 §9.6).
//!
//! A socket that is closed while something lies unread in it is reset, and its peer loses what it
//! has not read yet: a refusal, as a rule. So the sending side is closed first, and what still
//! comes is discarded for a while. Invariant: bounded in time by [`limits::LINGER`] and in bytes.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::io::Io;
use crate::limits;

/// Bytes that are discarded at once.
const READ_BYTES: usize = 4096;

/// Reads and discards, to the end or to a bound.
pub(super) struct Lingering {
    bytes_left: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// For so many bytes at most.
    pub(super) fn new(bytes: usize) -> Self {
        Lingering {
            bytes_left: bytes,
            timer: None,
        }
    }

    /// Ready when the peer has closed, too, or has had its time.
    pub(super) fn poll(
        &mut self,
        mut stream: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(limits::LINGER)));
        // Whatever ends it, the peer has had its time to read the answer.
        while self.bytes_left > 0 && timer.as_mut().poll(context).is_pending() {
            let count = ready!(poll_discard(stream.as_mut(), context));
            if count == 0 {
                break;
            }
            self.bytes_left = self.bytes_left.saturating_sub(count);
        }
        Poll::Ready(())
    }
}

/// Reads and discards some bytes; none at the end, or when the stream is broken.
fn poll_discard(stream: Pin<&mut impl AsyncRead>, context: &mut Context<'_>) -> Poll<usize> {
    let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
    let mut bytes = ReadBuf::uninit(&mut bytes);
    let read = ready!(stream.poll_read(context, &mut bytes));
    Poll::Ready(read.map_or(0, |()| bytes.filled().len()))
}

/// Closes the sending side, and waits for the peer to close its own.
pub(super) async fn close(io: &mut Io, bytes: usize) {
    if io.shutdown().await.is_ok() {
        let mut lingering = Lingering::new(bytes);
        std::future::poll_fn(|context| lingering.poll(Pin::new(&mut *io), context)).await;
    }
}
