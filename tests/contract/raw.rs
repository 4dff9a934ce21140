//! HTTP/1.1 answers read off a bare socket, one after the other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE};

/// What stands in a GET for hyper, and not in one for the driver of pages that wait.
pub const DRIVERS: [(&str, &str); 2] = [("direct", ""), ("hyper", "Content-Length: 0\r\n")];

/// A connection on which answers are read one by one.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// One answer; its body without the framing of a length. Chunks stay as they came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Raw {
    pub async fn connect(gateway: &Gateway) -> Self {
        Self::of(crate::support::connect(gateway).await)
    }

    pub fn of(stream: TcpStream) -> Self {
        Raw {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref()).await;
        sent.expect("it is taken");
    }

    /// The next answer; nothing when the connection ends or breaks before it is whole.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET").await
    }

    /// The same for a request that begins so: HEAD is answered without a body.
    pub async fn answer_to(&mut self, request: &str) -> Option<Answer> {
        let has_body = !request.starts_with("HEAD");
        timeout(PATIENCE, self.answer_in_time(has_body))
            .await
            .expect("an answer or an end")
    }

    async fn answer_in_time(&mut self, has_body: bool) -> Option<Answer> {
        let head_end = self.until(|read| find(read, b"\r\n\r\n")).await? + 4;
        let head = String::from_utf8_lossy(&self.read[..head_end]).into_owned();
        let mut answer = Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head,
            body: String::new(),
        };
        let end = if !has_body {
            head_end
        } else if let Some(length) = answer.header("content-length") {
            head_end + length.parse::<usize>().ok()?
        } else if answer.header("transfer-encoding").is_some() {
            self.until(|read| find(&read[head_end..], b"\r\n0\r\n\r\n"))
                .await?
                + head_end
                + 7
        } else {
            head_end
        };
        self.until(|read| (read.len() >= end).then_some(end))
            .await?;
        answer.body = String::from_utf8_lossy(&self.read[head_end..end]).into_owned();
        self.read.drain(..end);
        Some(answer)
    }

    async fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(place) = found(&self.read) {
                return Some(place);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Has the connection been ended, without a reset and without another byte?
    pub async fn is_ended(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.stream.read(&mut byte)).await;
        matches!(read, Ok(Ok(0))) && self.read.is_empty()
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The answer to one request on a connection of its own.
pub async fn ask(gateway: &Gateway, request: impl AsRef<str>) -> Option<Answer> {
    let mut raw = Raw::connect(gateway).await;
    raw.send(request.as_ref()).await;
    raw.answer_to(request.as_ref()).await
}
