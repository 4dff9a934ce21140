//! Where a body that comes in chunks ends (RFC 9112 §7.1).
//!
//! Nothing is decoded here. Invariant: whatever hyper takes for such a body ends here at the same
//! byte; what it refuses may be followed in any way.

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: ChunkState,
    /// Of the chunk that comes.
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
    /// At the begin of a line behind the last chunk.
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
            if let ChunkState::Data(left) = self.state {
                let rest = bytes.len() - at;
                let here = usize::try_from(left).map_or(rest, |left| left.min(rest));
                at += here;
                self.state = match left - here as u64 {
                    0 => ChunkState::Size,
                    left => ChunkState::Data(left),
                };
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

    /// One byte outside the data; true when it is the last one.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.state = match (self.state, byte) {
            (ChunkState::Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(digit).to_digit(16).unwrap_or_default());
                let size = self
                    .size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit));
                self.size = size.ok_or(Malformed)?;
                self.has_digits = true;
                ChunkState::Size
            }
            (ChunkState::Size | ChunkState::Extension, b'\n') => self.end_of_size()?,
            (ChunkState::Size | ChunkState::Extension, _) => ChunkState::Extension,
            (ChunkState::TrailerBegin, b'\n') => return Ok(true),
            (ChunkState::TrailerBegin, b'\r') | (ChunkState::Trailer, b'\n') => {
                ChunkState::TrailerBegin
            }
            (ChunkState::TrailerBegin | ChunkState::Trailer, _) => ChunkState::Trailer,
            (ChunkState::Data(left), _) => ChunkState::Data(left),
        };
        Ok(false)
    }

    fn end_of_size(&mut self) -> Result<ChunkState, Malformed> {
        let (size, has_digits) = (self.size, self.has_digits);
        (self.size, self.has_digits) = (0, false);
        match size {
            _ if !has_digits => Err(Malformed),
            0 => Ok(ChunkState::TrailerBegin),
            // The data and its line end, which is CR and LF.
            size => size.checked_add(2).map(ChunkState::Data).ok_or(Malformed),
        }
    }
}
