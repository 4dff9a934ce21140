//! What becomes of what is published, and how long it takes.

use std::sync::Arc;
use std::sync::OnceLock;

use serde::Serialize;

use super::exposition::Shown;
use super::histogram::{EVENTS, Histogram, HistogramValues};
use super::shards::Count;

/// What one bus counts of publishing.
#[derive(Debug)]
pub struct Publishing {
    events: Count,
    duplicates: Count,
    refused: Count,
    commits: Count,
    commit_failures: Count,
    /// Events of a batch, and of a commit.
    batch_events: Histogram,
    commit_events: Histogram,
    /// From the queue to the answer.
    durations: Histogram,
    /// The engine's, where it syncs.
    sync_durations: OnceLock<Arc<Histogram>>,
}

/// Its counts, for an operator.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PublishingTotals {
    pub(crate) events_published: u64,
    pub(crate) duplicates: u64,
    pub(crate) publishes_refused: u64,
    pub(crate) commits: u64,
    pub(crate) commit_failures: u64,
}

impl Default for Publishing {
    fn default() -> Self {
        Publishing {
            events: Count::default(),
            duplicates: Count::default(),
            refused: Count::default(),
            commits: Count::default(),
            commit_failures: Count::default(),
            batch_events: Histogram::new(&EVENTS),
            commit_events: Histogram::new(&EVENTS),
            durations: Histogram::of_seconds(),
            sync_durations: OnceLock::new(),
        }
    }
}

impl Publishing {
    /// Shows the times that an engine's syncs take.
    pub(crate) fn show_syncs(&self, durations: Arc<Histogram>) {
        // There is one engine.
        let _ = self.sync_durations.set(durations);
    }

    /// A batch has been written, of so many events of which some were known already.
    pub(crate) fn count_batch(&self, events: usize, duplicates: usize) {
        self.events.add((events - duplicates) as u64);
        self.duplicates.add(duplicates as u64);
        self.batch_events.observe(events as u64);
    }

    /// A commit has ended, of so many events in all.
    pub(crate) fn count_commit(&self, events: usize) {
        self.commits.add(1);
        self.commit_events.observe(events as u64);
    }

    /// A commit has failed, or on a shared log a batch of it.
    pub(crate) fn count_failure(&self) {
        self.commit_failures.add(1);
    }

    /// A batch was not taken into the queue.
    pub(crate) fn count_refused(&self) {
        self.refused.add(1);
    }

    /// A publisher is answered at `now_ns` whose batch came into the queue at `queued_ns`.
    pub(crate) fn count_answer(&self, queued_ns: u64, now_ns: u64) {
        self.durations.observe(now_ns.saturating_sub(queued_ns));
    }

    /// What has been counted since the start.
    pub(super) fn totals(&self) -> PublishingTotals {
        PublishingTotals {
            events_published: self.events.get(),
            duplicates: self.duplicates.get(),
            publishes_refused: self.refused.get(),
            commits: self.commits.get(),
            commit_failures: self.commit_failures.get(),
        }
    }

    #[rustfmt::skip] // a table with one line a metric
    pub(super) fn shown(&self) -> Vec<Shown> {
        let empty = Histogram::of_seconds();
        let syncs = self.sync_durations.get().map_or(&empty, |durations| durations);
        let histogram = |name, help, values: HistogramValues| Shown::histogram(name, help, values);
        vec![
            Shown::counter("events_published", "Events that were given a vid", self.events.get()),
            Shown::counter("duplicates", "Events whose id was known already", self.duplicates.get()),
            Shown::counter("publishes_refused", REFUSED_HELP, self.refused.get()),
            Shown::counter("commits", "Commits of the log", self.commits.get()),
            Shown::counter("commit_failures", "Commits that failed", self.commit_failures.get()),
            histogram("publish_batch_events", "Events of each batch", self.batch_events.values()),
            histogram("commit_events", "Events of each commit", self.commit_events.values()),
            histogram("publish_duration_seconds", DURATION_HELP, self.durations.values()),
            histogram("fsync_duration_seconds", SYNC_HELP, syncs.values()),
        ]
    }
}

const REFUSED_HELP: &str = "Publish requests refused because the queue or the memory was full";
const DURATION_HELP: &str = "From a batch's place in the queue until its publisher is answered";
const SYNC_HELP: &str = "Writing a commit to the write-ahead log of SQLite, and syncing it";
