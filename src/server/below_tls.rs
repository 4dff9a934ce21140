//! The byte stream below the encryption of a connection.
//!
//! What TLS has to say at the end of a handshake (tickets, by which the client resumes its session)
//! would go out by itself, and the first answer right behind it: a system call, a packet and a
//! wake-up of the client more for each connection. Invariants:
//! - bytes are read and written in their order, those that were read before the handshake first;
//! - during the handshake what is written is held until the peer's next bytes have to be waited
//!   for, and what is left then goes out with the next write, or before anything else is waited
//!   for;
//! - nothing is held while nothing is on its way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A flight of a handshake is shorter, but for very long chains of certificates.
const MOST_HELD_BYTES: usize = 64 * 1024;

/// A stream that TLS is spoken on.
pub(super) struct BelowTls<S> {
    stream: S,
    /// Read before, and not handed on yet.
    first: Vec<u8>,
    held: Vec<u8>,
    is_handshaking: bool,
}

impl<S> BelowTls<S> {
    /// Before a handshake, whose first bytes were read already.
    pub(super) fn new(stream: S, first: Vec<u8>) -> Self {
        BelowTls {
            stream,
            first,
            held: Vec::new(),
            is_handshaking: true,
        }
    }

    pub(super) fn end_handshake(&mut self) {
        self.is_handshaking = false;
    }
}

impl<S: AsyncWrite + Unpin> BelowTls<S> {
    /// Writes what is held.
    pub(super) fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.held);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                all if all == self.held.len() => self.held = Vec::new(),
                some => drop(self.held.drain(..some)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the stream is, as it says itself. What is held goes out before it is waited for.
    pub(super) fn poll_readable(
        &mut self,
        context: &mut Context<'_>,
        stream: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let readable = stream(&mut self.stream, context);
        if readable.is_pending()
            && let Poll::Ready(Err(error)) = self.poll_release(context)
        {
            return Poll::Ready(Err(error));
        }
        readable
    }

    /// Writes what is held and these together. Gives how much of these was written; none where only
    /// what was held is.
    fn poll_write_together(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        let held = self.held.len();
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        let written = Pin::new(&mut self.stream).poll_write(context, &self.held);

        // What is not written of these is not taken.
        self.held.truncate(held);
        let written = ready!(written)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.held.drain(..written.min(held));
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Poll::Ready(Ok(written.checked_sub(held).filter(|taken| *taken > 0)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for BelowTls<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let count = out.remaining().min(this.first.len());
            out.put_slice(&this.first[..count]);
            this.first.drain(..count);
            if this.first.is_empty() {
                this.first = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        this.poll_readable(context, |stream, context| {
            Pin::new(stream).poll_read(context, out)
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BelowTls<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_handshaking && this.held.len() < MOST_HELD_BYTES {
            for slice in slices {
                this.held.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        while !this.held.is_empty() {
            if let Some(taken) = ready!(this.poll_write_together(context, slices))? {
                return Poll::Ready(Ok(taken));
            }
        }
        Pin::new(&mut this.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_handshaking {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_release(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    async fn arrived(far: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let mut read = ReadBuf::new(&mut bytes);
        let _ = futures_util::poll!(std::future::poll_fn(|task| {
            Pin::new(&mut *far).poll_read(task, &mut read)
        }));
        read.filled().to_vec()
    }

    #[tokio::test]
    async fn a_flight_goes_out_when_its_answer_is_waited_for() {
        let (near, mut far) = duplex(100);
        let mut near = BelowTls::new(near, b"hello".to_vec());
        let mut read = [0; 5];
        near.read_exact(&mut read[..2]).await.expect("the first");
        near.write_all(b"flight").await.expect("it is held");
        near.flush().await.expect("it is held");
        near.read_exact(&mut read[2..]).await.expect("the rest");
        assert_eq!(&read, b"hello");
        assert_eq!(arrived(&mut far).await, b"");
        assert!(futures_util::poll!(std::pin::pin!(near.read_u8())).is_pending());
        assert_eq!(arrived(&mut far).await, b"flight");
    }

    #[tokio::test]
    async fn the_last_words_go_out_with_the_first_answer_and_in_order() {
        for capacity in [3, 7, 8, 100] {
            let (near, mut far) = duplex(capacity);
            let mut near = BelowTls::new(near, Vec::new());
            near.write_all(b"tickets").await.expect("they are held");
            near.end_handshake();
            assert_eq!(arrived(&mut far).await, b"");
            let sending = async {
                near.write_all(b"an answer").await.expect("it is taken");
                near.write_all(b", and more").await.expect("it is taken");
                near.shutdown().await.expect("it ends");
            };
            let mut read = String::new();
            let reading = far.read_to_string(&mut read);
            let ((), taken) = tokio::join!(sending, reading);
            taken.expect("text");
            assert_eq!(read, "ticketsan answer, and more");
        }
    }

    #[tokio::test]
    async fn without_an_answer_they_go_out_before_more_is_waited_for() {
        let (near, mut far) = duplex(100);
        let mut near = BelowTls::new(near, Vec::new());
        near.write_all(b"tickets").await.expect("they are held");
        near.end_handshake();
        assert!(futures_util::poll!(std::pin::pin!(near.read_u8())).is_pending());
        assert_eq!(arrived(&mut far).await, b"tickets");
        assert_eq!(near.held.capacity(), 0);
    }
}
