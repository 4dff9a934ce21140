//! The state of a source, and of all of them: in `/v1/bus`, in the metrics, and in the gateway's
//! own log when it changes.
//!
//! Invariant: a change is logged once, not each time that it is seen again, so no source fills the
//! log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::clip;
use crate::bus::SourceLease;

/// The states of all sources, and whether this gateway is the one to pull from them.
#[derive(Clone)]
pub(crate) struct SourceStates {
    sources: Arc<[Arc<SourceState>]>,
    /// None where no other gateway uses the log.
    lease: Option<Arc<SourceLease>>,
}

impl SourceStates {
    pub(super) fn new(sources: Arc<[Arc<SourceState>]>, lease: Option<Arc<SourceLease>>) -> Self {
        // Until it is this gateway's turn.
        if lease.is_some() {
            sources.iter().for_each(|source| source.waiting());
        }
        SourceStates { sources, lease }
    }

    /// Those of a gateway without sources.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        SourceStates::new(Arc::new([]), None)
    }

    pub(super) fn lease(&self) -> Option<&SourceLease> {
        self.lease.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<SourceState>> {
        self.sources.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// As `/v1/bus` shows them.
    pub(crate) fn json(&self) -> Value {
        self.iter().map(|source| source.json()).collect()
    }
}

/// The state of one source.
pub(crate) struct SourceState {
    name: String,
    kind: &'static str,
    counters: SourceCounters,
    current: Mutex<CurrentState>, // held for one look or one change
}

#[derive(Default)]
struct SourceCounters {
    taken: AtomicU64,
    published: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

/// A counter as it is shown: its name, what it counts, and its value.
pub(super) struct SourceCount {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    read: fn(&SourceCounters) -> &AtomicU64,
}

impl SourceCount {
    const fn new(
        name: &'static str,
        help: &'static str,
        read: fn(&SourceCounters) -> &AtomicU64,
    ) -> Self {
        SourceCount { name, help, read }
    }

    pub(super) fn of(&self, source: &SourceState) -> u64 {
        (self.read)(&source.counters).load(Ordering::Relaxed)
    }
}

/// Names are read by monitoring and stay as they are: errors are called `faults` there.
pub(super) const COUNTS: [SourceCount; 5] = [
    SourceCount::new("taken", "Pieces of work pulled from the source", |c| {
        &c.taken
    }),
    SourceCount::new("published", "Pieces that became events", |c| &c.published),
    SourceCount::new("duplicates", "Pieces that were events already", |c| {
        &c.duplicates
    }),
    SourceCount::new(
        "refused",
        "Pieces that cannot become events, kept as dead letters",
        |c| &c.refused,
    ),
    SourceCount::new(
        "faults",
        "Errors: the source was down or its events could not be stored",
        |c| &c.errors,
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourcePhase {
    /// Another gateway pulls, or may.
    Waiting,
    Connecting,
    Up,
    /// What has been pulled cannot be stored now.
    Held,
    Down,
    Stopped,
}

impl SourcePhase {
    fn word(self) -> &'static str {
        match self {
            SourcePhase::Waiting => "waiting",
            SourcePhase::Connecting => "connecting",
            SourcePhase::Up => "up",
            SourcePhase::Held => "held",
            SourcePhase::Down => "down",
            SourcePhase::Stopped => "stopped",
        }
    }
}

struct CurrentState {
    phase: SourcePhase,
    since: Timestamp,
    last_error: Option<(Timestamp, String)>,
    lag: Option<u64>,
}

impl CurrentState {
    fn new() -> Self {
        CurrentState {
            phase: SourcePhase::Connecting,
            since: Timestamp::now(),
            last_error: None,
            lag: None,
        }
    }
}

impl SourceState {
    pub(super) fn new(name: impl Into<String>, kind: &'static str) -> Self {
        SourceState {
            name: name.into(),
            kind,
            counters: SourceCounters::default(),
            current: Mutex::new(CurrentState::new()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn is_up(&self) -> bool {
        self.current().phase == SourcePhase::Up
    }

    pub(super) fn lag(&self) -> Option<u64> {
        self.current().lag
    }

    /// Somebody else pulls, or nobody.
    pub(super) fn waiting(&self) {
        self.enter(SourcePhase::Waiting);
        // What was known is not known any more.
        self.current().lag = None;
    }

    pub(super) fn connecting(&self) {
        self.enter(SourcePhase::Connecting);
    }

    /// The source answers.
    pub(super) fn up(&self, lag: Option<u64>) {
        // Each successful pull comes here; only a change is logged.
        if self.enter(SourcePhase::Up) {
            tracing::info!(source = self.name, "the source is up");
        }
        self.current().lag = lag;
    }

    /// The source cannot be reached, or its connection broke.
    pub(super) fn down(&self, error: &str) {
        let error = self.note_error(error);
        if self.enter(SourcePhase::Down) {
            tracing::warn!(
                source = self.name,
                error,
                "the source is down; vidette keeps trying to reconnect"
            );
        } else {
            // Each further attempt fails alike; a warning for each would fill the log.
            tracing::debug!(source = self.name, error, "the source is still down");
        }
    }

    /// What the source gave cannot be stored now.
    pub(super) fn held(&self, error: &str) {
        let error = self.note_error(error);
        // Every attempt comes here; only the first one of a row is worth a line.
        if self.enter(SourcePhase::Held) {
            tracing::warn!(
                source = self.name,
                error,
                "events cannot be stored; the source waits with them"
            );
        }
    }

    pub(super) fn stopped(&self) {
        if self.enter(SourcePhase::Stopped) {
            tracing::info!(source = self.name, "the source has stopped");
        }
    }

    pub(super) fn took(&self, pieces: usize) {
        add(&self.counters.taken, pieces as u64);
    }

    pub(super) fn published(&self, duplicate: bool) {
        let counter = if duplicate {
            &self.counters.duplicates
        } else {
            &self.counters.published
        };
        add(counter, 1);
    }

    pub(super) fn refused(&self, duplicate: bool, reason: &str) {
        // Its dead letter was counted and logged when it came first.
        if duplicate {
            return;
        }
        let refused = add(&self.counters.refused, 1);

        // A producer that is wrong is wrong each time: the 1st, 2nd, 4th, 8th, … is logged.
        if refused.is_power_of_two() {
            self.warn_of_refusal(reason, refused);
        }
    }

    fn warn_of_refusal(&self, reason: &str, refused: u64) {
        tracing::warn!(
            source = self.name,
            reason,
            topic = format!("vidette.dead.{}", self.kind),
            refused,
            "refused; kept as a dead letter"
        );
    }

    /// An id stood for another record already.
    pub(super) fn id_reused(&self, id: &str) {
        tracing::debug!(
            source = self.name,
            id,
            "the id stands for another record already; both are kept"
        );
    }

    fn current(&self) -> MutexGuard<'_, CurrentState> {
        // Every change is a plain assignment, so a panic elsewhere leaves no half-made state.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and keeps an error. Returns its text as it was kept.
    fn note_error(&self, error: &str) -> String {
        // Texts of others may be of any length.
        let text = clip(error);
        add(&self.counters.errors, 1);
        self.current().last_error = Some((Timestamp::now(), text.clone()));
        text
    }

    /// True when that is a change.
    fn enter(&self, phase: SourcePhase) -> bool {
        let mut current = self.current();

        // A state that is seen again keeps its time, and is not logged again.
        if current.phase == phase {
            return false;
        }
        current.phase = phase;
        current.since = Timestamp::now();
        true
    }

    /// The state as `/v1/bus` shows it.
    pub(crate) fn json(&self) -> Value {
        let mut shown = json!({ "name": self.name, "kind": self.kind });
        self.add_current(&mut shown);
        self.add_counts(&mut shown);
        shown
    }

    fn add_counts(&self, shown: &mut Value) {
        for count in &COUNTS {
            shown[count.name] = count.of(self).into();
        }
    }

    fn add_current(&self, shown: &mut Value) {
        let current = self.current();
        shown["state"] = current.phase.word().into();
        shown["since"] = rfc3339(current.since).into();
        // What is not known is left out, rather than shown as null.
        if let Some(lag) = current.lag {
            shown["lag"] = lag.into();
        }
        if let Some((time, text)) = &current.last_error {
            // As with `faults`, the name is one that monitoring reads.
            shown["last_fault"] = json!({ "time": rfc3339(*time), "text": text });
        }
    }
}

/// Adds to a counter. Returns its new value.
fn add(counter: &AtomicU64, by: u64) -> u64 {
    counter.fetch_add(by, Ordering::Relaxed) + by
}

fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}
