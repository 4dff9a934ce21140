//! Readers, thousands on one thread: non-blocking sockets that are read in sweeps.
//!
//! Client and server share the machine, so whatever the client costs is missing from the result.
//! Between two sweeps the thread sleeps, as a network card gathers interrupts: without that each
//! delivery would wake the client, and the server would pay for waking it. Invariants:
//! - this side never closes a connection before the end, however slow it is, unless readers are to
//!   hang up;
//! - a reader that broke before publishing began is `failed` and expected to receive nothing; one
//!   that broke later is `lost`, and its events are missing.

mod chunks;
mod connection;
mod grpc;
mod nats;
mod pipe;
mod poll;
mod sse;
mod sweeper;
mod whole_events;
mod wire;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::access::Access;
use super::address::Address;
use super::tally::Tally;
use super::template::MessageTemplate;
use sweeper::Sweeper;

/// Who reads, and how.
#[derive(Clone)]
pub(crate) struct ReaderPlan {
    pub(crate) run: u32,
    pub(crate) via: Transport,
    pub(crate) address: Address,
    pub(crate) access: Arc<Access>,
    pub(crate) readers: usize,
    /// HTTP/2 connections that the readers share; otherwise each has its own.
    pub(crate) connections: usize,
    /// Reader i reads topic i mod this.
    pub(crate) topics: usize,
    /// Added to the topics' numbers.
    pub(crate) first_topic: usize,
    pub(crate) publishers: usize,
    pub(crate) cursor: String,
    pub(crate) coalesce: Duration,
    /// Readers that hang up and come back, per second; with Server-Sent Events only.
    pub(crate) churn: f64,
    /// The request of another server's method.
    pub(crate) grpc_request: Option<MessageTemplate>,
}

impl ReaderPlan {
    fn topic_of(&self, reader: usize) -> usize {
        self.first_topic + reader % self.topics
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    Sse,
    Poll,
    Grpc,
}

/// What the thread of the readers and the main thread share.
#[derive(Default)]
struct LoadState {
    stop: AtomicBool,
    working: AtomicBool,
    ready: AtomicUsize,
    failed: AtomicUsize,
    lost: AtomicUsize,
    delivered: AtomicU64,
    first_error: Mutex<Option<String>>,
}

impl LoadState {
    fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// The counter of readers that end now.
    fn gone(&self) -> &AtomicUsize {
        if self.is_working() {
            &self.lost
        } else {
            &self.failed
        }
    }

    fn note_error(&self, text: String) {
        // Later errors mostly follow from the first one.
        self.first_error().get_or_insert(text);
    }

    fn first_error(&self) -> MutexGuard<'_, Option<String>> {
        let first = self.first_error.lock();
        first.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readers that are running.
pub(crate) struct RunningReaders {
    state: Arc<LoadState>,
    thread: JoinHandle<io::Result<ReaderResults>>,
}

/// What all readers have received.
pub(crate) struct ReaderResults {
    pub(crate) tally: Tally,
    /// Topic and number of events of each reader that was connected when publishing began.
    pub(crate) received: Vec<(usize, u64)>,
    pub(crate) failed: usize,
    pub(crate) lost: usize,
    pub(crate) first_error: Option<String>,
}

impl RunningReaders {
    pub(crate) fn start(plan: ReaderPlan) -> Self {
        let state = Arc::new(LoadState::default());
        let shared = state.clone();

        // A thread of its own keeps sleeping and polling apart from everything else.
        let thread = std::thread::spawn(move || Sweeper::new(plan, shared)?.run());
        RunningReaders { state, thread }
    }

    pub(crate) fn ready(&self) -> usize {
        self.state.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.state.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.state.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// From now on a reader whose connection breaks is lost.
    pub(crate) fn work(&self) {
        self.state.working.store(true, Ordering::Relaxed);
    }

    pub(crate) fn finish(self) -> Result<ReaderResults, String> {
        // Counted first, because stopping hangs up on all of them.
        let lost = self.state.lost.load(Ordering::Relaxed);
        self.state.stop.store(true, Ordering::Relaxed);

        // A thread may panic, or may have had no poll at all.
        let results = self.thread.join();
        let results = results.map_err(|_| "the thread of the readers panicked".to_owned())?;
        let results = results.map_err(|error| format!("the readers: {error}"))?;
        Ok(ReaderResults { lost, ..results })
    }
}
