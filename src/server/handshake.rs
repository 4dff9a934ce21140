//! How a connection becomes an encrypted one.
//!
//! Invariants:
//! - a handshake is bounded in bytes by rustls, and in time by who waits for it;
//! - what does not begin as TLS does gets no handshake; a request without encryption is answered
//!   where it has to go.

use std::future::poll_fn;
use std::io::{self, Error, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rustls::ServerConnection;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::below_tls::BelowTls;
use super::io::{Io, TimedIo, timed};
use super::linger;
use crate::limits;
use crate::tls::ServerTls;

/// The kind of a record with which every handshake begins (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// What a request without encryption is answered.
const PLAIN_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 65\r\n\r\n\
    This port speaks TLS: use https:// where you have used http://.\r\n";

/// An encrypted stream over another one.
pub(super) type TlsIo = Box<TlsStream<BelowTls<TimedIo>>>;

/// Bytes of the first read. A client's first flight is shorter, unless it comes in parts.
const FIRST_BYTES: usize = 4096;

/// Performs the handshake with a peer.
pub(super) async fn accept(
    mut io: Io,
    tls: &ServerTls,
    write_timeout: Duration,
) -> io::Result<TlsIo> {
    let first = read_first(&mut io).await?;
    if first[0] != HANDSHAKE_RECORD {
        return Err(refuse(io, first[0]).await);
    }

    let io = BelowTls::new(timed(io, write_timeout), first);
    let bounded = |session: &mut ServerConnection| {
        session.set_buffer_limit(Some(limits::TLS_UNSENT_BYTES));
    };
    let accepting = TlsAcceptor::from(tls.config()).accept_with(io, bounded);
    match accepting.into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().0.end_handshake();
            Ok(Box::new(stream))
        }
        Err((error, mut io)) => {
            // The alert that says why; at once or not at all.
            let _ = futures_util::poll!(poll_fn(|task| io.poll_release(task)));
            Err(error)
        }
    }
}

/// What comes first; at least one byte.
async fn read_first(io: &mut Io) -> io::Result<Vec<u8>> {
    poll_fn(|task| {
        // On the stack, so that nothing is held while nothing comes.
        let mut bytes = [MaybeUninit::uninit(); FIRST_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *io).poll_read(task, &mut bytes))?;
        match bytes.filled() {
            [] => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            first => Poll::Ready(Ok(first.to_vec())),
        }
    })
    .await
}

/// Answers what is no handshake, where it looks like a request.
async fn refuse(mut io: Io, first: u8) -> Error {
    let is_method = first.is_ascii_uppercase();
    if is_method && io.write_all(PLAIN_REQUEST).await.is_ok() {
        linger::close(&mut io, limits::REFUSAL_BYTES).await;
    }
    Error::new(ErrorKind::InvalidData, "this is not TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_plain_request_has_the_length_that_it_says() {
        let answer = str::from_utf8(PLAIN_REQUEST).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let length = format!("Content-Length: {}", body.len());
        assert!(head.contains(&length), "{length}");
    }
}
