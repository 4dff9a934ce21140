//! A connection whose first request may have `<` and `>` in its address.
//!
//! RFC 3986 wants them percent-encoded, and hyper answers 400 where they are not; but `>` is a wildcard here, and
//! `curl '…?topic=door.>'` is what a person types first. Browsers and libraries encode it themselves. Invariants:
//! - only the first line of a connection is looked at, where no body can stand;
//! - every other byte passes as it came.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the first read, in which the first line is usually whole. One that is not is left as it is.
const FIRST_READ_BYTES: usize = 4096;

/// A stream that mends its first line.
pub(super) struct MendedTarget<S> {
    stream: S,
    first: First,
}

enum First {
    /// Nothing has been read yet.
    Unread,
    /// Mended bytes, read up to this index.
    Mended(Vec<u8>, usize),
    Passed,
}

impl<S> MendedTarget<S> {
    pub(super) fn new(stream: S) -> Self {
        MendedTarget { stream, first: First::Unread }
    }
}

/// Percent-encodes `<` and `>` up to the first line end.
fn mend(bytes: &[u8]) -> Vec<u8> {
    let line = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    let mut mended = Vec::with_capacity(bytes.len() + 16);
    for byte in &bytes[..line] {
        match byte {
            b'<' => mended.extend_from_slice(b"%3C"),
            b'>' => mended.extend_from_slice(b"%3E"),
            other => mended.push(*other),
        }
    }
    mended.extend_from_slice(&bytes[line..]);
    mended
}

impl<S: AsyncRead + Unpin> AsyncRead for MendedTarget<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.first, First::Unread) {
            let mut bytes = [0; FIRST_READ_BYTES];
            let mut first = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut first))?;
            this.first = First::Mended(mend(first.filled()), 0);
        }
        if let First::Mended(bytes, read) = &mut this.first {
            let count = out.remaining().min(bytes.len() - *read);
            out.put_slice(&bytes[*read..*read + count]);
            *read += count;
            if *read == bytes.len() {
                this.first = First::Passed; // gives the bytes back
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MendedTarget<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read_through(bytes: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        MendedTarget::new(bytes).read_to_end(&mut read).await.expect("bytes");
        read
    }

    #[tokio::test]
    async fn only_the_first_line_is_mended() {
        let request = b"POST /v1/poll?topic=a.>&x=<b> HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        let mended = b"POST /v1/poll?topic=a.%3E&x=%3Cb%3E HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        assert_eq!(read_through(request).await, mended);
    }

    #[tokio::test]
    async fn a_first_line_that_is_not_whole_is_left_alone() {
        let endless = [b'>'; FIRST_READ_BYTES + 100];
        assert_eq!(read_through(&endless).await, endless);
        assert_eq!(read_through(b"").await, b"");
    }
}
