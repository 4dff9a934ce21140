//! Complete events of a stream, so that a reader who hangs up within one knows which it has.
//!
//! Invariants:
//! - what is passed on ends with an empty line, like an event that a browser dispatches;
//! - how the bytes are cut into reads and chunks makes no difference;
//! - less than one event is held, of at most [`limits::EVENT_BYTES`].

use httparse::Status;
use memchr::memmem;

use crate::limits;

const EVENT_END: &[u8] = b"\n\n";

/// Splits a body of Server-Sent Events in chunks (RFC 9112 §7.1).
#[derive(Default)]
pub(super) struct EventSplitter {
    /// Bytes whose meaning depends on those that follow.
    framing: Vec<u8>,
    /// Bytes that are left of the current chunk.
    left: usize,
    /// The incomplete event.
    event: Vec<u8>,
}

impl EventSplitter {
    /// Calls `whole` for each event that ends in these bytes, with its empty line.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut whole: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            // Between chunks each byte may be the one that completes the next size.
            if self.left == 0 {
                bytes = self.begin_chunk(bytes)?;
                continue;
            }

            // A chunk may end within these bytes, or go on in the next ones.
            let (text, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= text.len();
            self.take(text, &mut whole)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Takes one byte of what is between two chunks: the end of one, and the size of the next.
    fn begin_chunk<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        self.framing.push(bytes[0]);
        let size = self.framing.strip_prefix(b"\r\n").unwrap_or(&self.framing);
        match httparse::parse_chunk_size(size) {
            Ok(Status::Complete((_, size))) => self.start_chunk(size)?,
            Ok(Status::Partial) => {}
            // The first half of the line end after a chunk is not a size.
            Err(_) if self.framing == b"\r" => {}
            Err(_) => return Err("the body is not in chunks".to_owned()),
        }
        Ok(&bytes[1..])
    }

    fn start_chunk(&mut self, size: u64) -> Result<(), String> {
        // The last chunk is empty.
        if size == 0 {
            return Err("the server ended the stream".to_owned());
        }
        let size = usize::try_from(size);
        self.left = size.map_err(|_| "a chunk of an impossible size".to_owned())?;
        self.framing.clear();
        Ok(())
    }

    fn take(&mut self, text: &[u8], whole: &mut impl FnMut(&[u8])) -> Result<(), String> {
        // The end of an event may have begun in the bytes before.
        let seen = self.event.len().saturating_sub(EVENT_END.len() - 1);
        self.event.extend_from_slice(text);
        let mut from = 0;
        while let Some(end) = self.event_end(from.max(seen)) {
            whole(&self.event[from..end]);
            from = end;
        }

        // What is left is the beginning of the next event.
        self.event.drain(..from);
        if self.event.len() > limits::EVENT_BYTES {
            return Err("an event without an end".to_owned());
        }
        Ok(())
    }

    fn event_end(&self, from: usize) -> Option<usize> {
        let at = memmem::find(&self.event[from..], EVENT_END)?;
        Some(from + at + EVENT_END.len())
    }
}

/// The id with which a browser would come back after this event.
pub(super) fn id_of(event: &[u8]) -> Option<&str> {
    // The last one counts, where there are several.
    let mut lines = event.rsplit(|b| *b == b'\n');
    let id = lines.find_map(|line| line.strip_prefix(b"id: "))?;
    std::str::from_utf8(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_on_once_when_it_is_complete_however_it_is_cut() {
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
                let (mut reader, mut found) = (EventSplitter::default(), Vec::new());
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
    fn the_last_chunk_and_what_is_not_a_chunk_are_errors() {
        let fed = |bytes: &[u8]| EventSplitter::default().feed(bytes, |_| {});
        assert!(fed(b"2\r\nhi\r\n0\r\n\r\n").is_err_and(|error| error.contains("ended")));
        assert!(fed(b"data: x\n\n").is_err_and(|error| error.contains("not in chunks")));
    }
}
