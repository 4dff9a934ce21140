//! The byte stream of a connection, whatever it is made of.
//!
//! Invariant: nothing else in this module tree knows what a connection's stream is, but for whoever
//! makes it: the listener, and the handshake of an encrypted one.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_io_timeout::TimeoutWriter;

use super::handshake::TlsIo;
use crate::limits;

/// A stream of bytes to a peer and from it.
pub(super) enum Io {
    /// TCP as it is.
    Plain(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// One of these, encrypted. Boxed, as what it takes is large.
    Tls(TlsIo),
    /// Memory that a test holds the other end of.
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

/// Has the stream itself do something, whatever it is made of.
macro_rules! forward {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io {
            Io::Plain($stream) => $call,
            Io::Unix($stream) => $call,
            Io::Tls($stream) => $call,
            #[cfg(test)]
            Io::Memory($stream) => $call,
        }
    };
}

/// A stream, and the time that it may take nothing.
pub(super) type TimedIo = Pin<Box<TimeoutWriter<Io>>>;

/// Has a stream fail when it takes nothing for so long.
pub(super) fn timed(io: Io, write_timeout: Duration) -> TimedIo {
    let is_timed = io.is_timed();
    let mut timed = TimeoutWriter::new(io);
    timed.set_timeout(Some(write_timeout).filter(|_| !is_timed));
    Box::pin(timed)
}

impl Io {
    /// Does it fail by itself when its peer takes nothing? What an encrypted stream has taken is
    /// still to be taken by its socket, and only below the encryption is that seen.
    pub(super) fn is_timed(&self) -> bool {
        matches!(self, Io::Tls(_))
    }

    /// Bytes that it may hold of what it has taken.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Io::Tls(stream) if stream.get_ref().1.wants_write() => limits::TLS_UNSENT_BYTES,
            _ => 0,
        }
    }

    /// Prepares the socket for a connection that is served.
    pub(super) fn configure(&self, write_timeout: Duration) {
        match self {
            Io::Plain(stream) => configure_socket(stream, write_timeout),
            Io::Tls(_) => {}  // its socket is
            Io::Unix(_) => {} // the kernel holds little of it, and its peer cannot vanish
            #[cfg(test)]
            Io::Memory(_) => {}
        }
    }

    /// Has the handshake agreed on HTTP/2?
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Io::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            _ => false,
        }
    }

    /// Ready when a read may find something; asked before a buffer is made for it.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(stream) => stream.poll_read_ready(context),
            Io::Unix(stream) => stream.poll_read_ready(context),
            Io::Tls(stream) => {
                let (below, session) = stream.get_mut();
                if !session.wants_read() {
                    return Poll::Ready(Ok(())); // decrypted already, or the end
                }
                below.poll_readable(context, |timed, context| {
                    let socket = timed.as_mut().get_pin_mut().get_mut();
                    socket.poll_readable(context)
                })
            }
            // Only the read itself shows it.
            #[cfg(test)]
            Io::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says that no more comes, where the encryption has a word for that: without it the peer could
    /// not tell this end from one that somebody between them has made up.
    pub(super) async fn say_end(&mut self) {
        if let Io::Tls(stream) = self {
            // At once or not at all: the word is short, and nobody waits for it.
            poll_fn(|task| {
                let _ = Pin::new(&mut *stream).poll_shutdown(task);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Writes what is taken at once; 0 when nothing is. The task is woken when more is.
    pub(super) fn write_now(
        &mut self,
        slices: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> io::Result<usize> {
        let written = match self {
            Io::Plain(stream) => write_to_socket(stream, slices, context),
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        match written {
            // A stream that is there takes something, or has the task wait.
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => written,
            Poll::Pending => Ok(0),
        }
    }
}

/// Asks the socket first and waits only where it takes nothing, which is seldom.
fn write_to_socket(
    stream: &TcpStream,
    slices: &[IoSlice<'_>],
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        let written = match slices {
            // The kernel takes one slice by a shorter way than several.
            [slice] => stream.try_write(slice),
            slices => stream.try_write_vectored(slices),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(stream.poll_write_ready(context))?;
            }
            written => return Poll::Ready(written),
        }
    }
}

/// Whether a request is whole follows from the request. So an end without the word of TLS for it is
/// an end as on any stream; many clients close so.
fn poll_read_tls(
    stream: &mut TlsIo,
    context: &mut Context<'_>,
    out: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match ready!(Pin::new(stream).poll_read(context, out)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        read => Poll::Ready(read),
    }
}

/// An option that the system refuses is only an optimization that is missing.
fn configure_socket(stream: &TcpStream, write_timeout: Duration) {
    let _ = stream.set_nodelay(true);

    // A peer that acknowledges nothing for this long is gone, whatever is in the socket's buffer.
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_user_timeout(Some(write_timeout));

    // An answer that the kernel took whole would look as if its peer had taken it.
    let _ = socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES);
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tls(stream) => poll_read_tls(stream, context, out),
            io => forward!(io, stream => Pin::new(stream).poll_read(context, out)),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            // What an encrypted stream writes here is one slice, but for what has waited.
            Io::Plain(stream) => write_to_socket(stream, slices, context),
            io => forward!(io, stream => Pin::new(stream).poll_write_vectored(context, slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Unix(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Io::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
