//! Whole events of a stream, so that a reader who hangs up within one knows what it has.
//!
//! Invariants:
//! - what is handed on ends with an empty line, as an event that a browser takes does;
//! - how the bytes are cut into reads and chunks makes no difference;
//! - what is held is less than one event, of at most [`limits::EVENT_BYTES`].

use memchr::memmem;

use crate::limits;

const EVENT_END: &[u8] = b"\n\n";

/// A body of Server-Sent Events in chunks (RFC 9112 §7.1).
#[derive(Default)]
pub(crate) struct Events {
    /// Bytes whose meaning depends on those that follow.
    framing: Vec<u8>,
    /// Of the chunk that has begun.
    left: usize,
    /// The event that has begun.
    event: Vec<u8>,
}

impl Events {
    /// Calls `whole` for each event that ends in these bytes, with its empty line.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut whole: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            if self.left == 0 {
                bytes = self.begin_chunk(bytes)?;
                continue;
            }
            let (text, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= text.len();
            self.take(text, &mut whole)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Takes one byte of what stands between two chunks: the end of one, and the size of the next.
    fn begin_chunk<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        self.framing.push(bytes[0]);
        let size = self.framing.strip_prefix(b"\r\n").unwrap_or(&self.framing);
        match httparse::parse_chunk_size(size) {
            Ok(httparse::Status::Complete((_, 0))) => Err("the server ended the stream".to_owned()),
            Ok(httparse::Status::Complete((_, size))) => {
                self.left =
                    usize::try_from(size).map_err(|_| "a chunk without measure".to_owned())?;
                self.framing.clear();
                Ok(&bytes[1..])
            }
            Ok(httparse::Status::Partial) => Ok(&bytes[1..]),
            Err(_) if self.framing == b"\r" => Ok(&bytes[1..]),
            Err(_) => Err("what comes is not in chunks".to_owned()),
        }
    }

    fn take(&mut self, text: &[u8], whole: &mut impl FnMut(&[u8])) -> Result<(), String> {
        let seen = self.event.len().saturating_sub(EVENT_END.len() - 1);
        self.event.extend_from_slice(text);
        let mut from = 0;
        while let Some(at) = memmem::find(&self.event[from.max(seen)..], EVENT_END) {
            let end = from.max(seen) + at + EVENT_END.len();
            whole(&self.event[from..end]);
            from = end;
        }
        self.event.drain(..from);
        if self.event.len() > limits::EVENT_BYTES {
            return Err("an event without an end".to_owned());
        }
        Ok(())
    }
}

/// What the event tells a browser to come back with.
pub(crate) fn id_of(event: &[u8]) -> Option<&str> {
    let mut ids = event
        .rsplit(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"id: "));
    ids.next().and_then(|id| std::str::from_utf8(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_handed_on_once_when_it_is_whole_however_it_is_cut() {
        let events = [
            "event: hello\ndata: {}\n\n",
            "id: 1-a\ndata: x\n\n",
            ": quiet\n\n",
            "id: 2-a\nid: 3-a\ndata: y\n\n",
        ];
        let text = events.concat();
        for chunk in 1..text.len() {
            let chunks = text.as_bytes().chunks(chunk);
            let body: Vec<u8> = chunks
                .flat_map(|c| [format!("{:x}\r\n", c.len()).as_bytes(), c, b"\r\n"].concat())
                .collect();
            for cut in 0..body.len() {
                let (mut reader, mut found) = (Events::default(), Vec::new());
                for part in [&body[..cut], &body[cut..]] {
                    let whole = |event: &[u8]| {
                        found.push(String::from_utf8(event.to_vec()).expect("UTF-8"));
                    };
                    reader.feed(part, whole).expect("chunks");
                }
                assert_eq!(found, events, "chunks of {chunk}, cut at {cut}");
                assert!(reader.event.is_empty());
            }
        }
        assert_eq!(
            events.map(|event| id_of(event.as_bytes())),
            [None, Some("1-a"), None, Some("3-a")]
        );
    }

    #[test]
    fn the_last_chunk_and_what_is_no_chunk_are_told() {
        let fed = |bytes: &[u8]| Events::default().feed(bytes, |_| {});
        assert!(fed(b"2\r\nhi\r\n0\r\n\r\n").is_err_and(|why| why.contains("ended")));
        assert!(fed(b"data: x\n\n").is_err_and(|why| why.contains("not in chunks")));
    }
}
