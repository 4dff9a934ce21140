//! The text of a body in chunks (RFC 9112 §7.1), without copying it.
//!
//! A server may end a chunk within an event, and so within a marker: what is searched for markers
//! has to be the text alone. Invariant: how the bytes are cut into reads makes no difference.

/// Longer chunks are an error, because no server here sends any.
const MOST_BYTES: usize = 1 << 30;

/// Where in a body the next byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Place {
    #[default]
    Size,
    /// The rest of the line that has the size.
    SizeLine,
    Text,
    /// The line end after a chunk.
    TextEnd,
    /// Behind the last chunk.
    End,
}

#[derive(Default)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes that are left of the chunk.
    left: usize,
}

impl Chunks {
    /// Calls `found` with the text in these bytes, part by part.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut found: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.place == Place::Text {
                let (text, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= text.len();
                found(text);
                bytes = rest;
                if self.left == 0 {
                    self.place = Place::TextEnd;
                }
                continue;
            }
            self.take(*first)?;
            bytes = rest;
        }
        Ok(())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.place == Place::End
    }

    /// Takes a byte of what is between two chunks.
    fn take(&mut self, byte: u8) -> Result<(), String> {
        self.place = match (self.place, byte) {
            (Place::Size, b'\r' | b';') => Place::SizeLine,
            (Place::Size, digit) => {
                self.add_digit(digit)?;
                Place::Size
            }
            (Place::SizeLine, b'\n') if self.left == 0 => Place::End,
            (Place::SizeLine, b'\n') => Place::Text,
            (Place::TextEnd, b'\n') => Place::Size,
            (Place::TextEnd, other) if other != b'\r' => return Err(not_in_chunks()),
            (place, _) => place,
        };
        Ok(())
    }

    fn add_digit(&mut self, digit: u8) -> Result<(), String> {
        let value = char::from(digit).to_digit(16).ok_or_else(not_in_chunks)?;
        let value = usize::try_from(value).map_err(|_| not_in_chunks())?;
        self.left = self.left * 16 + value;
        if self.left > MOST_BYTES {
            return Err(not_in_chunks());
        }
        Ok(())
    }
}

fn not_in_chunks() -> String {
    "the body is not in chunks".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_however_the_body_is_cut() {
        let body = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n";
        for cut in 0..=body.len() {
            let (mut chunks, mut text) = (Chunks::default(), Vec::new());
            for part in [&body[..cut], &body[cut..]] {
                let taken = chunks.feed(part, |found| text.extend_from_slice(found));
                taken.expect("a body in chunks");
            }
            assert_eq!(text, b"abc0123456789\n", "cut at {cut}");
            assert!(chunks.has_ended());
        }
    }

    #[test]
    fn what_is_not_in_chunks_is_an_error() {
        for wrong in [&b"data: x\n\n"[..], b"1\r\nab", b"fffffffff\r\n"] {
            assert!(Chunks::default().feed(wrong, |_| ()).is_err());
        }
    }
}
