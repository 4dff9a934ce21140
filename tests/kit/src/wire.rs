//! HTTP/1.1 as far as the kit needs it: reads requests, knows their parameters, and de-chunks
//! bodies.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::TcpStream;

use serde_json::Value;

/// No head or body of a client under test is longer.
const MOST_BYTES: usize = 8 << 20;

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Decoded; a repeated parameter is joined by commas.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Ids of the events in the body; one that has none is an empty text.
    pub(crate) ids: Vec<String>,
}

impl Request {
    /// The cursor asked for; an error when the two places differ.
    pub(crate) fn cursor(&self) -> Result<Option<&str>, String> {
        let parameter = self.parameters.get("after").map(String::as_str);
        let header = self.headers.get("last-event-id").map(String::as_str);

        match (parameter, header) {
            (Some(one), Some(other)) if one != other => {
                Err(format!("after={one} but Last-Event-ID: {other}"))
            }
            (parameter, header) => Ok(parameter.or(header)),
        }
    }
}

/// Reads requests from one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Left(usize),
    Chunked,
}

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (buffer, body) = (Vec::new(), Body::Left(0));
        Self {
            stream,
            buffer,
            body,
        }
    }

    /// The next request's head; none when the client has closed.
    pub(crate) fn head(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.more()? {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let request = parse_head(&String::from_utf8_lossy(&head));

        self.body = if request.headers.contains_key("transfer-encoding") {
            Body::Chunked
        } else {
            let length = request.headers.get("content-length");
            Body::Left(length.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        Ok(Some(request))
    }

    /// The whole body.
    pub(crate) fn body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            body.extend(piece);
        }
        Ok(body)
    }

    /// So many lines of the body, or fewer where it ends.
    pub(crate) fn lines(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut body: Vec<u8> = Vec::new();
        while body.split(|byte| *byte == b'\n').count() <= count {
            match self.piece()? {
                Some(piece) => body.extend(piece),
                None => break,
            }
        }
        Ok(body)
    }

    /// The next piece of the body; none at its end.
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.body {
            Body::Left(0) => Ok(None),
            Body::Left(left) => {
                if self.buffer.is_empty() && !self.more()? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let take = left.min(self.buffer.len());
                self.body = Body::Left(left - take);
                Ok(Some(self.buffer.drain(..take).collect()))
            }
            Body::Chunked => self.chunk(),
        }
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line_end = self.find_or_read(b"\r\n", 0)?;
        let size = String::from_utf8_lossy(&self.buffer[..line_end]).into_owned();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;

        let whole = line_end + 2 + size + 2;
        while self.buffer.len() < whole {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let chunk: Vec<u8> = self.buffer.drain(..whole).collect();
        if size == 0 {
            self.body = Body::Left(0);
            return Ok(None);
        }
        Ok(Some(chunk[line_end + 2..whole - 2].to_vec()))
    }

    fn find_or_read(&mut self, what: &[u8], from: usize) -> io::Result<usize> {
        loop {
            if let Some(at) = find(&self.buffer[from..], what) {
                return Ok(from + at);
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece)?;
        if self.buffer.len() + count > MOST_BYTES {
            return Err(io::Error::other("a request longer than the kit reads"));
        }
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }
}

/// The ids of the events in a body: an object, an array, or a line each.
pub(crate) fn ids(body: &[u8]) -> Vec<String> {
    let id = |event: &Value| event["id"].as_str().unwrap_or_default().to_owned();

    match serde_json::from_slice(body) {
        Ok(Value::Array(events)) => events.iter().map(id).collect(),
        Ok(event) => vec![id(&event)],
        Err(_) => serde_json::Deserializer::from_slice(body)
            .into_iter::<Value>()
            .map_while(Result::ok)
            .map(|event| id(&event))
            .collect(),
    }
}

fn parse_head(head: &str) -> Request {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));

    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        parameters
            .entry(name)
            .and_modify(|all| *all = format!("{all},{value}"))
            .or_insert(value);
    }

    let path = path.to_owned();
    Request {
        method,
        path,
        parameters,
        headers,
        ids: Vec::new(),
    }
}

/// Percent-decoding of a query's part.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;

    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::{ids, parse_head};

    #[test]
    fn a_head_gives_its_parameters_decoded_and_joined() {
        let head = "GET /v1/sse?topic=a.%2A&topic=b&after=7-k HTTP/1.1\r\nLast-Event-ID: 8-k\r\n";
        let request = parse_head(head);

        assert_eq!(request.path, "/v1/sse");
        assert_eq!(request.parameters["topic"], "a.*,b");
        assert!(request.cursor().is_err(), "two cursors that differ");
    }

    #[test]
    fn ids_are_found_in_an_object_an_array_and_lines() {
        assert_eq!(ids(br#"{"id":"a"}"#), ["a"]);
        assert_eq!(ids(br#"[{"id":"a"},{"topic":"x"}]"#), ["a", ""]);
        assert_eq!(ids(b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n"), ["a", "b"]);
    }
}
