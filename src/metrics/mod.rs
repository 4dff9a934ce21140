//! What the gateway counts, as `/metrics` shows it. [docs/metrics.md] has a row for each metric.
//!
//! Invariants:
//! - counting never waits and never allocates: each set of labels has its count from the start;
//! - no label says who a client is: strangers would decide how many values there are;
//! - names are kept, because dashboards rely on them.
//!
//! [docs/metrics.md]: https://github.com/vidette/vidette/blob/main/docs/metrics.md

mod connections;
mod exposition;
mod histogram;
pub(crate) mod process;
mod publishing;
mod readers;
mod refusals;
mod requests;
mod shards;
mod spans;
mod transport;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::cursor::GapReason;
use shards::Count;

pub use connections::{ConnectionUse, OpenConnections};
pub(crate) use exposition::Shown;
pub use histogram::Histogram;
pub(crate) use histogram::steady_ns;
pub use publishing::Publishing;
pub(crate) use publishing::PublishingTotals;
pub use readers::{EndReason, Readers};
pub use refusals::{RefusalReason, Refusals};
pub(crate) use requests::CANCELLED;
pub use requests::Requests;
pub use spans::Spans;
pub(crate) use transport::READING;
pub use transport::Transport;

/// What one gateway counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// What becomes of what is published.
    pub publishing: Publishing,
    /// What readers get.
    pub readers: Readers,
    /// How requests were answered.
    pub requests: Requests,
    /// What clients were refused, by reason.
    pub refusals: Refusals,
    /// What becomes of spans of publishing.
    pub spans: Spans,
    gaps: [Count; GAP_REASONS.len()],
    cold_reads: Count,
    trimmed: Count,
}

const GAP_REASONS: [GapReason; 3] = [GapReason::Expired, GapReason::Reset, GapReason::Ahead];

/// What has been counted since the start, for an operator.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Totals {
    #[serde(flatten)]
    pub(crate) publishing: PublishingTotals,
    pub(crate) deliveries: u64,
    pub(crate) subscriptions: u64,
    pub(crate) gaps: u64,
    pub(crate) cold_reads: u64,
    pub(crate) trimmed_events: u64,
}

/// What is read from the bus when the metrics are requested.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// The oldest retained vid.
    pub first: u64,
    /// The newest vid.
    pub last: u64,
    /// Retained events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Subscriptions that may be open at once.
    pub most_subscribers: u64,
    /// Waiting readers that were woken for an event.
    pub wake_ups: u64,
    /// Bytes of the write-ahead log of an engine that has one.
    pub wal_bytes: u64,
    /// Messages of others on a shared log that are no events.
    pub skipped_messages: u64,
    /// Events can be published, as `/readyz` says.
    pub is_ready: bool,
    /// The log can be written.
    pub is_writable: bool,
    /// The kind of the engine.
    pub engine: &'static str,
}

const COLD_READS_HELP: &str = "Pages read from the engine instead of from memory";
const SKIPPED_HELP: &str = "Messages that others have put on a shared log and that are no events";
const WAL_HELP: &str = "Bytes of the write-ahead log, which retention does not count";
const WAKE_UPS_HELP: &str = "Waiting readers that were woken for an event";
const MOST_SUBSCRIBERS_HELP: &str = "Subscriptions that may be open at once";

impl Metrics {
    /// Nothing is counted yet but what clients were refused.
    pub(crate) fn with_refusals(refusals: Refusals) -> Self {
        Metrics {
            refusals,
            ..Metrics::default()
        }
    }

    /// A gap was reported to a subscriber.
    pub(crate) fn count_gap(&self, reason: GapReason) {
        self.gaps[reason as usize].add(1);
    }

    /// A page is read from the engine.
    pub(crate) fn count_cold_read(&self) {
        self.cold_reads.add(1);
    }

    /// Retention has trimmed events.
    pub(crate) fn count_trimmed(&self, events: u64) {
        self.trimmed.add(events);
    }

    /// What has been counted since the start.
    pub(crate) fn totals(&self) -> Totals {
        let of_readers = |count: fn(&Readers, Transport) -> u64| -> u64 {
            READING.iter().map(|via| count(&self.readers, *via)).sum()
        };
        Totals {
            publishing: self.publishing.totals(),
            deliveries: of_readers(Readers::deliveries),
            subscriptions: of_readers(Readers::opened),
            gaps: self.gaps.iter().map(Count::get).sum(),
            cold_reads: self.cold_reads.get(),
            trimmed_events: self.trimmed.get(),
        }
    }

    /// All metrics in the OpenMetrics text format; `add` registers those of others.
    pub(crate) fn render(
        &self,
        gauges: &Gauges,
        connections: &OpenConnections,
        process: Vec<Shown>,
        add: impl FnOnce(&mut Registry),
    ) -> String {
        // A registry of its own for each request: what is only read at that moment has no counter
        // that would have to be kept up to date.
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("vidette");
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        Shown::info("build_info", "The program that runs", build).register(own);
        connections.shown().register(own);
        self.register_counts(own);
        gauges
            .shown()
            .into_iter()
            .for_each(|shown| shown.register(own));
        add(own);
        for shown in process {
            shown.register(&mut registry);
        }
        text_of(&registry)
    }

    fn register_counts(&self, registry: &mut Registry) {
        let shown = self
            .publishing
            .shown()
            .into_iter()
            .chain(self.readers.shown());
        let gaps = GAP_REASONS.iter().zip(&self.gaps);
        let gaps = gaps.map(|(reason, count)| ([("reason", reason.as_str())], count.get()));
        let others = [
            self.requests.shown(),
            self.refusals.shown(),
            Shown::counters("gaps", "Gaps reported to subscribers", gaps),
            Shown::counter("cold_reads", COLD_READS_HELP, self.cold_reads.get()),
            Shown::counter(
                "trimmed_events",
                "Events trimmed by retention",
                self.trimmed.get(),
            ),
        ];
        shown
            .chain(others)
            .chain(self.spans.shown())
            .for_each(|shown| shown.register(registry));
    }
}

impl Gauges {
    #[rustfmt::skip] // a table with one line a gauge
    fn shown(&self) -> Vec<Shown> {
        let engine = [("engine", self.engine)];
        vec![
            Shown::gauge("first_vid", "The oldest retained vid", self.first),
            Shown::gauge("last_vid", "The newest vid", self.last),
            Shown::gauge("retained_events", "Retained events", self.events),
            Shown::gauge("retained_bytes", "Bytes of retained events", self.bytes),
            Shown::gauge("max_subscribers", MOST_SUBSCRIBERS_HELP, self.most_subscribers),
            Shown::counter("wake_ups", WAKE_UPS_HELP, self.wake_ups),
            Shown::gauge("wal_bytes", WAL_HELP, self.wal_bytes),
            Shown::gauge("skipped_messages", SKIPPED_HELP, self.skipped_messages),
            Shown::gauge("ready", "1 while events can be published, else 0", self.is_ready.into()),
            Shown::gauge("log_writable", "1 while the log can be written, else 0", self.is_writable.into()),
            Shown::info("engine_info", "Where events are kept", engine),
        ]
    }
}

fn text_of(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string does not fail");
    text
}
