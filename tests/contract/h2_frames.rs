//! HTTP/2 by hand: what no client's library would send (RFC 9113, RFC 7541).

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;

/// The preface and empty settings.
pub const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first frame on stream 1, or what came for the connection instead.
#[derive(Debug, PartialEq, Eq)]
pub enum First {
    Headers,
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` with this code, after which nothing came.
    GoneAway(u32),
    Ended,
}

/// A GET as the first request of a connection: every field as a literal without an index.
pub fn get(path: &str, authority: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
    ] {
        if value.is_empty() {
            continue;
        }
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).expect("a short text"));
            fields.extend_from_slice(text.as_bytes());
        }
    }
    let length = u8::try_from(fields.len()).expect("a short head");
    // HEADERS with END_STREAM and END_HEADERS, on stream 1.
    [&[0, 0, length, 1, 0x5, 0, 0, 0, 1][..], &fields].concat()
}

/// Reads frames until one is for stream 1, or the connection is given up. `begun` is the header of
/// a frame that has been read already.
pub async fn first_answer(stream: &mut TcpStream, begun: &[u8; 9]) -> First {
    timeout(PATIENCE, read_frames(stream, *begun))
        .await
        .expect("an answer or an end")
}

async fn read_frames(stream: &mut TcpStream, mut head: [u8; 9]) -> First {
    let mut gone = None;
    loop {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return gone.unwrap_or(First::Ended);
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four"));
        match (head[3], id) {
            (1, 1) => return First::Headers,
            (3, 1) => return First::Reset(code(0)),
            (7, 0) => gone = Some(First::GoneAway(code(4))),
            _ => {}
        }
        if stream.read_exact(&mut head).await.is_err() {
            return gone.unwrap_or(First::Ended);
        }
    }
}

/// Sends a first request and gives what comes of it.
pub async fn ask(stream: &mut TcpStream, request: &[u8]) -> First {
    use tokio::io::AsyncWriteExt as _;
    let sent = stream.write_all(&[HELLO, request].concat()).await;
    sent.expect("it is taken");
    let mut head = [0; 9];
    match stream.read_exact(&mut head).await {
        Ok(_) => first_answer(stream, &head).await,
        Err(_) => First::Ended,
    }
}

/// The code of the first GOAWAY; none when the connection ends without one.
pub async fn until_goaway(stream: &mut TcpStream) -> Option<u32> {
    let mut head = [0; 9];
    loop {
        let read = timeout(PATIENCE, stream.read_exact(&mut head)).await;
        read.ok()?.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == 7 {
            let code = payload[4..8].try_into().expect("four");
            return Some(u32::from_be_bytes(code));
        }
    }
}
