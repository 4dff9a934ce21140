//! Where the messages of a request's body end.
//!
//! Invariant: counting keeps no bytes of a message, only their number.

/// Finds where messages end.
pub(super) trait MessageEnds {
    /// Takes the next bytes. Gives how many bytes of an incomplete message have come by then.
    fn advance(&mut self, piece: &[u8]) -> usize;
}

/// Lines of text.
#[derive(Default)]
pub(super) struct Lines {
    unfinished_bytes: usize,
}

impl MessageEnds for Lines {
    fn advance(&mut self, piece: &[u8]) -> usize {
        // Behind the last line end is the beginning of the next line.
        self.unfinished_bytes = match memchr::memrchr(b'\n', piece) {
            Some(end) => piece.len() - end - 1,
            None => self.unfinished_bytes + piece.len(),
        };
        self.unfinished_bytes
    }
}

/// What stands before a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Messages of gRPC, each behind its length.
#[derive(Default)]
pub(super) struct GrpcMessages {
    prefix: [u8; PREFIX_BYTES],
    /// Of the prefix and the message behind it, so much has come.
    arrived_bytes: usize,
}

impl GrpcMessages {
    /// What is needed at the moment: the prefix, or all that it announces.
    fn needed_bytes(&self) -> usize {
        if self.arrived_bytes < PREFIX_BYTES {
            return PREFIX_BYTES;
        }
        // The first byte says whether the message is compressed, which changes nothing here.
        let [_, length @ ..] = self.prefix;
        PREFIX_BYTES + u32::from_be_bytes(length) as usize
    }

    /// Takes no more than is needed at the moment; gives what is left.
    fn take<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let missing = self.needed_bytes() - self.arrived_bytes;
        let (taken, rest) = piece.split_at(missing.min(piece.len()));
        // Only the prefix is kept: of the message behind it, the bytes are counted.
        let end = self.arrived_bytes + taken.len();
        if let Some(prefix) = self.prefix.get_mut(self.arrived_bytes..end) {
            prefix.copy_from_slice(taken);
        }
        self.arrived_bytes = end;
        rest
    }

    fn is_complete(&self) -> bool {
        self.arrived_bytes >= PREFIX_BYTES && self.arrived_bytes == self.needed_bytes()
    }
}

impl MessageEnds for GrpcMessages {
    fn advance(&mut self, mut piece: &[u8]) -> usize {
        while !piece.is_empty() {
            piece = self.take(piece);
            // A whole prefix may announce nothing, and then it is a whole message, too.
            if self.is_complete() {
                self.arrived_bytes = 0;
            }
        }
        self.arrived_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(mut ends: impl MessageEnds, pieces: &[&[u8]]) -> Vec<usize> {
        pieces.iter().map(|piece| ends.advance(piece)).collect()
    }

    #[test]
    fn what_is_unfinished_is_counted() {
        let lines: [&[u8]; 5] = [b"ab", b"c", b"d\ne", b"\n", b"f\ng\n"];
        assert_eq!(advance(Lines::default(), &lines), [2, 3, 1, 0, 0]);
        let messages: [&[u8]; 7] = [
            b"\0\0\0",           // a prefix, …
            b"\0\x02",           // … its end, …
            b"a",                // … its message, …
            b"b\0\0\0\0\0\0",    // … its end, an empty message, and a prefix again
            b"\0\0\0\x01",       // its end
            b"c\x01\0\0\0\x01d", // its message, and another one
            b"\0\0\0\0\0\0\0\0\0\x01",
        ];
        assert_eq!(
            advance(GrpcMessages::default(), &messages),
            [3, 5, 6, 1, 5, 0, 5]
        );
    }
}
