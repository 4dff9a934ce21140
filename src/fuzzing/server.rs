//! Heads of requests, as the lean HTTP/1.1 driver takes them.

use axum::body::HttpBody as _;
use bytes::Bytes;

use super::Checked;
use crate::server::head;

/// A request as a second reader finds it.
struct ParsedRequest<'b> {
    method: &'b str,
    target: &'b str,
    headers: Vec<(String, &'b [u8])>,
    head_bytes: usize,
}

/// What is taken says the same to another reader, and could not be read in two ways; what is not
/// whole is not taken.
pub fn head(bytes: &[u8]) -> Checked {
    let Some(taken) = head::parse(&Bytes::copy_from_slice(bytes), |_, _| true) else {
        return Ok(());
    };

    // Readers that disagree on where a request ends let one be smuggled into another.
    let request = read(bytes).ok_or("what was taken is no request")?;
    first_line_fits(&taken.request, &request)?;
    headers_fit(taken.request.headers(), &request)?;
    let length = taken.request.body().size_hint().exact();
    body_fits(&request, taken.length - request.head_bytes, length)?;
    connection_fits(&request, taken.keep_alive)?;
    no_part_is_taken(&bytes[..taken.length])
}

fn connection_fits(request: &ParsedRequest<'_>, keep_alive: bool) -> Checked {
    // HTTP/1.1 keeps a connection open unless one side asks to close it.
    let is_right = keep_alive != says_close(request);
    hold!(is_right, "keep_alive is {keep_alive}");
    Ok(())
}

fn first_line_fits<B>(taken: &axum::http::Request<B>, request: &ParsedRequest<'_>) -> Checked {
    let (method, uri) = (taken.method(), taken.uri());
    let is_same = method.as_str() == request.method;
    hold!(is_same, "{method} is {}", request.method);
    // A fragment is for the client alone (RFC 9110 §7.1); hyper drops it, too.
    let target = request.target.split('#').next().unwrap_or_default();
    hold!(uri.to_string() == target, "{uri} is {target}");
    Ok(())
}

fn headers_fit(taken: &axum::http::HeaderMap, request: &ParsedRequest<'_>) -> Checked {
    // Looking each one up, as below, would not notice one that was added.
    hold!(taken.len() == request.headers.len(), "{taken:?}");
    for (name, value) in &request.headers {
        let mut values = taken.get_all(name).iter();
        let is_kept = values.any(|taken| taken.as_bytes() == *value);
        hold!(is_kept, "{name} is not as sent: {taken:?}");
    }
    Ok(())
}

fn body_fits(request: &ParsedRequest<'_>, bytes: usize, length: Option<u64>) -> Checked {
    let is_right = plain_body(request) == Some(bytes);
    hold!(is_right, "a body of {bytes} bytes was taken");
    let is_same = length == Some(bytes as u64);
    hold!(is_same, "the body has another length");
    Ok(())
}

fn no_part_is_taken(bytes: &[u8]) -> Checked {
    let length = bytes.len();
    // Whatever arrives first of a request, the driver waits for the rest.
    for cut in 0..length {
        let part = Bytes::copy_from_slice(&bytes[..cut]);
        let taken = head::parse(&part, |_, _| true);
        hold!(taken.is_none(), "{cut} of {length} bytes were taken");
    }
    Ok(())
}

/// The length that everybody must find: no body, or one that is given once and in digits.
fn plain_body(request: &ParsedRequest<'_>) -> Option<usize> {
    let mut headers = request.headers.iter();
    // With one of these headers, not every reader finds the end of the body alike.
    if headers.any(|(name, _)| CHANGES_LENGTH.contains(&&**name)) {
        return None;
    }
    let lengths: Vec<&[u8]> = values(request, "content-length").collect();

    // Two lengths, even equal ones, are refused: readers differ in which one counts.
    match (request.method, &lengths[..]) {
        ("GET", []) => Some(0),
        ("POST", [digits]) => number(digits),
        _ => None,
    }
}

const CHANGES_LENGTH: [&str; 3] = ["transfer-encoding", "upgrade", "expect"];

fn values<'r>(request: &'r ParsedRequest<'_>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let named = request
        .headers
        .iter()
        .filter(move |(other, _)| other == name);
    named.map(|(_, value)| *value)
}

fn number(digits: &[u8]) -> Option<usize> {
    // `parse` would take a sign, too.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn says_close(request: &ParsedRequest<'_>) -> bool {
    // The header is a list, over all its lines.
    let lines = values(request, "connection");
    let mut tokens = lines.flat_map(|line| line.split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Line by line; a line may end without its CR (RFC 9112 §2.2).
fn read(bytes: &[u8]) -> Option<ParsedRequest<'_>> {
    let mut head_bytes = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        head_bytes += line.len();
        without_end(line)
    });
    // Empty lines before a request are passed over.
    let first = lines.by_ref().find(|line| !line.is_empty())?;
    let (method, target) = read_first_line(first)?;
    let headers = lines.by_ref().take_while(|line| !line.is_empty());
    let headers = headers.map(read_header).collect::<Option<_>>()?;

    // Its borrow of the counter ends here; by now that is the length of the head.
    drop(lines);
    Some(ParsedRequest {
        method,
        target,
        headers,
        head_bytes,
    })
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn read_first_line(line: &[u8]) -> Option<(&str, &str)> {
    let (method, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((method, rest.strip_suffix(" HTTP/1.1")?))
}

fn read_header(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    Some((name.to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
}
