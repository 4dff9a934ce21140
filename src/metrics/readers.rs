//! What readers get, by transport, and how their subscriptions end.
//!
//! Invariants:
//! - every subscription that is counted as opened is counted as closed once;
//! - a page is counted when its reader's connection is given it: several additions of its thread,
//!   and one look at the clock.

use super::exposition::Shown;
use super::histogram::{Histogram, HistogramValues, VIDS, steady_ns};
use super::shards::{Count, Sharded};
use super::transport::{READING, TRANSPORTS, Transport};

/// Why a subscription is over; the label `reason` of `vidette_closed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndReason {
    /// Its reader has left, or its deadline was over.
    #[default]
    Left,
    /// It has yielded all that was asked for: a poll is answered, a limit or a wait is over.
    Done,
    /// The gateway is shutting down.
    Shutdown,
    /// There are too many subscribers, or there is no memory for one more.
    Busy,
    /// This gateway cannot reach the log.
    Behind,
    /// The reader's credentials have ended.
    Expired,
    /// A gap, where its reader has asked to end at one.
    Gap,
    /// Its connection took no byte for the write timeout.
    WriteTimeout,
    /// An error of the log or of vidette itself.
    Error,
}

const END_REASONS: [(EndReason, &str); 9] = [
    (EndReason::Left, "left"),
    (EndReason::Done, "done"),
    (EndReason::Shutdown, "shutdown"),
    (EndReason::Busy, "busy"),
    (EndReason::Behind, "behind"),
    (EndReason::Expired, "expired"),
    (EndReason::Gap, "gap"),
    (EndReason::WriteTimeout, "write_timeout"),
    (EndReason::Error, "error"),
];

impl EndReason {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        END_REASONS[self as usize].1
    }
}

/// The counts of one transport.
#[derive(Debug)]
struct ReaderCounts {
    opened: Count,
    closed: [Count; END_REASONS.len()],
    deliveries: Count,
    sent_bytes: Count,
    publish_to_write: Histogram,
}

impl Default for ReaderCounts {
    fn default() -> Self {
        ReaderCounts {
            opened: Count::default(),
            closed: Default::default(),
            deliveries: Count::default(),
            sent_bytes: Count::default(),
            publish_to_write: Histogram::of_seconds(),
        }
    }
}

#[derive(Debug)]
struct PageCounts {
    from_memory: Count,
    lag_vids: Histogram,
}

impl Default for PageCounts {
    fn default() -> Self {
        PageCounts {
            from_memory: Count::default(),
            lag_vids: Histogram::new(&VIDS),
        }
    }
}

#[derive(Debug, Default)]
struct ReaderShard {
    by_transport: [ReaderCounts; TRANSPORTS.len()],
    pages: PageCounts,
}

/// What all readers got.
#[derive(Debug, Default)]
pub struct Readers(Sharded<ReaderShard>);

impl Readers {
    fn here(&self, transport: Transport) -> &ReaderCounts {
        &self.0.here().by_transport[transport as usize]
    }

    /// A subscription has been opened.
    pub(crate) fn count_opened(&self, transport: Transport) {
        self.here(transport).opened.add(1);
    }

    /// One that was counted as opened is over.
    pub(crate) fn count_closed(&self, transport: Transport, reason: EndReason) {
        self.here(transport).closed[reason as usize].add(1);
    }

    /// Bytes without events.
    pub(crate) fn count_bytes(&self, transport: Transport, bytes: usize) {
        self.here(transport).sent_bytes.add(bytes as u64);
    }

    /// A page of so many events. `published_ns` is when the first of them was taken in, by
    /// [`steady_ns`]; none where it was not waited for.
    pub(crate) fn count_page(
        &self,
        transport: Transport,
        events: usize,
        bytes: usize,
        published_ns: Option<u64>,
    ) {
        let counts = self.here(transport);
        counts.deliveries.add(events as u64);
        counts.sent_bytes.add(bytes as u64);
        if let Some(published_ns) = published_ns {
            let since_ns = steady_ns().saturating_sub(published_ns);
            counts.publish_to_write.observe(since_ns);
        }
    }

    /// A page was found in memory.
    pub(crate) fn count_ring_hit(&self) {
        self.0.here().pages.from_memory.add(1);
    }

    /// A page was taken by a reader that is so far behind after it.
    pub(crate) fn count_lag(&self, vids: u64) {
        self.0.here().pages.lag_vids.observe(vids);
    }

    fn sum(&self, transport: Transport, read: impl Fn(&ReaderCounts) -> u64) -> u64 {
        self.0
            .sum(|shard| read(&shard.by_transport[transport as usize]))
    }

    /// What the readers of a transport got since the start.
    pub(crate) fn deliveries(&self, transport: Transport) -> u64 {
        self.sum(transport, |counts| counts.deliveries.get())
    }

    /// The subscriptions of a transport since the start.
    pub(crate) fn opened(&self, transport: Transport) -> u64 {
        self.sum(transport, |counts| counts.opened.get())
    }

    /// The subscriptions of a transport that are open now.
    pub(crate) fn open_now(&self, transport: Transport) -> u64 {
        // Closed first: what is opened meanwhile is not counted as closed.
        let closed = self.sum(transport, |counts| {
            counts.closed.iter().map(Count::get).sum()
        });
        let opened = self.opened(transport);
        opened.saturating_sub(closed)
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        let counters = |name, help, read: fn(&ReaderCounts) -> u64| {
            let each = READING.map(|via| (of(via), self.sum(via, read)));
            Shown::counters(name, help, each)
        };
        let subscribers = READING.map(|via| (of(via), self.open_now(via)));
        let lag = self.0.iter().map(|shard| &shard.pages.lag_vids);
        vec![
            counters("subscriptions", "Subscriptions opened", |c| c.opened.get()),
            counters("deliveries", "Events given to connections", |c| {
                c.deliveries.get()
            }),
            counters("sent_bytes", SENT_BYTES_HELP, |c| c.sent_bytes.get()),
            Shown::gauges("subscribers", "Subscriptions open now", subscribers),
            self.shown_closed(),
            self.shown_times(),
            Shown::histogram("lag_vids", LAG_HELP, HistogramValues::sum_of(lag)),
            Shown::counter(
                "ring_hits",
                "Pages read from memory",
                self.0.sum(|shard| shard.pages.from_memory.get()),
            ),
        ]
    }

    fn shown_closed(&self) -> Shown {
        let each = READING.iter().flat_map(|&via| {
            END_REASONS.iter().map(move |&(reason, name)| {
                let labels = [("transport", via.as_str()), ("reason", name)];
                let count = self.sum(via, |counts| counts.closed[reason as usize].get());
                (labels, count)
            })
        });
        Shown::counters("closed", "Subscriptions that are over, by reason", each)
    }

    fn shown_times(&self) -> Shown {
        let each = READING.map(|via| {
            let shards = self.0.iter();
            let times = shards.map(|shard| &shard.by_transport[via as usize].publish_to_write);
            (of(via), HistogramValues::sum_of(times))
        });
        Shown::histograms("publish_to_write_seconds", PUBLISH_TO_WRITE_HELP, each)
    }
}

fn of(transport: Transport) -> [(&'static str, &'static str); 1] {
    [("transport", transport.as_str())]
}

const SENT_BYTES_HELP: &str = "Bytes of bodies given to the connections of readers";
const LAG_HELP: &str = "Vids between a reader and the newest one, after each page that it has read";
const PUBLISH_TO_WRITE_HELP: &str = "From an event's publishing until a live reader's connection \
                                     is given it, for the first event of each page";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_the_order_of_their_numbers() {
        for (number, (reason, _)) in END_REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
    }

    #[test]
    fn who_is_open_is_who_was_opened_and_not_closed() {
        let readers = Readers::default();
        for _ in 0..3 {
            readers.count_opened(Transport::Sse);
        }
        readers.count_closed(Transport::Sse, EndReason::Left);
        assert_eq!(readers.open_now(Transport::Sse), 2);
        assert_eq!(readers.open_now(Transport::Grpc), 0);
    }
}
