//! Connections that are open, in all and by what they were last used for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::exposition::Shown;
use super::transport::{READING, Transport};

/// Connections open now, counted by the server. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<OpenCounts>);

#[derive(Debug, Default)]
struct OpenCounts {
    all: AtomicUsize,
    /// Those by which events are read.
    by_transport: [AtomicUsize; READING.len()],
}

impl OpenConnections {
    /// Counts one more, unless `at_most` are open.
    pub fn try_open(&self, at_most: usize) -> bool {
        // Checked and counted in one step, so that two callers cannot both take the last place.
        let one_more = |open| (open < at_most).then_some(open + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.all.fetch_update(set, fetch, one_more).is_ok()
    }

    /// Counts one less.
    pub fn close(&self) {
        self.0.all.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.all.load(Ordering::Acquire)
    }

    /// The count by transport; none of the others.
    fn of(&self, transport: Transport) -> Option<&AtomicUsize> {
        self.0.by_transport.get(transport as usize)
    }

    pub(super) fn shown(&self) -> Shown {
        let reading = READING.map(|via| {
            let count = self
                .of(via)
                .map_or(0, |count| count.load(Ordering::Relaxed));
            (via, count)
        });
        // All the others: what has not asked for anything yet, too.
        let readers: usize = reading.iter().map(|(_, count)| count).sum();
        let others = (Transport::Http, self.count().saturating_sub(readers));
        let shown = reading.into_iter().chain([others]);
        let shown = shown.map(|(via, count)| ([("transport", via.as_str())], count as u64));
        let help = "Connections open now, by what was last asked on them";
        Shown::gauges("connections", help, shown)
    }
}

/// What a connection was last used for, as it is counted.
#[derive(Debug, Default)]
pub struct ConnectionUse {
    open: OpenConnections,
    /// Changed by one request after the other, mostly to what it is already.
    transport: AtomicU8,
}

impl ConnectionUse {
    /// Of a connection that has not asked for anything.
    pub(crate) fn new(open: OpenConnections) -> Self {
        ConnectionUse {
            open,
            transport: (Transport::Http as u8).into(),
        }
    }

    /// A request has come by this transport.
    pub(crate) fn note(&self, transport: Transport) {
        // Reading is cheaper than changing.
        if self.transport.load(Ordering::Relaxed) != transport as u8 {
            self.change(transport);
        }
    }

    fn change(&self, transport: Transport) {
        let before = self.transport.swap(transport as u8, Ordering::Relaxed);
        if let Some(count) = self.open.0.by_transport.get(usize::from(before)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(count) = self.open.of(transport) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ConnectionUse {
    fn drop(&mut self) {
        self.change(Transport::Http);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_by_what_it_was_last_used_for() {
        let open = OpenConnections::default();
        let count = |via| open.of(via).map(|count| count.load(Ordering::Relaxed));
        let connection = ConnectionUse::new(open.clone());
        assert_eq!(count(Transport::Sse), Some(0));
        for _ in 0..2 {
            connection.note(Transport::Sse);
        }
        assert_eq!(count(Transport::Sse), Some(1));
        connection.note(Transport::LongPoll);
        let counted = (count(Transport::Sse), count(Transport::LongPoll));
        assert_eq!(counted, (Some(0), Some(1)));
        drop(connection);
        assert_eq!(count(Transport::LongPoll), Some(0));
    }
}
