//! Who reads: a list of the open subscriptions for an operator, and ending one of them.
//!
//! Invariants:
//! - a list is made in chunks, so that nobody waits for it, however many readers there are;
//! - a list is bounded, whatever is asked for;
//! - whoever is cut keeps its cursor: it is asked to end first, and only a reader that takes
//!   nothing loses its connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::sleep;

use super::Bus;
use super::waiter::{Waiter, Walk};
use crate::caller::wall_clock_s;
use crate::cursor::Vid;
use crate::limits;

/// By which way a subscription is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ReaderTransport {
    LongPoll,
    Sse,
    Grpc,
    Legacy,
}

impl ReaderTransport {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [ReaderTransport; 4] = [
        ReaderTransport::LongPoll,
        ReaderTransport::Sse,
        ReaderTransport::Grpc,
        ReaderTransport::Legacy,
    ];

    /// As metrics name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            ReaderTransport::LongPoll => "long_poll",
            ReaderTransport::Sse => "sse",
            ReaderTransport::Grpc => "grpc",
            ReaderTransport::Legacy => "legacy",
        }
    }
}

/// The connection of a reader, as far as an operator is concerned.
pub(crate) trait ReaderConnection: std::fmt::Debug + Send + Sync {
    /// Where it comes from, for a person.
    fn peer(&self) -> String;

    /// Ends it at once, and everything on it.
    fn end(&self);
}

/// How a subscription is read.
#[derive(Debug)]
pub(crate) struct ReadBy {
    pub(crate) transport: ReaderTransport,
    pub(crate) connection: Option<Arc<dyn ReaderConnection>>,
}

impl ReadBy {
    pub(crate) fn new<C>(transport: ReaderTransport, connection: Arc<C>) -> Self
    where
        C: ReaderConnection + 'static,
    {
        ReadBy {
            transport,
            connection: Some(connection),
        }
    }
}

/// What is counted of each transport.
#[derive(Debug, Default)]
pub(super) struct ReaderCounts {
    open: [AtomicUsize; 4],
    deliveries: [AtomicU64; 4],
    numbers: AtomicU32,
}

impl ReaderCounts {
    /// A number that no reader has that is open now.
    pub(super) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    pub(super) fn opened(&self, transport: ReaderTransport) {
        self.open[transport as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, transport: ReaderTransport) {
        self.open[transport as usize].fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, transport: ReaderTransport, events: u64) {
        self.deliveries[transport as usize].fetch_add(events, Ordering::Relaxed);
    }
}

/// How many read by a transport, and what they were given since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransportCount {
    pub(crate) transport: ReaderTransport,
    pub(crate) open: usize,
    pub(crate) deliveries: u64,
}

/// An open subscription, as an operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct ReaderInfo {
    pub(crate) number: u32,
    pub(crate) transport: Option<ReaderTransport>,
    pub(crate) peer: Option<String>,
    /// The names by which its caller can be revoked.
    pub(crate) names: Vec<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) position: Vid,
    /// Vids from there to the newest one, where something may match.
    pub(crate) lag: Vid,
    pub(crate) open_for_s: u32,
}

/// Some of the readers, the slowest first.
#[derive(Debug, Default)]
pub(crate) struct ReaderList {
    pub(crate) readers: Vec<ReaderInfo>,
    pub(crate) open: usize,
}

impl Bus {
    /// What is counted of each transport.
    pub(crate) fn transport_counts(&self) -> [TransportCount; 4] {
        let counts = &self.0.interest.counts;
        ReaderTransport::ALL.map(|transport| TransportCount {
            transport,
            open: counts.open[transport as usize].load(Ordering::Relaxed),
            deliveries: counts.deliveries[transport as usize].load(Ordering::Relaxed),
        })
    }

    /// The readers that are furthest behind: so many, behind those that are skipped.
    pub(crate) async fn slowest_readers(&self, skip: usize, count: usize) -> ReaderList {
        let most = skip.saturating_add(count).min(limits::MAX_LISTED_READERS);
        let (mut slowest, mut open) = (Slowest::new(most), 0);
        let mut walk = Walk::default();
        while !walk.is_over() {
            let chunk = self.0.interest.everybody.next_chunk(&mut walk);
            open += chunk.len();
            let tail = self.0.tail();
            for waiter in chunk {
                slowest.add(waiter, tail);
            }
            tokio::task::yield_now().await;
        }

        let now_s = wall_clock_s();
        let listed = slowest.into_sorted().into_iter().skip(skip);
        let readers = listed.map(|(lag, waiter)| info(&waiter, lag, now_s));
        ReaderList {
            readers: readers.collect(),
            open,
        }
    }

    /// Ends a reader: with `closing` where it takes it, else by the end of its connection. False
    /// when there is none of this number.
    pub(crate) async fn cut_reader(&self, number: u32) -> bool {
        let mut walk = Walk::default();
        while !walk.is_over() {
            let chunk = self.0.interest.everybody.next_chunk(&mut walk);
            if let Some(waiter) = chunk.into_iter().find(|waiter| waiter.number == number) {
                waiter.cut();
                tokio::spawn(end_if_stalled(Arc::downgrade(&waiter)));
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }
}

/// A reader whose connection takes nothing does not get as far as its last word.
async fn end_if_stalled(waiter: Weak<Waiter>) {
    sleep(limits::CUT_PATIENCE).await;
    let Some(waiter) = waiter.upgrade() else {
        return;
    };
    if let Some(connection) = waiter.connection() {
        connection.end();
    }
}

fn info(waiter: &Waiter, lag: Vid, now_s: u32) -> ReaderInfo {
    let group = waiter.group();
    let topics = group.iter().flat_map(|group| group.filter.topics());
    ReaderInfo {
        number: waiter.number,
        transport: waiter.transport(),
        peer: waiter.connection().map(ReaderConnection::peer),
        names: waiter.names().map(str::to_owned).collect(),
        topics: topics
            .take(limits::MAX_SHOWN_TOPICS)
            .map(ToString::to_string)
            .collect(),
        position: waiter.position(),
        lag,
        open_for_s: now_s.saturating_sub(waiter.opened_s),
    }
}

/// Vids between a reader and the newest one. One that waits at the live end lags behind nothing,
/// however many events of others have come since.
fn lag_of(waiter: &Waiter, tail: Vid) -> Vid {
    let position = waiter.position();
    let next_match = waiter.group().map_or(0, |group| group.next_match(position));
    if next_match > tail {
        return 0;
    }
    tail.saturating_sub(position)
}

/// The slowest of those that were met, so many at most.
struct Slowest {
    most: usize,
    /// The one that is least behind on top.
    heap: BinaryHeap<Reverse<Lagging>>,
}

struct Lagging(Vid, Arc<Waiter>);

impl Lagging {
    /// Readers with the same lag come in the order of their numbers.
    fn rank(&self) -> (Vid, Reverse<u32>) {
        (self.0, Reverse(self.1.number))
    }
}

impl Ord for Lagging {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Lagging {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Lagging {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Lagging {}

impl Slowest {
    fn new(most: usize) -> Self {
        Slowest {
            most,
            heap: BinaryHeap::new(),
        }
    }

    fn add(&mut self, waiter: Arc<Waiter>, tail: Vid) {
        self.heap
            .push(Reverse(Lagging(lag_of(&waiter, tail), waiter)));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    fn into_sorted(self) -> Vec<(Vid, Arc<Waiter>)> {
        // Sorted by what is least first in reverse: the slowest.
        let sorted = self.heap.into_sorted_vec().into_iter();
        sorted
            .map(|Reverse(Lagging(lag, waiter))| (lag, waiter))
            .collect()
    }
}
