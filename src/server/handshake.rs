//! How a connection becomes an encrypted one.
//!
//! Invariants:
//! - a handshake is bounded in bytes by rustls, and in time by who waits for it;
//! - what does not begin as TLS does gets no handshake; a request without encryption is answered
//!   where it has to go.

use std::io::{self, Error, ErrorKind};
use std::time::Duration;

use rustls::ServerConnection;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

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
pub(super) type TlsIo = Box<TlsStream<TimedIo>>;

/// Performs the handshake with a peer.
pub(super) async fn accept(
    mut io: Io,
    tls: &ServerTls,
    write_timeout: Duration,
) -> io::Result<TlsIo> {
    let mut first = [0];
    io.read_exact(&mut first).await?;
    if first != [HANDSHAKE_RECORD] {
        return Err(refuse(io, first[0]).await);
    }

    // The byte that was looked at goes before the others.
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &first[..])?;
    let io = timed(io, write_timeout);
    let begun = LazyConfigAcceptor::new(acceptor, io).await?;
    let bounded = |session: &mut ServerConnection| {
        session.set_buffer_limit(Some(limits::TLS_UNSENT_BYTES));
    };
    let stream = begun.into_stream_with(tls.config(), bounded).await?;
    Ok(Box::new(stream))
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
