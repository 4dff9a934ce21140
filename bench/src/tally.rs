//! What one thread of readers has counted.

use hdrhistogram::Histogram;

use super::markers::{Arrival, Marker, SequenceTrack, now_us, scan};
use crate::limits;

/// Microseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_US, 3).expect("constant bounds that are in order")
}

/// Totals over many readers.
pub(crate) struct Tally {
    /// Markers of another run are someone else's, or old.
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

    /// Counts an event of one reader.
    fn count(&mut self, reader: &mut ReceivedEvents, marker: Marker, now_us: u64) {
        // A server that was used before may still have events of an earlier run.
        let track = reader.track(marker).filter(|_| marker.run == self.run);
        let Some(arrival) = track.map(|track| track.see(marker.sequence)) else {
            self.strange += 1;
            return;
        };

        // A repeated event is not delivered again; a late one is, and also counted as such.
        match arrival {
            Arrival::Repeated => self.repeated += 1,
            Arrival::OutOfOrder => {
                self.out_of_order += 1;
                self.deliver(reader, marker, now_us);
            }
            Arrival::InOrder => self.deliver(reader, marker, now_us),
        }
    }

    fn deliver(&mut self, reader: &mut ReceivedEvents, marker: Marker, now_us: u64) {
        reader.received += 1;
        self.delivered += 1;
        self.last_us = now_us;

        // An event that was due while its reader was away is late because of the reader.
        if marker.due_us < reader.live_from_us {
            self.resumed += 1;
            return;
        }
        let latency_us = now_us.saturating_sub(marker.due_us);
        self.latency_us.saturating_record(latency_us);
    }
}

/// What one reader has received.
pub(crate) struct ReceivedEvents {
    pub(crate) received: u64,
    /// Events that were due before this were late because the reader was away.
    pub(crate) live_from_us: u64,
    tracks: Box<[SequenceTrack]>,
    /// The beginning of a marker whose end is still to come.
    carry: Vec<u8>,
}

impl ReceivedEvents {
    pub(crate) fn new(publishers: usize) -> Self {
        ReceivedEvents {
            received: 0,
            live_from_us: 0,
            tracks: vec![SequenceTrack::default(); publishers].into(),
            carry: Vec::new(),
        }
    }

    fn track(&mut self, marker: Marker) -> Option<&mut SequenceTrack> {
        self.tracks.get_mut(usize::from(marker.publisher))
    }

    /// Finds the markers in the next bytes of a stream.
    pub(crate) fn feed(&mut self, bytes: &[u8], tally: &mut Tally) {
        tally.bytes += bytes.len() as u64;
        if self.carry.is_empty() {
            // The usual case: nothing was left over, so nothing has to be joined.
            let rest = self.count(bytes, tally);
            self.carry.extend_from_slice(rest);
            return;
        }

        // The copy has its exact size, because there may be 100,000 readers.
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(bytes);
        self.carry = self.count(&joined, tally).to_vec();
    }

    /// Counts all complete markers. Returns what is left.
    fn count<'b>(&mut self, bytes: &'b [u8], tally: &mut Tally) -> &'b [u8] {
        // One clock reading a read: the events have come together.
        let now_us = now_us();
        let end = scan(bytes, |marker| tally.count(self, marker, now_us));
        &bytes[end..]
    }
}
