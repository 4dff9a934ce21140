//! A stream of which one layer looks at what is read; what is written passes as it is.
//!
//! Invariant: the last answer is let arrive: unless it has long arrived, the stream is closed by
//! its peer first, or after the bounds of [`Lingering`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::Lingering;
use crate::limits;

/// What stands between a stream and its reader.
pub(super) trait ReadLayer {
    /// Reads, as [`AsyncRead::poll_read`] does.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// Has everything that was written long arrived?
    fn is_idle(&self) -> bool {
        false
    }
}

/// A stream behind a layer.
pub(super) struct Layered<L, S> {
    layer: L,
    stream: S,
    lingering: Lingering,
}

impl<L, S> Layered<L, S> {
    pub(super) fn new(layer: L, stream: S) -> Self {
        Layered {
            layer,
            stream,
            lingering: Lingering::new(limits::LINGER_BYTES),
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut S>
    where
        Self: Unpin,
        S: Unpin,
    {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl<L: ReadLayer + Unpin, S: AsyncRead + Unpin> AsyncRead for Layered<L, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Layered { layer, stream, .. } = self.get_mut();
        layer.poll_read(stream, context, out)
    }
}

impl<L: ReadLayer + Unpin, S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Layered<L, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        if this.layer.is_idle() {
            return Poll::Ready(Ok(()));
        }
        // A peer of HTTP/2 opens its windows as it reads, and would be reset for that: a proxy whose
        // write fails drops the trailers that it has read already.
        let stream = Pin::new(&mut this.stream);
        this.lingering.poll(stream, context).map(Ok)
    }
}
