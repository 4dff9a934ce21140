//! As much of HTTP/1.1 answers as a load generator needs.

/// A complete answer at the beginning of some bytes.
pub(crate) struct HttpAnswer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Where a head ends, with its empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

pub(crate) fn status(head: &[u8]) -> Option<u16> {
    // The status stands behind `HTTP/1.1 `, in three digits.
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// Whether the body of an answer with this head comes in chunks.
pub(crate) fn is_in_chunks(head: &[u8]) -> bool {
    let encoding = field(head, "transfer-encoding");
    encoding.is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

/// The first line, for a person.
pub(crate) fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

impl<'a> HttpAnswer<'a> {
    /// Parses the answer; `None` until all of it has come.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        // Until the empty line has come, nothing says how long the answer is.
        let Some(end) = head_end(bytes) else {
            return Ok(None);
        };
        let head = &bytes[..end];
        let status = status(head).ok_or_else(|| not_http(head))?;

        // The head alone says how much has to come.
        let length = body_length(head, status)?;
        let body = bytes.get(end..end + length);
        Ok(body.map(|body| HttpAnswer { status, head, body }))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        field(self.head, name)
    }

    pub(crate) fn is_last(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// The servers that are measured send the length of every answer that has a body.
fn body_length(head: &[u8], status: u16) -> Result<usize, String> {
    // Only a length says where a body ends; chunked bodies are not read here.
    match field(head, "content-length") {
        Some(length) => length.parse().map_err(|_| invalid_length(length)),
        None if matches!(status, 204 | 304) => Ok(0),
        None => Err(no_length(head)),
    }
}

fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;

    // The first line is the status.
    let lines = text.split("\r\n").skip(1);
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

fn not_http(head: &[u8]) -> String {
    format!("not an HTTP answer: {}", first_line(head))
}

fn invalid_length(length: &str) -> String {
    format!("an invalid content-length: {length:?}")
}

fn no_length(head: &[u8]) -> String {
    format!("an answer without content-length: {}", first_line(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: 7\r\n\r\nhi";
        for cut in 0..text.len() {
            assert!(
                HttpAnswer::read(&text[..cut]).expect("no error").is_none(),
                "cut at {cut}"
            );
        }
        let answer = HttpAnswer::read(text)
            .expect("no error")
            .expect("an answer");
        assert_eq!(
            (answer.status, answer.body, answer.header("etag")),
            (200, &b"hi"[..], Some("7"))
        );
        let bare = HttpAnswer::read(b"HTTP/1.1 204 No Content\r\n\r\n")
            .expect("no error")
            .expect("an answer");
        assert_eq!((bare.status, bare.body), (204, &b""[..]));
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        assert!(HttpAnswer::read(b"SSH-2.0\r\n\r\n").is_err());
        assert!(
            HttpAnswer::read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err()
        );
    }
}
