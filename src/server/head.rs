//! Heads of HTTP/1.1 messages, for connections that hyper does not drive (RFC 9112).
//!
//! Invariants:
//! - a request is taken only when its head is whole and plain: a GET without a body, an upgrade or an expectation;
//!   anything else, and anything wrong, is left to hyper as it came;
//! - the answer's framing is written here, and headers that would contradict it are not let through.

use std::io::Write as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header, response};
use bytes::Bytes;

/// Header lines of a request that is taken.
const MAX_HEADERS: usize = 64;

/// A request whose head is whole.
pub(super) struct Head {
    pub(super) request: Request<Body>,
    /// Its length in bytes.
    pub(super) length: usize,
    pub(super) keep_alive: bool,
}

/// Takes a request for one of these paths, if it is one that can be taken.
pub(super) fn parse(bytes: &Bytes, paths: &[String]) -> Option<Head> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else { return None };
    let target = parsed.path?;
    let path = target.split('?').next()?;
    if parsed.method != Some("GET") || parsed.version != Some(1) || !paths.iter().any(|p| p == path) {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?);
    }
    let is_plain = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::EXPECT]
        .iter()
        .all(|name| !headers.contains_key(name));
    let keep_alive = !has_token(headers.get(header::CONNECTION), "close");
    is_plain.then_some(Head { request, length, keep_alive })
}

fn has_token(value: Option<&HeaderValue>, token: &str) -> bool {
    let list = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
    list.split(',').any(|t| t.trim().eq_ignore_ascii_case(token))
}

/// How the end of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, and an empty one at the end.
    Chunked,
}

/// The head of an answer.
pub(super) fn render(answer: &response::Parts, framing: Framing, keep_alive: bool) -> Bytes {
    let mut head = Vec::with_capacity(512);
    let reason = answer.status.canonical_reason().unwrap_or_default();
    // Writing to memory does not fail.
    _ = write!(head, "HTTP/1.1 {} {reason}\r\n", answer.status.as_str());
    match framing {
        Framing::Length(bytes) => _ = write!(head, "content-length: {bytes}\r\n"),
        Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if !keep_alive {
        head.extend_from_slice(b"connection: close\r\n");
    }
    _ = write!(head, "date: {}\r\n", httpdate::HttpDate::from(SystemTime::now()));
    let ours = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::DATE];
    for (name, value) in answer.headers.iter().filter(|(name, _)| !ours.contains(name)) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Percent-encodes `<` and `>` in the first line. RFC 3986 wants them so; but `>` is a wildcard here, and
/// `curl '…?topic=door.>'` is what a person types first. Browsers and libraries encode it themselves.
pub(super) fn mend_target(bytes: Bytes) -> Bytes {
    let line = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    if !bytes[..line].iter().any(|b| matches!(b, b'<' | b'>')) {
        return bytes;
    }
    let mut mended = Vec::with_capacity(bytes.len() + 16);
    for byte in &bytes[..line] {
        match byte {
            b'<' => mended.extend_from_slice(b"%3C"),
            b'>' => mended.extend_from_slice(b"%3E"),
            other => mended.push(*other),
        }
    }
    mended.extend_from_slice(&bytes[line..]);
    mended.into()
}

#[cfg(test)]
mod tests {
    use axum::http::{Response, StatusCode};

    use super::*;

    fn taken(text: &'static str) -> Option<Head> {
        parse(&Bytes::from_static(text.as_bytes()), &["/v1/sse".into()])
    }

    #[test]
    fn a_plain_get_is_taken_with_all_that_it_says() {
        let head = taken("GET /v1/sse?topic=a HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 7\r\n\r\nrest").expect("a head");
        assert_eq!(head.request.uri().query(), Some("topic=a"));
        assert_eq!(head.request.headers()["last-event-id"], "7");
        assert!(head.keep_alive);
        assert_eq!(head.length, 59);
        assert!(!taken("GET /v1/sse HTTP/1.1\r\nConnection: x, Close\r\n\r\n").expect("a head").keep_alive);
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        for text in [
            "GET /v1/sse HTTP/1.1\r\nHost: h\r\n",
            "GET /v1/bus HTTP/1.1\r\n\r\n",
            "GET /v1/ssee HTTP/1.1\r\n\r\n",
            "POST /v1/sse HTTP/1.1\r\n\r\n",
            "HEAD /v1/sse HTTP/1.1\r\n\r\n",
            "GET /v1/sse HTTP/1.0\r\n\r\n",
            "GET http://h/v1/sse HTTP/1.1\r\n\r\n",
            "GET /v1/sse HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "GET /v1/sse HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /v1/sse HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /v1/sse HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /v1/sse HTTP/1.1\r\nbad header\r\n\r\n",
            "\u{0}",
            "",
        ] {
            assert!(taken(text).is_none(), "{text:?} was taken");
        }
    }

    #[test]
    fn the_framing_is_told_once() {
        let answer = Response::builder().status(StatusCode::GONE).header("content-length", "5").header("x-a", "b");
        let (parts, ()) = answer.body(()).expect("an answer").into_parts();
        let head = String::from_utf8(render(&parts, Framing::Chunked, false).to_vec()).expect("text");
        assert!(head.starts_with("HTTP/1.1 410 Gone\r\ntransfer-encoding: chunked\r\nconnection: close\r\ndate: "));
        assert!(head.ends_with(" GMT\r\nx-a: b\r\n\r\n"), "{head}");
    }

    #[test]
    fn only_the_first_line_is_mended() {
        let request = b"POST /v1/poll?topic=a.>&x=<b> HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        let mended = b"POST /v1/poll?topic=a.%3E&x=%3Cb%3E HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        assert_eq!(mend_target(Bytes::from_static(request)), &mended[..]);
        assert_eq!(mend_target(Bytes::from_static(b">>>")), &b">>>"[..]);
    }
}
