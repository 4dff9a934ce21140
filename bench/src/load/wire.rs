//! What the sweeper needs to know of a protocol.

use crate::tally::Tally;

/// One connection's protocol, with the readers on it.
pub(super) trait Wire {
    /// Writes what to send once connected. A reader that comes back sends its last cursor.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Takes the next bytes, and may answer them.
    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String>;
    /// How many readers read now.
    fn reading(&self) -> usize;
    /// How many readers were refused or had their stream ended, while the connection goes on.
    fn ended(&self) -> usize {
        0
    }
    /// How many readers the connection has.
    fn readers(&self) -> usize {
        1
    }
    /// The connection is gone, and will be made again.
    fn hang_up(&mut self) {}
    /// Topic and number of events of each reader that reads, or did so while the run counted.
    fn received(&self) -> Vec<(usize, u64)>;
}

/// What a wire works with.
pub(super) struct WireContext<'a> {
    pub(super) tally: &'a mut Tally,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) working: bool,
}

/// Readers of one connection that read, and that have ended.
#[derive(Clone, Copy, Default)]
pub(super) struct ReaderCounts {
    pub(super) reading: usize,
    pub(super) ended: usize,
}

impl ReaderCounts {
    pub(super) fn of(wire: &dyn Wire) -> Self {
        ReaderCounts {
            reading: wire.reading(),
            ended: wire.ended(),
        }
    }

    pub(super) fn total(self) -> usize {
        self.reading + self.ended
    }
}
