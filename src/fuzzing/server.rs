//! Heads of requests, as the driver for pages that wait takes them.

use axum::body::HttpBody as _;
use bytes::Bytes;

use super::Checked;
use crate::server::head;

/// A request as a reader of its own finds it.
struct Request<'b> {
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
    let Some(request) = read(bytes) else {
        return Err("what was taken is no request".into());
    };
    let (uri, method) = (taken.request.uri(), taken.request.method());
    hold!(
        method.as_str() == request.method,
        "{method} is {}",
        request.method
    );
    // A fragment is for the client alone (RFC 9110 §7.1); hyper drops it, too.
    let target = request.target.split('#').next().unwrap_or_default();
    hold!(uri.to_string() == target, "{uri} is {target}");
    let headers = taken.request.headers();
    hold!(headers.len() == request.headers.len(), "{headers:?}");
    for (name, value) in &request.headers {
        let mut taken = headers.get_all(name).iter();
        hold!(
            taken.any(|taken| taken.as_bytes() == *value),
            "{name} is not as sent: {headers:?}"
        );
    }
    let body = taken.length - request.head_bytes;
    hold!(
        plain_body(&request) == Some(body),
        "a body of {body} bytes was taken"
    );
    hold!(
        taken.request.body().size_hint().exact() == Some(body as u64),
        "the body has another length"
    );
    hold!(
        taken.keep_alive != says_close(&request),
        "keep_alive is {}",
        taken.keep_alive
    );
    for cut in 0..taken.length {
        let part = Bytes::copy_from_slice(&bytes[..cut]);
        hold!(
            head::parse(&part, |_, _| true).is_none(),
            "{cut} of {} bytes were taken",
            taken.length
        );
    }
    Ok(())
}

/// The length that everybody must find: no body, or one that is told once and in digits.
fn plain_body(request: &Request<'_>) -> Option<usize> {
    let headers = &request.headers;
    if headers
        .iter()
        .any(|(name, _)| ["transfer-encoding", "upgrade", "expect"].contains(&name.as_str()))
    {
        return None;
    }
    let lengths = headers
        .iter()
        .filter(|(name, _)| name == "content-length")
        .map(|(_, value)| *value);
    let lengths: Vec<&[u8]> = lengths.collect();
    match (request.method, &lengths[..]) {
        ("GET", []) => Some(0),
        ("POST", [digits]) if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn says_close(request: &Request<'_>) -> bool {
    let lines = request
        .headers
        .iter()
        .filter(|(name, _)| name == "connection")
        .map(|(_, value)| *value);
    let mut tokens = lines.flat_map(|line| line.split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Line by line; a line may end without its CR (RFC 9112 §2.2).
fn read(bytes: &[u8]) -> Option<Request<'_>> {
    let mut head_bytes = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        head_bytes += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    let first = std::str::from_utf8(lines.by_ref().find(|line| !line.is_empty())?).ok()?;
    let (method, rest) = first.split_once(' ')?;
    let target = rest.strip_suffix(" HTTP/1.1")?;
    let mut headers = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        headers.push((
            std::str::from_utf8(&line[..colon])
                .ok()?
                .to_ascii_lowercase(),
            line[colon + 1..].trim_ascii(),
        ));
    }
    drop(lines);
    Some(Request {
        method,
        target,
        headers,
        head_bytes,
    })
}
