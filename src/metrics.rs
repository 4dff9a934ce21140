//! What the gateway counts, for `/metrics`.
//!
//! Invariant: counting never waits and never allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one gateway.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Events that were given a vid.
    pub events_published: Counter,
    /// Events that were known by their id already.
    pub duplicates: Counter,
    /// Publish requests refused because the queue was full.
    pub publishes_refused: Counter,
    /// Commits of the log; fewer than events, by group commit.
    pub commits: Counter,
    /// Commits that failed.
    pub commit_failures: Counter,
    /// Events handed to subscriptions.
    pub deliveries: Counter,
    /// Pages read from the engine instead of from memory.
    pub cold_reads: Counter,
    /// Gaps told to subscribers.
    pub gaps: Counter,
    /// Subscriptions opened.
    pub subscriptions: Counter,
    /// Events trimmed by retention.
    pub trimmed: Counter,
}

/// Connections open now, counted by the server. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    /// Counts one more, unless so many are open.
    pub fn try_open(&self, at_most: usize) -> bool {
        let one_more = |open| (open < at_most).then_some(open + 1);
        let counted = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        counted.is_ok()
    }

    /// Counts one less.
    pub fn close(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Adds the count to what is rendered.
    pub fn register(&self, registry: &mut Registry) {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(self.count()).unwrap_or(i64::MAX));
        registry.register("connections", "Connections open now", gauge);
    }
}

/// What is read from the bus at the moment of asking.
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
    /// Subscriptions open now.
    pub subscribers: u64,
    /// Bytes of the write-ahead log of an engine that has one.
    pub wal_bytes: u64,
    /// Events can be published, as `/readyz` says.
    pub is_ready: bool,
}

impl Metrics {
    /// All of it in the OpenMetrics text format, with what others have to add.
    pub fn render(&self, gauges: Gauges, add: impl FnOnce(&mut Registry)) -> String {
        let mut registry = Registry::with_prefix("vidette");
        self.register_counters(&mut registry);
        register_gauges(&mut registry, gauges);
        add(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }

    fn register_counters(&self, registry: &mut Registry) {
        let counters = [
            (
                "events_published",
                "Events that were given a vid",
                &self.events_published,
            ),
            (
                "duplicates",
                "Events known by their id already",
                &self.duplicates,
            ),
            (
                "publishes_refused",
                "Publish requests refused because the queue was full",
                &self.publishes_refused,
            ),
            ("commits", "Commits of the log", &self.commits),
            (
                "commit_failures",
                "Commits that failed",
                &self.commit_failures,
            ),
            (
                "deliveries",
                "Events handed to subscriptions",
                &self.deliveries,
            ),
            (
                "cold_reads",
                "Pages read from the engine instead of from memory",
                &self.cold_reads,
            ),
            ("gaps", "Gaps told to subscribers", &self.gaps),
            ("subscriptions", "Subscriptions opened", &self.subscriptions),
            (
                "trimmed_events",
                "Events trimmed by retention",
                &self.trimmed,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}

fn register_gauges(registry: &mut Registry, gauges: Gauges) {
    let gauges = [
        ("first_vid", "The oldest retained vid", gauges.first),
        ("last_vid", "The newest vid", gauges.last),
        ("retained_events", "Retained events", gauges.events),
        ("retained_bytes", "Bytes of retained events", gauges.bytes),
        ("subscribers", "Subscriptions open now", gauges.subscribers),
        (
            "wal_bytes",
            "Bytes of the write-ahead log, which retention does not count",
            gauges.wal_bytes,
        ),
        (
            "ready",
            "1 while events can be published, else 0",
            gauges.is_ready.into(),
        ),
    ];
    for (name, help, value) in gauges {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
}
