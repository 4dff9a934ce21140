//! Which protocol a connection speaks.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What hyper can drive.
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What a connection of HTTP/2 begins with (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Finds the protocol by what was read first, and reads on while that might be a part of the
/// preface: hyper would wait for the rest of it without a bound.
pub(super) async fn sniff<S: AsyncRead + Unpin>(
    stream: &mut S,
    first: &mut Bytes,
) -> io::Result<Protocol> {
    loop {
        // Anything that is no beginning of the preface is HTTP/1.1.
        let begun = first.len().min(HTTP2_PREFACE.len());
        if first[..begun] != HTTP2_PREFACE[..begun] {
            return Ok(Protocol::Http1);
        }
        if begun == HTTP2_PREFACE.len() {
            return Ok(Protocol::Http2);
        }

        // No more than the preface, so that a peer cannot make it hold much.
        let mut bytes = [0; HTTP2_PREFACE.len()];
        let count = stream.read(&mut bytes[begun..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *first = [&first[..], &bytes[begun..begun + count]].concat().into();
    }
}
