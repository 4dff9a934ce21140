//! Where a body that comes in chunks ends (RFC 9112 §7.1).
//!
//! Nothing is decoded here. Invariant: whatever hyper takes for such a body ends here at the same
//! byte; what it refuses may be followed in any way.

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: ChunkState,
    /// Bytes of the chunk that comes.
    size: u64,
    has_digits: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum ChunkState {
    /// The digits of a chunk's size.
    #[default]
    Size,
    /// What else stands on its line.
    Extension,
    /// So many bytes of data and line end.
    Data(u64),
    /// At the beginning of a line behind the last chunk.
    TrailerBegin,
    /// Within such a line.
    Trailer,
}

/// It is not a body in chunks.
#[derive(Debug)]
pub(super) struct Malformed;

impl Chunks {
    /// Follows what came next. Gives where in it the body ends, once it does.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            // Data is passed over at once; anything else is looked at byte by byte.
            if let ChunkState::Data(left) = self.state {
                at += self.skip_data(left, bytes.len() - at);
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.step(byte)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Passes over data, of which so much is left in the chunk and so much has come.
    fn skip_data(&mut self, left: u64, come: usize) -> usize {
        let skipped = usize::try_from(left).map_or(come, |left| left.min(come));
        self.state = match left - skipped as u64 {
            0 => ChunkState::Size,
            left => ChunkState::Data(left),
        };
        skipped
    }

    /// One byte outside the data; true when it is the last one.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        use ChunkState::{Data, Extension, Size, Trailer, TrailerBegin};
        self.state = match (self.state, byte) {
            (Size, digit) if digit.is_ascii_hexdigit() => self.push_digit(digit)?,
            (Size | Extension, b'\n') => self.end_of_size()?,
            (Size | Extension, _) => Extension,
            // An empty line ends the trailers, and the body.
            (TrailerBegin, b'\n') => return Ok(true),
            (TrailerBegin, b'\r') | (Trailer, b'\n') => TrailerBegin,
            (TrailerBegin | Trailer, _) => Trailer,
            (Data(left), _) => Data(left),
        };
        Ok(false)
    }

    fn push_digit(&mut self, digit: u8) -> Result<ChunkState, Malformed> {
        let digit = u64::from(char::from(digit).to_digit(16).unwrap_or_default());
        // A size beyond what a machine counts is no size.
        let size = self.size.checked_mul(16);
        let size = size.and_then(|size| size.checked_add(digit));
        (self.size, self.has_digits) = (size.ok_or(Malformed)?, true);
        Ok(ChunkState::Size)
    }

    fn end_of_size(&mut self) -> Result<ChunkState, Malformed> {
        let size = std::mem::take(&mut self.size);
        if !std::mem::take(&mut self.has_digits) {
            return Err(Malformed);
        }
        // The last chunk is empty; any other has its data and a line end, which is CR and LF.
        match size {
            0 => Ok(ChunkState::TrailerBegin),
            size => size.checked_add(2).map(ChunkState::Data).ok_or(Malformed),
        }
    }
}
