//! As much of HTTP/1.1 answers as a load generator needs.

/// A whole answer at the beginning of some bytes.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Where a head ends, with its empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

pub(crate) fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// The first line, for a person.
pub(crate) fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

impl<'a> Answer<'a> {
    /// None while its end is still to come.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let Some(end) = head_end(bytes) else {
            return Ok(None);
        };
        let head = &bytes[..end];
        let status = status(head).ok_or_else(|| format!("no HTTP answer: {}", first_line(head)))?;
        let length = match field(head, "content-length") {
            Some(length) => length
                .parse()
                .map_err(|_| format!("a content-length of {length:?}"))?,
            None if matches!(status, 204 | 304) => 0,
            None => {
                return Err(format!(
                    "an answer without content-length: {}",
                    first_line(head)
                ));
            }
        };
        let Some(body) = bytes.get(end..end + length) else {
            return Ok(None);
        };
        Ok(Some(Answer { status, head, body }))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        field(self.head, name)
    }

    pub(crate) fn is_last(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;
    let fields = text
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'));
    fields
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: 7\r\n\r\nhi";
        for cut in 0..text.len() {
            assert!(
                Answer::read(&text[..cut]).expect("no fault").is_none(),
                "cut at {cut}"
            );
        }
        let answer = Answer::read(text).expect("no fault").expect("an answer");
        assert_eq!(
            (answer.status, answer.body, answer.header("etag")),
            (200, &b"hi"[..], Some("7"))
        );
        let bare = Answer::read(b"HTTP/1.1 204 No Content\r\n\r\n")
            .expect("no fault")
            .expect("an answer");
        assert_eq!((bare.status, bare.body), (204, &b""[..]));
    }

    #[test]
    fn what_is_no_answer_is_a_fault() {
        assert!(Answer::read(b"SSH-2.0\r\n\r\n").is_err());
        assert!(Answer::read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
