//! A connection of HTTP/2 below its driver: the bytes that were read before the driver was known,
//! read once more, and an end that lets the last answer arrive.
//!
//! Invariants:
//! - what was read comes first, once, and every byte after it as it came;
//! - the stream is closed by its peer first, or after the bounds of [`Lingering`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::layered::ReadLayer;
use super::linger::Lingering;
use crate::limits;

/// What was read already, and how the connection ends.
pub(super) struct Rewind {
    first: Bytes,
    lingering: Lingering,
}

impl Rewind {
    pub(super) fn new(first: Bytes) -> Self {
        Rewind {
            first,
            lingering: Lingering::new(limits::LINGER_BYTES),
        }
    }
}

impl ReadLayer for Rewind {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing is left of it for most of a connection's life.
        let first = &mut self.first;
        if first.is_empty() {
            return Pin::new(stream).poll_read(context, out);
        }
        let count = out.remaining().min(first.len());
        out.put_slice(&first[..count]);
        first.advance(count);

        // Given back once it is read, as the connection may live for days.
        if first.is_empty() {
            *first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        // The peer opens its windows as it reads, and would be reset for that: a proxy whose write
        // fails drops the trailers that it has read already.
        self.lingering.poll(Pin::new(stream), context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::server::layered::Layered;

    #[tokio::test]
    async fn what_was_read_comes_first_and_once() {
        let mut read = Vec::new();
        let rewind = Rewind::new(Bytes::from_static(b"one "));
        let mut stream = Layered::new(rewind, &b"two"[..]);
        stream.read_to_end(&mut read).await.expect("bytes");
        assert_eq!(read, b"one two");
    }
}
