//! Heads of HTTP/1.1 messages, for connections that hyper does not drive (RFC 9112).
//!
//! Invariants:
//! - a request is taken only when it is whole and plain: a GET without a body, or a POST whose body
//!   has come with its head; no upgrade, no expectation. Anything else, and anything wrong, is left
//!   to hyper as it came;
//! - the answer's framing is written here, and headers that would contradict it are not let
//!   through.

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, response,
};
use bytes::Bytes;

use super::date_line;

/// Header lines of a request that is taken.
const MAX_HEADERS: usize = 64;
/// Header lines of any request: as many as hyper takes.
const MAX_HEADERS_OF_HYPER: usize = 100;
/// What most heads of answers fit into, in bytes.
const ANSWER_HEAD_BYTES: usize = 512;

/// A request that is whole.
pub(crate) struct RequestHead {
    pub(crate) request: Box<Request<Body>>,
    /// Its length in bytes, with its body.
    pub(crate) length: usize,
    pub(crate) keep_alive: bool,
}

impl RequestHead {
    /// May its answer take long to come? An event is published whoever is there to be answered.
    pub(crate) fn may_wait(&self) -> bool {
        *self.request.method() == Method::GET
    }
}

/// Takes a request, if it is one that can be taken and `is_wanted` says so of its method and path.
pub(crate) fn parse(
    bytes: &Bytes,
    is_wanted: impl Fn(&Method, &str) -> bool,
) -> Option<RequestHead> {
    // Parsed in place: nothing is copied of a head that is not taken.
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(head_length) = parsed.parse(bytes).ok()? else {
        return None;
    };

    // Looked at before anything is copied: most requests that are not wanted end here.
    let (method, target) = (parsed.method?, parsed.path?);
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    if parsed.version != Some(1) || !is_wanted(&method, target.split('?').next()?) {
        return None;
    }

    // Texts of the request are slices of what was read.
    let headers = owned_headers(bytes, parsed.headers)?;
    let length = head_length.checked_add(body_length(&method, &headers)?)?;
    let keep_alive = !has_token(&headers, &header::CONNECTION, "close");
    let mut request = Box::new(Request::new(body_of(bytes, head_length, length)?));
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    Some(RequestHead {
        request,
        length,
        keep_alive,
    })
}

/// Each asks for something that is not done here.
const OF_HYPER: [HeaderName; 3] = [header::TRANSFER_ENCODING, header::UPGRADE, header::EXPECT];

/// The headers of a plain request; none when it is not plain.
fn owned_headers(bytes: &Bytes, lines: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        if OF_HYPER.contains(&name) {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

/// The body between the end of its head and its own; none while it is not whole.
fn body_of(bytes: &Bytes, begin: usize, end: usize) -> Option<Body> {
    if begin == end {
        return Some(Body::empty());
    }
    let body = bytes.get(begin..end)?;
    Some(Body::from(bytes.slice_ref(body)))
}

/// The length of a plain request's body; none when the request is not plain.
fn body_length(method: &Method, headers: &HeaderMap) -> Option<usize> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (method, lengths.next(), lengths.next()) {
        (&Method::GET, None, _) => Some(0),
        // Digits alone: a sign, a list or a second line is read in more than one way.
        (&Method::POST, Some(length), None) => parse_digits(length.as_bytes()),
        _ => None,
    }
}

/// A number of nothing but digits.
fn parse_digits<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What says where a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// So many bytes; 0 also where nothing is said of a body.
    Sized(u64),
    /// By an empty chunk.
    Chunked,
    /// In two ways, or in one that is not known.
    Ambiguous,
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
    let mut lengths = values(lines, "content-length").map(parse_digits::<u64>);
    let codings = values(lines, "transfer-encoding").next_back();
    match (codings, lengths.next()) {
        (None, None) => RequestFraming::Sized(0),
        // Repeated is as good as once, if it says the same.
        (None, Some(Some(bytes))) if lengths.all(|length| length == Some(bytes)) => {
            RequestFraming::Sized(bytes)
        }
        (Some(codings), None) if is_chunked_last(codings) => RequestFraming::Chunked,
        _ => RequestFraming::Ambiguous,
    }
}

/// The values of the lines of this name.
fn values<'l>(
    lines: &'l [httparse::Header<'_>],
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'l [u8]> {
    let named = lines
        .iter()
        .filter(move |line| line.name.eq_ignore_ascii_case(name));
    named.map(|line| line.value.trim_ascii())
}

fn is_chunked_last(codings: &[u8]) -> bool {
    let last = codings.rsplit(|byte| *byte == b',').next();
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Is this token in the list that a header is?
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|other| other.eq_ignore_ascii_case(token.as_bytes()))
}

/// A list may stand in several lines (RFC 9110 §5.3).
fn tokens<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tokens.map(<[u8]>::trim_ascii)
}

/// What says where an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFraming {
    /// So many bytes.
    Length(u64),
    /// Chunks, and an empty one at the end.
    Chunked,
}

/// Headers of an answer that are written here, whatever the routes say.
const OWN_HEADERS: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::DATE,
];

/// The head of an answer. `keep_alive` is the value of `Keep-Alive`, where the connection is kept.
pub(crate) fn render(
    answer: &response::Parts,
    framing: AnswerFraming,
    keep_alive: Option<&HeaderValue>,
) -> Bytes {
    // What this driver alone knows.
    let mut head = Vec::with_capacity(ANSWER_HEAD_BYTES);
    push_status(&mut head, answer.status);
    push_framing(&mut head, answer.status, framing);
    match keep_alive {
        Some(hint) => push_line(&mut head, b"keep-alive", hint.as_bytes()),
        None => push_line(&mut head, b"connection", b"close"),
    }
    date_line::push(&mut head);

    // What the routes say, but for what would contradict the above.
    let lines = answer.headers.iter();
    for (name, value) in lines.filter(|(name, _)| !OWN_HEADERS.contains(name)) {
        push_line(&mut head, name.as_str().as_bytes(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn push_status(head: &mut Vec<u8>, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
}

fn push_framing(head: &mut Vec<u8>, status: StatusCode, framing: AnswerFraming) {
    match framing {
        // Such an answer has no body, and may not speak of one (RFC 9110 §8.6).
        AnswerFraming::Length(0) if status == StatusCode::NO_CONTENT => {}
        AnswerFraming::Length(bytes) => {
            push_line(
                head,
                b"content-length",
                itoa::Buffer::new().format(bytes).as_bytes(),
            );
        }
        AnswerFraming::Chunked => push_line(head, b"transfer-encoding", b"chunked"),
    }
}

fn push_line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// Percent-encodes `<` and `>` in the first line that is not empty (RFC 9112 §2.2).
///
/// RFC 3986 wants them so; but `>` is a wildcard here, and `curl '…?topic=door.>'` is what a person
/// types first. Browsers and libraries encode it themselves.
pub(crate) fn encode_target(bytes: Bytes) -> Bytes {
    // Where the first line ends, behind the empty ones before it.
    let is_empty = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = bytes.iter().take_while(|byte| is_empty(byte)).count();
    let line_end = memchr::memchr(b'\n', &bytes[begin..]);
    let line_end = line_end.map_or(0, |end| begin + end);

    let (line, rest) = bytes.split_at(line_end);
    if memchr::memchr2(b'<', b'>', line).is_none() {
        return bytes;
    }
    encoded(line, rest).into()
}

/// The line with its angle brackets encoded, and the rest as it is.
fn encoded(line: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(line.len() + rest.len() + 16);
    for byte in line {
        match byte {
            b'<' => encoded.extend_from_slice(b"%3C"),
            b'>' => encoded.extend_from_slice(b"%3E"),
            other => encoded.push(*other),
        }
    }
    encoded.extend_from_slice(rest);
    encoded
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
    fn the_framing_is_said_once() {
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
    fn only_the_first_line_is_encoded() {
        let request =
            b"POST /v1/poll?topic=a.>&x=<b> HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        let expected =
            b"POST /v1/poll?topic=a.%3E&x=%3Cb%3E HTTP/1.1\r\nHost: <h>\r\n\r\n{\"a\":\"<>\"}\n";
        assert_eq!(encode_target(Bytes::from_static(request)), &expected[..]);
        assert_eq!(encode_target(Bytes::from_static(b">>>")), &b">>>"[..]);
        let late = Bytes::from_static(b"\r\n\nGET /> HTTP/1.1\n>");
        assert_eq!(encode_target(late), &b"\r\n\nGET /%3E HTTP/1.1\n>"[..]);
    }
}
