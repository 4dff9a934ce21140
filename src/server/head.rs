//! Heads of HTTP/1.1 messages, for connections that hyper does not drive (RFC 9112).
//!
//! Invariants:
//! - a request is taken only when it is whole and plain: a GET without a body, or a POST whose body
//!   has come with its head; no upgrade, no expectation. Anything else, and anything wrong, is left
//!   to hyper as it came;
//! - the answer's framing is written here, and headers that would contradict it are not let
//!   through.

use std::io::Write as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, response,
};
use bytes::Bytes;

/// Header lines of a request that is taken.
const MAX_HEADERS: usize = 64;
/// Header lines of any request: as many as hyper takes.
const MAX_HEADERS_OF_HYPER: usize = 100;

/// A request that is whole.
pub(crate) struct RequestHead {
    pub(crate) request: Request<Body>,
    /// Its length in bytes, with its body.
    pub(crate) length: usize,
    pub(crate) keep_alive: bool,
}

/// Takes a request, if it is one that can be taken and `is_wanted` says so of its method and path.
pub(crate) fn parse(
    bytes: &Bytes,
    is_wanted: impl Fn(&Method, &str) -> bool,
) -> Option<RequestHead> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(head_length) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let (target, method) = (
        parsed.path?,
        Method::from_bytes(parsed.method?.as_bytes()).ok()?,
    );
    if parsed.version != Some(1) || !is_wanted(&method, target.split('?').next()?) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(
            name,
            HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?,
        );
    }
    let length = head_length.checked_add(body_length(&method, &headers)?)?;
    let mut request = Request::new(Body::empty());
    if length > head_length {
        *request.body_mut() = Body::from(
            bytes
                .get(head_length..length)
                .map(|body| bytes.slice_ref(body))?,
        );
    }
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    *request.method_mut() = method;
    let keep_alive = !has_token(&headers, &header::CONNECTION, "close");
    *request.headers_mut() = headers;
    Some(RequestHead {
        request,
        length,
        keep_alive,
    })
}

/// The length of a plain request's body; nothing when the request is not plain.
fn body_length(method: &Method, headers: &HeaderMap) -> Option<usize> {
    if [header::TRANSFER_ENCODING, header::UPGRADE, header::EXPECT]
        .iter()
        .any(|name| headers.contains_key(name))
    {
        return None;
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (method, lengths.next(), lengths.next()) {
        (&Method::GET, None, _) => Some(0),
        (&Method::POST, Some(digits), None) if digits.as_bytes().iter().all(u8::is_ascii_digit) => {
            digits.to_str().ok()?.parse().ok()
        }
        _ => None,
    }
}

/// How the end of a request's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// So many bytes; 0 also where nothing is said of a body.
    Sized(u64),
    /// By an empty chunk.
    Chunked,
    /// In two ways, or in one that is not known.
    Doubtful,
}

/// The length of a head in bytes, and what it says of the body; none while it is not whole. What
/// hyper takes is measured here as it does.
///
/// # Errors
/// When it is no head.
pub(crate) fn measure(bytes: &[u8]) -> Result<Option<(usize, RequestFraming)>, httparse::Error> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS_OF_HYPER];
    let mut parsed = httparse::Request::new(&mut lines);
    Ok(match parsed.parse(bytes)? {
        httparse::Status::Complete(length) => Some((length, body_framing(parsed.headers))),
        httparse::Status::Partial => None,
    })
}

fn body_framing(lines: &[httparse::Header<'_>]) -> RequestFraming {
    let values = |name: &'static str| {
        lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value.trim_ascii())
    };
    let mut lengths = values("content-length").map(|digits| match digits {
        [] => None,
        digits if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    });
    let coding = values("transfer-encoding").next_back();
    match (coding, lengths.next()) {
        (None, None) => RequestFraming::Sized(0),
        (None, Some(Some(bytes))) if lengths.all(|length| length == Some(bytes)) => {
            RequestFraming::Sized(bytes)
        }
        (Some(codings), None) if is_chunked_last(codings) => RequestFraming::Chunked,
        _ => RequestFraming::Doubtful,
    }
}

fn is_chunked_last(codings: &[u8]) -> bool {
    let last = codings.rsplit(|byte| *byte == b',').next();
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// A list may stand in several lines (RFC 9110 §5.3).
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens = headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tokens.any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// How the end of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFraming {
    /// So many bytes.
    Length(u64),
    /// Chunks, and an empty one at the end.
    Chunked,
}

/// The head of an answer.
/// `keep_alive` is the value of `Keep-Alive`, where the connection is kept.
pub(crate) fn render(
    answer: &response::Parts,
    framing: AnswerFraming,
    keep_alive: Option<&HeaderValue>,
) -> Bytes {
    let mut head = Vec::with_capacity(512);
    let reason = answer.status.canonical_reason().unwrap_or_default();
    // Writing to memory does not fail.
    _ = write!(head, "HTTP/1.1 {} {reason}\r\n", answer.status.as_str());
    match framing {
        // Such an answer has no body, and may not speak of one (RFC 9110 §8.6).
        AnswerFraming::Length(0) if answer.status == StatusCode::NO_CONTENT => {}
        AnswerFraming::Length(bytes) => _ = write!(head, "content-length: {bytes}\r\n"),
        AnswerFraming::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    match keep_alive {
        Some(hint) => push_line(&mut head, b"keep-alive", hint),
        None => head.extend_from_slice(b"connection: close\r\n"),
    }
    _ = write!(
        head,
        "date: {}\r\n",
        httpdate::HttpDate::from(SystemTime::now())
    );
    let ours = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::DATE,
    ];
    for (name, value) in answer
        .headers
        .iter()
        .filter(|(name, _)| !ours.contains(name))
    {
        push_line(&mut head, name.as_str().as_bytes(), value);
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn push_line(head: &mut Vec<u8>, name: &[u8], value: &HeaderValue) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Percent-encodes `<` and `>` in the first line that is not empty (RFC 9112 §2.2). RFC 3986 wants them so; but `>` is a wildcard
/// here, and `curl '…?topic=door.>'` is what a person types first. Browsers and libraries encode it
/// themselves.
pub(crate) fn encode_target(bytes: Bytes) -> Bytes {
    let is_empty = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = bytes.iter().take_while(|byte| is_empty(byte)).count();
    let line_end = bytes[begin..].iter().position(|byte| *byte == b'\n');
    let line = line_end.map_or(0, |end| begin + end);
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
    use axum::http::Response;

    use super::*;

    fn taken(text: &'static str) -> Option<RequestHead> {
        let is_wanted = |method: &Method, path: &str| match *method {
            Method::GET => path == "/v1/sse",
            _ => path == "/v1/events",
        };
        parse(&Bytes::from_static(text.as_bytes()), is_wanted)
    }

    #[test]
    fn a_plain_get_is_taken_with_all_that_it_says() {
        let head = taken("GET /v1/sse?topic=a HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 7\r\n\r\nrest")
            .expect("a head");
        assert_eq!(head.request.uri().query(), Some("topic=a"));
        assert_eq!(head.request.headers()["last-event-id"], "7");
        assert!(head.keep_alive);
        assert_eq!(head.length, 59);
        for close in [
            "x, Close",
            "close",
            "keep-alive\r\nConnection: a,close",
            "门, close",
        ] {
            let text = format!("GET /v1/sse HTTP/1.1\r\nConnection: {close}\r\n\r\n");
            assert!(!taken(text.leak()).expect("a head").keep_alive, "{close}");
        }
    }

    #[tokio::test]
    async fn a_plain_post_is_taken_with_its_body() {
        let head =
            taken("POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET").expect("a head");
        assert_eq!(head.length, 50);
        let body = axum::body::to_bytes(head.request.into_body(), 10)
            .await
            .expect("a body");
        assert_eq!(body, "abc");
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        for text in [
            "GET /v1/sse HTTP/1.1\r\nHost: h\r\n",
            "GET /v1/bus HTTP/1.1\r\n\r\n",
            "GET /v1/ssee HTTP/1.1\r\n\r\n",
            "POST /v1/sse HTTP/1.1\r\n\r\n",
            "POST /v1/events HTTP/1.1\r\n\r\n",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: \r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            "POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
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
        let answer = Response::builder()
            .status(StatusCode::GONE)
            .header("content-length", "5")
            .header("x-a", "b");
        let (parts, ()) = answer.body(()).expect("an answer").into_parts();
        let head =
            String::from_utf8(render(&parts, AnswerFraming::Chunked, None).to_vec()).expect("text");
        assert!(head.starts_with(
            "HTTP/1.1 410 Gone\r\ntransfer-encoding: chunked\r\nconnection: close\r\ndate: "
        ));
        assert!(head.ends_with(" GMT\r\nx-a: b\r\n\r\n"), "{head}");
    }

    #[test]
    fn only_the_first_line_is_mended() {
        let request =
            b"POST /v1/poll?topic=a.>&x=<b> HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        let mended =
            b"POST /v1/poll?topic=a.%3E&x=%3Cb%3E HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        assert_eq!(encode_target(Bytes::from_static(request)), &mended[..]);
        assert_eq!(encode_target(Bytes::from_static(b">>>")), &b">>>"[..]);
        let late = Bytes::from_static(b"\r\n\nGET /> HTTP/1.1\n>");
        assert_eq!(encode_target(late), &b"\r\n\nGET /%3E HTTP/1.1\n>"[..]);
    }
}
