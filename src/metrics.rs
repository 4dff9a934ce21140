//! What the gateway counts, as `/metrics` shows it.
//!
//! Invariant: counting never waits and never allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one gateway.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Events that were given a vid.
    pub events_published: Counter,
    /// Events whose id was known already.
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
    /// Gaps reported to subscribers.
    pub gaps: Counter,
    /// Subscriptions opened.
    pub subscriptions: Counter,
    /// Events trimmed by retention.
    pub trimmed: Counter,
    /// What clients were refused, by reason.
    pub refusals: Refusals,
}

/// Why a client is refused what it may do, but not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// All clients together have too many connections open.
    Connections,
    /// Its address has too many connections open.
    AddressConnections,
    /// A trusted proxy does not say in time, or not rightly, whom it speaks for.
    ProxyHeader,
    /// Its address has too many subscriptions open.
    AddressSubscriptions,
    /// Its address publishes too fast.
    AddressPublishing,
    /// The same for the subject of its token.
    CallerSubscriptions,
    /// The same for the subject of its token.
    CallerPublishing,
    /// The same for the name of its API key or certificate.
    KeySubscriptions,
    /// The same for the name of its API key or certificate.
    KeyPublishing,
    /// Its connection has too many subscriptions open.
    ConnectionSubscriptions,
    /// All clients together have too many subscriptions open.
    Subscriptions,
    /// The publish queue is full.
    PublishQueue,
    /// The memory budget is used up.
    Memory,
}

#[rustfmt::skip] // a table with one line a reason
const REFUSAL_REASONS: [(RefusalReason, &str); 13] = [
    (RefusalReason::Connections, "connections"),
    (RefusalReason::AddressConnections, "address_connections"),
    (RefusalReason::ProxyHeader, "proxy_header"),
    (RefusalReason::AddressSubscriptions, "address_subscriptions"),
    (RefusalReason::AddressPublishing, "address_publishing"),
    (RefusalReason::CallerSubscriptions, "caller_subscriptions"),
    (RefusalReason::CallerPublishing, "caller_publishing"),
    (RefusalReason::KeySubscriptions, "key_subscriptions"),
    (RefusalReason::KeyPublishing, "key_publishing"),
    (RefusalReason::ConnectionSubscriptions, "connection_subscriptions"),
    (RefusalReason::Subscriptions, "subscriptions"),
    (RefusalReason::PublishQueue, "publish_queue"),
    (RefusalReason::Memory, "memory"),
];

/// What clients were refused, by reason. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Refusals([Counter; REFUSAL_REASONS.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, reason: RefusalReason) {
        self.0[reason as usize].inc();
    }

    /// Adds the counts to what is rendered.
    fn register(&self, registry: &mut Registry) {
        // No label says who was refused: strangers would decide how many there are.
        let family = Family::<[(&str, &str); 1], Counter>::default();
        for ((_, name), counter) in REFUSAL_REASONS.iter().zip(&self.0) {
            let shown = family.get_or_create(&[("reason", *name)]);
            shown.inc_by(counter.get());
        }
        registry.register(
            "refused",
            "Requests refused, by the limit that was reached",
            family,
        );
    }
}

/// Connections open now, counted by the server. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    /// Counts one more, unless `at_most` are open.
    pub fn try_open(&self, at_most: usize) -> bool {
        // Checked and counted in one step, so that two callers cannot both take the last place.
        let one_more = |open| (open < at_most).then_some(open + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.fetch_update(set, fetch, one_more).is_ok()
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
        let gauge = gauge_of(self.count() as u64);
        registry.register("connections", "Connections open now", gauge);
    }
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
    /// Subscriptions open now.
    pub subscribers: u64,
    /// Bytes of the write-ahead log of an engine that has one.
    pub wal_bytes: u64,
    /// Messages of others on a shared log that are no events.
    pub skipped_messages: u64,
    /// Events can be published, as `/readyz` says.
    pub is_ready: bool,
}

/// A counter, the name under which it is shown, and what it counts.
struct ShownCounter(&'static str, &'static str, fn(&Metrics) -> &Counter);

/// A gauge, likewise.
struct ShownGauge(&'static str, &'static str, fn(&Gauges) -> u64);

const REFUSED_HELP: &str = "Publish requests refused because the queue was full";
const COLD_READS_HELP: &str = "Pages read from the engine instead of from memory";
const SKIPPED_HELP: &str = "Messages that others have put on a shared log and that are no events";
const WAL_HELP: &str = "Bytes of the write-ahead log, which retention does not count";

#[rustfmt::skip] // a table with one line a counter
const COUNTERS: [ShownCounter; 10] = [
    ShownCounter("events_published", "Events that were given a vid", |m| &m.events_published),
    ShownCounter("duplicates", "Events whose id was known already", |m| &m.duplicates),
    ShownCounter("publishes_refused", REFUSED_HELP, |m| &m.publishes_refused),
    ShownCounter("commits", "Commits of the log", |m| &m.commits),
    ShownCounter("commit_failures", "Commits that failed", |m| &m.commit_failures),
    ShownCounter("deliveries", "Events handed to subscriptions", |m| &m.deliveries),
    ShownCounter("cold_reads", COLD_READS_HELP, |m| &m.cold_reads),
    ShownCounter("gaps", "Gaps reported to subscribers", |m| &m.gaps),
    ShownCounter("subscriptions", "Subscriptions opened", |m| &m.subscriptions),
    ShownCounter("trimmed_events", "Events trimmed by retention", |m| &m.trimmed),
];

#[rustfmt::skip] // a table with one line a gauge
const GAUGES: [ShownGauge; 8] = [
    ShownGauge("first_vid", "The oldest retained vid", |g| g.first),
    ShownGauge("last_vid", "The newest vid", |g| g.last),
    ShownGauge("retained_events", "Retained events", |g| g.events),
    ShownGauge("retained_bytes", "Bytes of retained events", |g| g.bytes),
    ShownGauge("subscribers", "Subscriptions open now", |g| g.subscribers),
    ShownGauge("wal_bytes", WAL_HELP, |g| g.wal_bytes),
    ShownGauge("skipped_messages", SKIPPED_HELP, |g| g.skipped_messages),
    ShownGauge("ready", "1 while events can be published, else 0", |g| g.is_ready.into()),
];

impl Metrics {
    /// All metrics in the OpenMetrics text format; `add` registers those of others.
    pub fn render(&self, gauges: Gauges, add: impl FnOnce(&mut Registry)) -> String {
        // A registry of its own for each request: what is only read at that moment has no counter
        // that would have to be kept up to date.
        let mut registry = Registry::with_prefix("vidette");
        self.register_counters(&mut registry);
        register_gauges(&mut registry, &gauges);
        add(&mut registry);
        text_of(&registry)
    }

    fn register_counters(&self, registry: &mut Registry) {
        for ShownCounter(name, help, counter) in &COUNTERS {
            registry.register(*name, *help, counter(self).clone());
        }
        self.refusals.register(registry);
    }
}

fn register_gauges(registry: &mut Registry, gauges: &Gauges) {
    for ShownGauge(name, help, value) in &GAUGES {
        registry.register(*name, *help, gauge_of(value(gauges)));
    }
}

fn gauge_of(value: u64) -> Gauge {
    let gauge = Gauge::<i64>::default();

    // The format has no larger numbers.
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

fn text_of(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string does not fail");
    text
}
