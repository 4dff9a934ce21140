//! Who reads: a list of the open subscriptions for an operator, and ending one of them.
//!
//! Invariants:
//! - a list is made in chunks, so that nobody waits for it, however many readers there are;
//! - a list is bounded, whatever is asked for;
//! - whoever is cut keeps its cursor: it is asked to end first, and only a reader that takes
//!   nothing loses its connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use tokio::time::sleep;

use super::Bus;
use super::waiter::{Waiter, Walk};
use crate::caller::wall_clock_s;
use crate::cursor::Vid;
use crate::limits;
use crate::metrics::{EndReason, Transport};

/// The connection of a reader, as far as the reader and an operator are concerned.
pub(crate) trait ReaderConnection: std::fmt::Debug + Send + Sync {
    /// Where it comes from, for a person.
    fn peer(&self) -> String;

    /// Ends it at once, and everything on it.
    fn end(&self);

    /// Has the reader that asks been given up because its peer takes nothing?
    fn has_stalled(&self) -> bool;

    /// So many events were given to it, in so many bytes.
    fn note_sent(&self, events: usize, bytes: usize);

    /// A reader of it has ended.
    fn note_ended(&self, reason: EndReason);
}

/// By which transport and connection a subscription is read.
#[derive(Debug)]
pub(crate) struct ReadBy {
    pub(crate) transport: Transport,
    /// None in tests, which have no connection.
    pub(crate) connection: Option<Arc<dyn ReaderConnection>>,
}

/// An open subscription, as an operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct ReaderInfo {
    pub(crate) number: u32,
    pub(crate) transport: Option<Transport>,
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
    let topics = waiter.group().filter.topics();
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
    if waiter.group().next_match(position) > tail {
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
