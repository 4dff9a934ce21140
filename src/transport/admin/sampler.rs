//! How fast events come and go: counters, looked at once a second while somebody looks.
//!
//! Invariants:
//! - nobody is sampled for once nobody has looked for [`limits::ADMIN_IDLE`];
//! - the samples are bounded, and so are those who watch them live.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::bus::Bus;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::metrics::READING;

/// The samples of a gateway. Clones share them.
#[derive(Clone)]
pub(crate) struct AdminWatch(Arc<Watched>);

struct Watched {
    /// When the gateway started.
    started: Instant,
    /// Held for one look or one change.
    samples: Mutex<Samples>,
    /// Counts the samples.
    ticks: watch::Sender<u64>,
    /// Those who watch live.
    watchers: AtomicUsize,
}

#[derive(Default)]
struct Samples {
    ring: VecDeque<Sample>,
    looked_at: Option<Instant>,
    is_sampled: bool,
}

/// What had been counted at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    published: u64,
    deliveries: u64,
    /// Deliveries, in the order of [`READING`].
    by_transport: [u64; READING.len()],
}

impl Sample {
    fn of(bus: &Bus) -> Self {
        let metrics = bus.metrics();
        let totals = metrics.totals();
        Sample {
            at: Instant::now(),
            published: totals.publishing.events_published,
            deliveries: totals.deliveries,
            by_transport: READING.map(|via| metrics.readers.deliveries(via)),
        }
    }
}

/// What has happened a second, between two samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    events: f64,
    deliveries: f64,
    pub(super) by_transport: [f64; READING.len()],
}

impl Rates {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    fn between(one: &Sample, next: &Sample) -> Self {
        let seconds = (next.at - one.at).as_secs_f64().max(0.001);
        let rate = |before: u64, after: u64| {
            let per_second = after.saturating_sub(before) as f64 / seconds;
            (per_second * 10.0).round() / 10.0
        };
        Rates {
            events: rate(one.published, next.published),
            deliveries: rate(one.deliveries, next.deliveries),
            by_transport: std::array::from_fn(|at| {
                rate(one.by_transport[at], next.by_transport[at])
            }),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "events_per_s": self.events, "deliveries_per_s": self.deliveries })
    }
}

impl Default for AdminWatch {
    fn default() -> Self {
        AdminWatch(Arc::new(Watched {
            started: Instant::now(),
            samples: Mutex::default(),
            ticks: watch::Sender::new(0),
            watchers: AtomicUsize::new(0),
        }))
    }
}

/// The place of somebody who watches live.
pub(super) struct Watcher(AdminWatch);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl AdminWatch {
    fn samples(&self) -> MutexGuard<'_, Samples> {
        let samples = self.0.samples.lock();
        samples.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uptime_s(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    /// Has the counters looked at from now on.
    pub(super) fn look(&self, bus: &Bus) {
        let mut samples = self.samples();
        samples.looked_at = Some(Instant::now());
        if std::mem::replace(&mut samples.is_sampled, true) {
            return;
        }
        // Older ones are of another time.
        samples.ring.clear();
        samples.ring.push_back(Sample::of(bus));
        tokio::spawn(self.clone().sample(bus.clone()));
    }

    async fn sample(self, bus: Bus) {
        let second = limits::ADMIN_SAMPLE_EVERY;
        let mut seconds = interval_at(Instant::now() + second, second);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = bus.closed() => return,
                _ = seconds.tick() => {}
            }
            if !self.add(Sample::of(&bus)) {
                return;
            }
            self.0.ticks.send_modify(|ticks| *ticks += 1);
        }
    }

    /// False when nobody looks any more.
    fn add(&self, sample: Sample) -> bool {
        let mut samples = self.samples();
        let is_idle = |at: Instant| at.elapsed() > limits::ADMIN_IDLE;
        let is_watched = self.0.watchers.load(Ordering::Acquire) > 0;
        if !is_watched && samples.looked_at.is_none_or(is_idle) {
            samples.is_sampled = false;
            return false;
        }
        samples.ring.push_back(sample);
        if samples.ring.len() > limits::ADMIN_SAMPLES {
            samples.ring.pop_front();
        }
        true
    }

    /// The rates of the last second; none before there are two samples.
    pub(super) fn rates(&self) -> Option<Rates> {
        let samples = self.samples();
        let mut newest_first = samples.ring.iter().rev();
        let (newest, before) = (newest_first.next()?, newest_first.next()?);
        Some(Rates::between(before, newest))
    }

    /// The rates of the last minutes, the oldest first.
    pub(super) fn history(&self) -> Vec<Value> {
        let samples = self.samples();
        let ring = samples.ring.iter();
        let pairs = ring.clone().zip(ring.skip(1));
        let rates = pairs.map(|(one, next)| Rates::between(one, next));
        rates
            .map(|rates| json!([rates.events, rates.deliveries]))
            .collect()
    }

    /// Waits for the rates of whoever is the first to look.
    pub(super) async fn until_there_are_rates(&self) {
        let mut ticks = self.ticks();
        if self.rates().is_none() {
            let _ = timeout(2 * limits::ADMIN_SAMPLE_EVERY, ticks.changed()).await;
        }
    }

    /// Changes with each sample.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.0.ticks.subscribe()
    }

    /// # Errors
    /// Busy, when as many watch as may.
    pub(super) fn begin_to_watch(&self) -> Result<Watcher> {
        let most = limits::MAX_ADMIN_WATCHERS;
        let one_more = |open| (open < most).then_some(open + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let watching = self.0.watchers.fetch_update(set, fetch, one_more);
        watching.map_err(|_| {
            let detail = format!("{most} admin pages are open already; close some");
            Error::new(ErrorKind::Busy, detail)
        })?;
        Ok(Watcher(self.clone()))
    }
}
