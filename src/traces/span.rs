//! The span of one publish request, with what becomes of it.
//!
//! Invariant: a span that was begun is sent once, when it is over or when its request is dropped.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Active, TraceContext};
use crate::bus::{CommitTimes, CommitWatch, NewBatch, Receipt};
use crate::cursor::Vid;
use crate::event::NewEvent;
use crate::metrics::steady_ns;

/// The span of a request that publishes; nothing where it is not recorded.
#[derive(Debug, Default)]
pub(crate) struct PublishSpan(Option<Box<Recording>>);

#[derive(Debug)]
struct Recording {
    traces: Arc<Active>,
    context: TraceContext,
    parent: Option<TraceContext>,
    transport: &'static str,
    /// When it began, by the wall clock and by the steady one.
    begun_unix_ns: u64,
    begun_ns: u64,
    watch: Arc<CommitWatch>,
    batch: BatchFacts,
    outcome: Outcome,
}

/// What is said of a batch: no topic and no data.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BatchFacts {
    pub(super) events: usize,
    pub(super) topics: usize,
    /// Of their data.
    pub(super) bytes: usize,
}

/// What has become of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// Its caller has left before it was answered.
    Left,
    Published {
        last_vid: Vid,
        duplicates: usize,
    },
    /// By the name of its error.
    Failed(&'static str),
}

/// A span that is over, on its way to a collector. Times are in nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct PublishTrace {
    pub(super) context: TraceContext,
    pub(super) parent: Option<TraceContext>,
    pub(super) transport: &'static str,
    pub(super) engine: &'static str,
    pub(super) time: Range<u64>,
    /// When its batch was appended to the log, and the sync within that.
    pub(super) append: Option<Range<u64>>,
    pub(super) sync: Option<Range<u64>>,
    pub(super) batch: BatchFacts,
    pub(super) outcome: Outcome,
}

impl PublishSpan {
    pub(super) fn begin(
        traces: Arc<Active>,
        parent: Option<TraceContext>,
        transport: &'static str,
    ) -> Self {
        let trace_id = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let begun_unix_ns = since_1970.map_or(0, |time| time.as_nanos());
        PublishSpan(Some(Box::new(Recording {
            traces,
            context: TraceContext {
                trace_id,
                span_id: fastrand::u64(1..),
                is_sampled: true,
            },
            parent,
            transport,
            begun_unix_ns: u64::try_from(begun_unix_ns).unwrap_or(u64::MAX),
            begun_ns: steady_ns(),
            watch: Arc::default(),
            batch: BatchFacts::default(),
            outcome: Outcome::Left,
        })))
    }

    /// The trace that it begins, where its request names none.
    pub(crate) fn begun_trace(&self) -> Option<TraceContext> {
        let recording = self.0.as_ref()?;
        recording.parent.is_none().then_some(recording.context)
    }

    /// The batch that the request publishes, as the bus is to take it.
    pub(crate) fn batch(&mut self, events: Vec<NewEvent>) -> NewBatch {
        let Some(recording) = &mut self.0 else {
            return events.into();
        };
        let topics: BTreeSet<_> = events.iter().map(|event| event.topic.as_str()).collect();
        recording.batch = BatchFacts {
            events: events.len(),
            topics: topics.len(),
            bytes: events.iter().map(|event| event.data.len()).sum(),
        };
        NewBatch::watched(events, recording.watch.clone())
    }

    /// What its batch was answered.
    pub(crate) fn published(&mut self, receipts: &[Receipt]) {
        if let Some(recording) = &mut self.0 {
            let (_, last_vid) = Receipt::range(receipts);
            recording.outcome = Outcome::Published {
                last_vid,
                duplicates: receipts.iter().filter(|one| one.duplicate).count(),
            };
        }
    }

    /// The request could not be published, because of this error.
    pub(crate) fn failed(&mut self, error: &'static str) {
        if let Some(recording) = &mut self.0 {
            recording.outcome = Outcome::Failed(error);
        }
    }
}

impl Recording {
    /// A time of the steady clock, by the wall clock of when the span began.
    fn unix_ns(&self, steady_ns: u64) -> u64 {
        self.begun_unix_ns + steady_ns.saturating_sub(self.begun_ns)
    }

    fn unix_range(&self, range: &Range<u64>) -> Range<u64> {
        self.unix_ns(range.start)..self.unix_ns(range.end)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let times = self.watch.times();
        let append = times.map(|CommitTimes { append_ns, .. }| self.unix_range(append_ns));
        let sync = times.and_then(|times| times.sync_ns.as_ref());
        self.traces.send(PublishTrace {
            context: self.context,
            parent: self.parent,
            transport: self.transport,
            engine: self.traces.engine,
            time: self.begun_unix_ns..self.unix_ns(steady_ns()),
            append,
            sync: sync.map(|range| self.unix_range(range)),
            batch: self.batch,
            outcome: self.outcome,
        });
    }
}
