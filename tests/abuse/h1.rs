//! HTTP/1.1 by raw bytes: what a client's library would hide, a reset for one, is seen here.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::common::target::{Stream, Target};

/// A receive buffer as small as the kernel gives.
const SMALL_BUFFER_BYTES: u32 = 4096;

/// What came back on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An answer: its status, and head and body as text.
    Status(u16, String),
    /// An answer and then a reset, for which many clients throw the answer away.
    StatusThenReset(u16, String),
    /// The connection was reset before an answer was there.
    Reset,
    /// It was closed without an answer.
    Closed,
    /// Nothing came in time.
    Silent,
}

impl Answer {
    /// The status, or what there was instead, in a word for the table.
    pub fn label(&self) -> String {
        match self {
            Answer::Status(status, _) => status.to_string(),
            Answer::StatusThenReset(status, _) => format!("{status} then reset"),
            Answer::Reset => "reset".to_owned(),
            Answer::Closed => "closed unanswered".to_owned(),
            Answer::Silent => "silence".to_owned(),
        }
    }

    /// Head and body.
    pub fn text(&self) -> &str {
        match self {
            Answer::Status(_, text) | Answer::StatusThenReset(_, text) => text,
            _ => "",
        }
    }

    fn of(received: &[u8], end: &std::io::Result<usize>) -> Self {
        let text = String::from_utf8_lossy(received).into_owned();
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
        match status {
            Some(status) if text.contains("\r\n\r\n") => match end {
                Ok(_) => Answer::Status(status, text),
                Err(_) => Answer::StatusThenReset(status, text),
            },
            _ if end.is_err() => Answer::Reset,
            _ => Answer::Closed,
        }
    }
}

/// A `GET` after which the gateway closes the connection.
pub fn get(address: Target, path: &str) -> String {
    let authorization = address.authorization();
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n")
}

/// The head of a `POST` of a body of this length.
pub fn post_head(address: Target, path: &str, content_type: &str, bytes: usize) -> String {
    let authorization = address.authorization();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\
         Content-Type: {content_type}\r\nContent-Length: {bytes}\r\n\r\n"
    )
}

/// A `POST` of one event, after which the gateway closes the connection.
pub fn post_event(address: Target, topic: &str) -> String {
    let body = format!("{{\"topic\":\"{topic}\",\"data\":1}}");
    post_head(address, "/v1/events", "application/json", body.len()) + &body
}

/// Sends a request and reads to the end of the connection.
pub async fn ask(address: Target, request: &str, patience: Duration) -> Answer {
    let Ok(mut stream) = address.connect().await else {
        return Answer::Reset;
    };
    let _ = stream.write_all(request.as_bytes()).await; // a refusal may have come before it
    read_answer(&mut stream, patience).await
}

/// Reads to the end of the connection.
pub async fn read_answer(stream: &mut Stream, patience: Duration) -> Answer {
    let mut received = Vec::new();
    match timeout(patience, stream.read_to_end(&mut received)).await {
        Ok(end) => Answer::of(&received, &end),
        Err(_) => match Answer::of(&received, &Ok(0)) {
            Answer::Closed => Answer::Silent,
            answer => answer,
        },
    }
}

/// A connection whose peer can send little before it has to wait for reads, as of a slow client.
pub async fn connect_slow(address: Target) -> std::io::Result<Stream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
    address.begin(socket.connect(address.address).await?).await
}
