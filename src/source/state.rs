//! How a source is doing: in `/v1/bus`, in the metrics, and in the log when it changes.
//!
//! Invariant: a change is logged once, not every time that it is seen again, so no source fills a
//! log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::limits;

/// The state of one source.
pub(crate) struct SourceState {
    name: String,
    kind: &'static str,
    taken: AtomicU64,
    published: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    faults: AtomicU64,
    now: Mutex<Now>, // held for one look or one change
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Up,
    /// What has been pulled cannot be stored just now.
    Held,
    Down,
    Stopped,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Up => "up",
            Phase::Held => "held",
            Phase::Down => "down",
            Phase::Stopped => "stopped",
        }
    }
}

struct Now {
    phase: Phase,
    since: Timestamp,
    last_fault: Option<(Timestamp, String)>,
    lag: Option<u64>,
}

impl SourceState {
    pub(super) fn new(name: impl Into<String>, kind: &'static str) -> Self {
        let counters = || AtomicU64::new(0);
        SourceState {
            name: name.into(),
            kind,
            taken: counters(),
            published: counters(),
            duplicates: counters(),
            refused: counters(),
            faults: counters(),
            now: Mutex::new(Now {
                phase: Phase::Connecting,
                since: Timestamp::now(),
                last_fault: None,
                lag: None,
            }),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// It answers.
    pub(super) fn up(&self, lag: Option<u64>) {
        if self.enter(Phase::Up, None) {
            tracing::info!(source = self.name, "the source is up");
        }
        self.now().lag = lag;
    }

    /// It cannot be reached, or broke off.
    pub(super) fn down(&self, fault: &str) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let fault = clip(fault);
        if self.enter(Phase::Down, Some(&fault)) {
            tracing::warn!(
                source = self.name,
                fault,
                "the source is down; it is tried again until it is back"
            );
        } else {
            tracing::debug!(source = self.name, fault, "the source is still down");
        }
    }

    /// What it gave cannot be stored just now.
    pub(super) fn held(&self, fault: &str) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let fault = clip(fault);
        if self.enter(Phase::Held, Some(&fault)) {
            tracing::warn!(
                source = self.name,
                fault,
                "events cannot be stored; the source waits with them"
            );
        }
    }

    pub(super) fn stopped(&self) {
        if self.enter(Phase::Stopped, None) {
            tracing::info!(source = self.name, "the source has stopped");
        }
    }

    pub(super) fn took(&self, pieces: usize) {
        self.taken.fetch_add(pieces as u64, Ordering::Relaxed);
    }

    pub(super) fn published(&self, duplicate: bool) {
        let counter = if duplicate {
            &self.duplicates
        } else {
            &self.published
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, duplicate: bool, reason: &str) {
        if duplicate {
            return;
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // A producer that is wrong is wrong each time: the 1st, 2nd, 4th, 8th, … is told.
        if refused.is_power_of_two() {
            let topic = format!("vidette.dead.{}", self.kind);
            tracing::warn!(
                source = self.name,
                reason,
                topic,
                refused,
                "not an event: it is kept as a dead letter"
            );
        }
    }

    /// An id stood for another record already.
    pub(super) fn id_reused(&self, id: &str) {
        tracing::debug!(
            source = self.name,
            id,
            "the id stands for another record already; both are kept"
        );
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when that is a change.
    fn enter(&self, phase: Phase, fault: Option<&str>) -> bool {
        let mut now = self.now();
        if let Some(fault) = fault {
            now.last_fault = Some((Timestamp::now(), fault.to_owned()));
        }
        let changed = now.phase != phase;
        if changed {
            (now.phase, now.since) = (phase, Timestamp::now());
        }
        changed
    }

    fn counts(&self) -> [(&'static str, &'static str, u64); 5] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            (
                "taken",
                "Pieces of work taken from the source",
                of(&self.taken),
            ),
            (
                "published",
                "Pieces that became events",
                of(&self.published),
            ),
            (
                "duplicates",
                "Pieces that were events already",
                of(&self.duplicates),
            ),
            (
                "refused",
                "Pieces that cannot become events, kept as dead letters",
                of(&self.refused),
            ),
            (
                "faults",
                "Times that the source was down or its events could not be stored",
                of(&self.faults),
            ),
        ]
    }

    /// As `/v1/bus` shows it.
    pub(crate) fn json(&self) -> Value {
        let mut shown = json!({ "name": self.name, "kind": self.kind });
        let now = self.now();
        shown["state"] = now.phase.word().into();
        shown["since"] = rfc3339(now.since).into();
        for (name, _, count) in self.counts() {
            shown[name] = count.into();
        }
        if let Some(lag) = now.lag {
            shown["lag"] = lag.into();
        }
        if let Some((time, text)) = &now.last_fault {
            shown["last_fault"] = json!({ "time": rfc3339(*time), "text": text });
        }
        shown
    }
}

fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A text of at most [`limits::SOURCE_TEXT_BYTES`].
pub(super) fn clip(text: &str) -> String {
    let mut end = text.len().min(limits::SOURCE_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

type Labels = [(&'static str, String); 2];

/// All sources in the metrics, each with its name and kind.
pub(crate) fn register_metrics(registry: &mut Registry, sources: &[std::sync::Arc<SourceState>]) {
    let labels = |source: &SourceState| {
        [
            ("source", source.name.clone()),
            ("kind", source.kind.to_owned()),
        ]
    };
    let Some(first) = sources.first() else { return };
    for (index, (name, help, _)) in first.counts().into_iter().enumerate() {
        let family = Family::<Labels, Counter>::default();
        for source in sources {
            family
                .get_or_create(&labels(source))
                .inc_by(source.counts()[index].2);
        }
        registry.register(format!("source_{name}"), help, family);
    }
    let (up, lag) = (
        Family::<Labels, Gauge>::default(),
        Family::<Labels, Gauge>::default(),
    );
    for source in sources {
        let now = source.now();
        up.get_or_create(&labels(source))
            .set(i64::from(now.phase == Phase::Up));
        if let Some(waiting) = now.lag {
            lag.get_or_create(&labels(source))
                .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
    }
    registry.register(
        "source_up",
        "1 while the source answers and its events can be stored",
        up,
    );
    registry.register(
        "source_lag",
        "What waits outside, where the source can tell",
        lag,
    );
}
