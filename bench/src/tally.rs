//! What one thread of readers has counted.

use hdrhistogram::Histogram;

use super::markers::{Marker, Sight, Track, now_us};
use crate::limits;

/// Microseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_US, 3).expect("constant bounds that are in order")
}

/// Totals over many readers.
pub(crate) struct Tally {
    /// Markers of another run are those of somebody else, or of history.
    run: u32,
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) delivered: u64,
    pub(crate) repeated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) strange: u64,
    /// Readers that hung up and came back.
    pub(crate) reconnects: u64,
    /// Events that were due while their reader was away.
    pub(crate) resumed: u64,
    pub(crate) bytes: u64,
    pub(crate) last_us: u64,
}

impl Tally {
    pub(crate) fn new(run: u32) -> Self {
        Tally {
            run,
            latency_us: histogram(),
            delivered: 0,
            repeated: 0,
            out_of_order: 0,
            strange: 0,
            reconnects: 0,
            resumed: 0,
            bytes: 0,
            last_us: 0,
        }
    }

    /// Counts what came in one read of one reader.
    pub(crate) fn count(&mut self, reader: &mut Seen, marker: Marker, now_us: u64) {
        let track = reader
            .tracks
            .get_mut(usize::from(marker.publisher))
            .filter(|_| marker.run == self.run);
        let Some(track) = track else {
            self.strange += 1;
            return;
        };
        match track.see(marker.sequence) {
            Sight::Repeated => {
                self.repeated += 1;
                return;
            }
            Sight::OutOfOrder => self.out_of_order += 1,
            Sight::InOrder => {}
        }
        reader.received += 1;
        self.delivered += 1;
        self.last_us = now_us;
        if marker.due_us < reader.live_from_us {
            self.resumed += 1;
        } else {
            self.latency_us
                .saturating_record(now_us.saturating_sub(marker.due_us));
        }
    }
}

/// What one reader has had.
pub(crate) struct Seen {
    pub(crate) received: u64,
    /// What was due before it came back is late by its own doing.
    pub(crate) live_from_us: u64,
    tracks: Box<[Track]>,
    /// The beginning of a marker whose end is still to come.
    carry: Vec<u8>,
}

impl Seen {
    pub(crate) fn new(publishers: usize) -> Self {
        Seen {
            received: 0,
            live_from_us: 0,
            tracks: vec![Track::default(); publishers].into(),
            carry: Vec::new(),
        }
    }

    /// Finds the markers in the next bytes of a stream.
    pub(crate) fn feed(&mut self, bytes: &[u8], tally: &mut Tally) {
        tally.bytes += bytes.len() as u64;
        let now_us = now_us();
        if self.carry.is_empty() {
            let kept = super::markers::scan(bytes, |marker| tally.count(self, marker, now_us));
            self.carry.extend_from_slice(&bytes[kept..]);
        } else {
            let mut joined = std::mem::take(&mut self.carry);
            joined.extend_from_slice(bytes);
            let kept = super::markers::scan(&joined, |marker| tally.count(self, marker, now_us));
            self.carry = joined[kept..].to_vec(); // of its own size: there may be 100,000 of these
        }
    }
}
