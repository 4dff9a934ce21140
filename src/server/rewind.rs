//! The bytes that were read of a stream before its driver was known, read once more.
//!
//! Invariant: what was read comes first, once, and every byte after it as it came.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::layered::ReadLayer;

/// What was read already.
pub(super) struct Rewind(pub(super) Bytes);

impl ReadLayer for Rewind {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing is left of it for most of a connection's life.
        let Rewind(first) = self;
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
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::server::layered::Layered;

    #[tokio::test]
    async fn what_was_read_comes_first_and_once() {
        let mut read = Vec::new();
        let rewind = Rewind(Bytes::from_static(b"one "));
        let mut stream = Layered::new(rewind, &b"two"[..]);
        stream.read_to_end(&mut read).await.expect("bytes");
        assert_eq!(read, b"one two");
    }
}
