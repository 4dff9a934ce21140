//! Publishers: one connection and one thread each, one request after the other.
//!
//! Event j is due at start + j / rate, and its marker carries that time: a server that is slow to
//! accept events shows in the latency, instead of slowing the test down unseen. At rate 0 the next
//! request is sent once the previous one is answered, and the marker carries the time of sending.
//! Event j belongs to topic j mod topics; batch b to publisher b mod publishers.

mod publisher;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::access::Access;
use super::address::Address;
use super::markers::now_us;
use super::tally::histogram;
use super::template::BodyTemplate;
use publisher::Publisher;

/// By this time after the start all threads are running, in microseconds.
const START_DELAY_US: u64 = 20_000;

#[derive(Clone)]
pub(crate) struct PublishPlan {
    pub(crate) run: u32,
    pub(crate) address: Address,
    pub(crate) access: Arc<Access>,
    /// Added to the topics' numbers.
    pub(crate) first_topic: usize,
    pub(crate) topics: usize,
    pub(crate) publishers: u8,
    /// Events per request; several are sent as a JSON array.
    pub(crate) batch: u32,
    /// Events per second over all publishers; 0: as fast as accepted.
    pub(crate) rate: f64,
    pub(crate) events: u64,
    pub(crate) duration: Duration,
    pub(crate) payload_bytes: usize,
    /// The body of another server's requests, of one event each.
    pub(crate) body: Option<BodyTemplate>,
}

/// Publishers at work.
pub(crate) struct RunningPublishers {
    shared: Arc<PublishState>,
    threads: Vec<JoinHandle<Published>>,
}

/// What publishers and the main thread share.
#[derive(Default)]
struct PublishState {
    stop: AtomicBool,
    accepted: AtomicU64,
}

/// What has been published.
pub(crate) struct Published {
    /// Events answered with a 2xx, by topic.
    pub(crate) accepted: Vec<u64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) answer_us: Histogram<u64>,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

impl Published {
    fn new(topics: usize, start_us: u64) -> Self {
        Published {
            accepted: vec![0; topics],
            errors: 0,
            first_error: None,
            answer_us: histogram(),
            start_us,
            end_us: start_us,
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.accepted.iter().sum()
    }

    fn add(mut self, other: Published) -> Self {
        // All publishers have the same topics, so their counts are added place by place.
        let pairs = self.accepted.iter_mut().zip(other.accepted);
        pairs.for_each(|(all, one)| *all += one);
        self.errors += other.errors;
        self.first_error = self.first_error.or(other.first_error);
        self.answer_us += other.answer_us;

        // The publishing ends with the last answer that any of them got.
        self.end_us = self.end_us.max(other.end_us);
        self
    }
}

impl RunningPublishers {
    pub(crate) fn start(plan: &PublishPlan) -> Self {
        let shared = Arc::new(PublishState::default());

        // A little ahead, so that starting the threads does not look like a slow server.
        let start_us = now_us() + START_DELAY_US;

        // All begin at the same time, so that their due times interleave.
        let publisher = |number| Publisher::new(plan.clone(), number, shared.clone(), start_us);
        let publishers = (0..plan.publishers).map(publisher);
        let threads = publishers.map(|publisher| std::thread::spawn(|| publisher.run()));
        RunningPublishers {
            threads: threads.collect(),
            shared,
        }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_finished())
    }

    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn finish(self) -> Result<Published, String> {
        let threads = self.threads.into_iter().map(JoinHandle::join);
        let results = threads.collect::<Result<Vec<_>, _>>();
        let results = results.map_err(|_| "a publisher's thread panicked".to_owned())?;
        let sum = results.into_iter().reduce(Published::add);
        sum.ok_or_else(|| "no publisher".to_owned())
    }
}
