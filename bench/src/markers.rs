//! The marker that each published payload carries, and which markers a reader has received.
//!
//! A marker is 32 printable bytes: `~`, the run, the publisher, the sequence and the time in
//! hexadecimal, `~`. JSON changes none of them, so a reader finds it in raw bytes without parsing,
//! whatever surrounds it. Invariants:
//! - a sequence counts one publisher's events of one topic from 0, so each reader knows what it
//!   should have received;
//! - time is microseconds since this process began ([`now_us`]): publishers and readers are one
//!   process.

use std::sync::LazyLock;
use std::time::Instant;

/// The length of a marker in bytes, and so the smallest payload.
pub(crate) const MARKER_BYTES: usize = 32;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the first call.
pub(crate) fn now_us() -> u64 {
    u64::try_from(BEGUN.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) run: u32,
    pub(crate) publisher: u8,
    pub(crate) sequence: u32,
    /// When it was due.
    pub(crate) due_us: u64,
}

impl Marker {
    /// Appends the marker, followed by dots up to so many bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>, payload_bytes: usize) {
        // Every field has a fixed width, so that a reader needs no separators.
        let end = out.len() + payload_bytes.max(MARKER_BYTES);
        out.push(b'~');
        push_hex(out, u64::from(self.run), 8);
        push_hex(out, u64::from(self.publisher), 2);
        push_hex(out, u64::from(self.sequence), 8);
        push_hex(out, self.due_us, 12);
        out.push(b'~');
        out.resize(end, b'.');
    }

    fn read(bytes: &[u8]) -> Option<Marker> {
        // The fields have fixed places, as they were written.
        let inner = bytes.strip_prefix(b"~")?.strip_suffix(b"~")?;
        Some(Marker {
            run: u32::try_from(number(&inner[..8])?).ok()?,
            publisher: u8::try_from(number(&inner[8..10])?).ok()?,
            sequence: u32::try_from(number(&inner[10..18])?).ok()?,
            due_us: number(&inner[18..])?,
        })
    }
}

fn push_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    // The highest digit comes first, as `number` expects it.
    out.extend((0..digits).rev().map(|place| hex_digit(number, place)));
}

fn hex_digit(number: u64, place: u32) -> u8 {
    let value = usize::try_from(number >> (4 * place) & 15).unwrap_or_default();
    b"0123456789abcdef"[value]
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?))
    })
}

/// Calls `found` for each complete marker. Returns where an incomplete one begins, or the end.
pub(crate) fn scan(bytes: &[u8], mut found: impl FnMut(Marker)) -> usize {
    let mut from = 0;
    // The byte is rare in other text, so almost everything is skipped at once.
    while let Some(at) = memchr::memchr(b'~', &bytes[from..]).map(|at| from + at) {
        let Some(whole) = bytes.get(at..at + MARKER_BYTES) else {
            return at;
        };

        // A `~` of other text is no marker; the next one may be.
        from = match Marker::read(whole) {
            Some(marker) => {
                found(marker);
                at + MARKER_BYTES
            }
            None => at + 1,
        };
    }
    bytes.len()
}

/// What one reader has received from one publisher: the next sequence, and which of the last 64
/// have come.
#[derive(Clone, Copy, Default)]
pub(crate) struct SequenceTrack {
    next: u32,
    recent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    InOrder,
    /// New, but a later one has come before it.
    OutOfOrder,
    /// Received before, or so far behind that this is unknown.
    Repeated,
}

impl SequenceTrack {
    pub(crate) fn see(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.next {
            self.advance(sequence);
            return Arrival::InOrder;
        }

        // The lowest bit is the newest sequence; a shift by 64 or more leaves none.
        let back = self.next - sequence - 1;
        let bit = 1_u64.checked_shl(back).unwrap_or(0);
        if bit == 0 || self.recent & bit != 0 {
            return Arrival::Repeated;
        }
        self.recent |= bit;
        Arrival::OutOfOrder
    }

    fn advance(&mut self, sequence: u32) {
        // Sequences that were left out get a zero each, and may still come.
        let step = sequence - self.next + 1;
        self.recent = self.recent.checked_shl(step).unwrap_or(0) | 1;
        self.next = sequence + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(sequence: u32) -> Marker {
        Marker {
            run: 0xdead_beef,
            publisher: 200,
            sequence,
            due_us: 123_456_789_012,
        }
    }

    #[test]
    fn a_marker_is_found_once_wherever_a_read_ends() {
        let mut text = b"id: 1-a~b\ndata: \"~~ ~".to_vec();
        marker(7).write(&mut text, 128);
        text.extend_from_slice(b"\"\n\ndata: ~");
        marker(u32::MAX).write(&mut text, 0);
        for cut in 0..=text.len() {
            let mut found = Vec::new();
            let kept = scan(&text[..cut], |m| found.push(m));
            assert!(cut - kept < MARKER_BYTES);
            scan(&text[kept..], |m| found.push(m));
            assert_eq!(found, [marker(7), marker(u32::MAX)], "cut at {cut}");
        }
    }

    #[test]
    fn a_payload_has_the_wanted_length_and_holds_at_least_its_marker() {
        for (wanted, length) in [(128, 128), (32, 32), (0, 32)] {
            let mut text = Vec::new();
            marker(1).write(&mut text, wanted);
            assert_eq!(text.len(), length);
        }
    }

    #[test]
    fn repeated_and_late_events_are_told_apart() {
        use Arrival::{InOrder, OutOfOrder, Repeated};
        let mut track = SequenceTrack::default();
        let seen = [0, 1, 3, 2, 2, 1, 100, 99, 99, 3, 36, 37].map(|sequence| track.see(sequence));
        let expected = [
            InOrder, InOrder, InOrder, OutOfOrder, Repeated, Repeated, InOrder, OutOfOrder,
            Repeated, Repeated, Repeated, OutOfOrder,
        ];
        assert_eq!(seen, expected);
    }
}
