//! A log that several gateways append to, as a cluster of servers would keep it, and what can go
//! wrong on the way to it.
//!
//! [`SharedLog`] is the log itself; the test appends to it as others would, trims it, and replaces
//! it. Each gateway has an engine on it by a [`Link`], which the test makes slow, deaf or
//! forgetful. Invariants of the log: vids rise, a batch has neighbouring vids, and whatever was
//! ever appended stays in [`SharedLog::past`], so that a test can compare.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use vidette::cursor::{Epoch, Vid};
use vidette::engine::{
    Appended, Engine, LogState, MemoryEngine, Moment, Page, PageBudget, ReadRequest, Receipt,
    Retention,
};
use vidette::error::Result;
use vidette::event::{Event, EventParts, NewEvent};
use vidette::lineage::Lineage;
use vidette::topic::Filter;

use super::engines::DEDUPE_WINDOW;
use super::link::SharedEngine;
pub use super::link::{Confirmation, Link, LinkSettings};

/// The topic of what takes a vid and is no event.
const HOLE: &str = "hole.without.event";

/// A log that several gateways append to.
#[derive(Clone)]
pub struct SharedLog(pub(super) Arc<Core>);

pub(super) struct Core {
    log: Mutex<Log>,
    /// Counts all changes, also those of links.
    pub(super) changes: watch::Sender<u64>,
}

/// The log that is there now, and those it replaced.
pub(super) struct Log {
    events: MemoryEngine,
    pub(super) lineage: Lineage,
    /// Counts the logs that were replaced.
    pub(super) generation: u64,
    past: Vec<Era>,
}

/// All that was ever appended while the log had this epoch.
#[derive(Clone)]
pub struct Era {
    pub epoch: String,
    pub events: Vec<Arc<Event>>,
}

impl Default for SharedLog {
    fn default() -> Self {
        let log = Log::new(0, Lineage::new(Epoch::random()));
        SharedLog(Arc::new(Core {
            log: Mutex::new(log),
            changes: watch::Sender::new(0),
        }))
    }
}

impl SharedLog {
    /// A way to the log for one gateway.
    pub fn link(&self) -> Link {
        Link::new(self.0.clone())
    }

    /// An engine for a gateway that reaches the log by this link.
    pub fn engine(&self, link: &Link) -> Arc<dyn Engine> {
        Arc::new(SharedEngine::new(self.0.clone(), link.clone()))
    }

    /// Somebody else appends an event of each of these topics, as one batch; their vids.
    pub fn append_foreign(&self, topics: &[&str]) -> Vec<Vid> {
        let batch = topics.iter().map(|topic| event(topic)).collect();
        let receipts = self.0.append(batch, now()).expect("it is appended");
        receipts.iter().map(|receipt| receipt.vid).collect()
    }

    /// The next so many vids hold no event.
    pub fn skip_vids(&self, count: usize) {
        let holes = (0..count).map(|_| event(HOLE)).collect();
        self.0.append(holes, now()).expect("they are skipped");
    }

    /// Somebody else trims the log to so many of the newest vids.
    pub fn keep(&self, vids: u64) {
        let retention = Retention {
            max_age: Duration::from_secs(3600),
            max_events: vids,
            max_bytes: u64::MAX,
            dedupe_window: DEDUPE_WINDOW,
        };
        while self
            .0
            .trim(retention, now().counted_ms)
            .expect("trimmed")
            .more
        {}
    }

    /// Another log is there from now on, with a new epoch and an event of each of these topics.
    pub fn replace(&self, topics: &[&str]) {
        self.replace_with(Lineage::new(Epoch::random()), topics);
    }

    /// The same, but the epoch does not show it.
    pub fn replace_without_new_epoch(&self, topics: &[&str]) {
        let lineage = self.0.log().lineage.clone();
        self.replace_with(lineage, topics);
    }

    fn replace_with(&self, lineage: Lineage, topics: &[&str]) {
        let mut log = self.0.log();
        let mut next = Log::new(log.generation + 1, lineage);
        for topic in topics {
            next.append(vec![event(topic)], now()).expect("appended");
        }
        next.past.splice(0..0, std::mem::take(&mut log.past));
        *log = next;
        drop(log);
        self.0.changed();
    }

    /// What the log says of itself.
    pub fn state(&self) -> LogState {
        self.0.log().state()
    }

    /// All that was ever appended, epoch by epoch.
    pub fn past(&self) -> Vec<Era> {
        self.0.log().past.clone()
    }

    /// Is that event on the log, under this vid?
    pub fn holds(&self, vid: Vid, id: &str) -> bool {
        let log = self.0.log();
        let is_it = |event: &Arc<Event>| event.vid == vid && event.sent.id.as_deref() == Some(id);
        log.past.iter().any(|era| era.events.iter().any(is_it))
    }
}

impl Core {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("the log")
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn append(&self, batch: Vec<NewEvent>, now: Moment) -> Result<Vec<Receipt>> {
        let receipts = self.log().append(batch, now);
        self.changed();
        receipts
    }

    pub(super) fn trim(
        &self,
        retention: Retention,
        counted_ms: i64,
    ) -> Result<vidette::engine::TrimStep> {
        let step = at_once(self.log().events.trim(retention, counted_ms));
        self.changed();
        step
    }
}

impl Log {
    fn new(generation: u64, lineage: Lineage) -> Self {
        Log {
            events: MemoryEngine::new(DEDUPE_WINDOW),
            past: vec![Era {
                epoch: lineage.epoch().to_string(),
                events: Vec::new(),
            }],
            lineage,
            generation,
        }
    }

    pub(super) fn engine(&self) -> &MemoryEngine {
        &self.events
    }

    pub(super) fn state(&self) -> LogState {
        LogState {
            lineage: self.lineage.clone(),
            ..(*self.events.state()).clone()
        }
    }

    fn append(&mut self, batch: Vec<NewEvent>, now: Moment) -> Result<Vec<Receipt>> {
        let appended: Appended = at_once(self.events.append(vec![batch], now))?;
        let era = self.past.last_mut().expect("the present one");
        era.events.extend(without_holes(appended.events));
        let mut batches = appended.batches.into_iter();
        batches.next().expect("one answer for one batch")
    }

    /// Events after a vid, at most so many, as the tail has them.
    pub(super) fn after(&self, after: Vid, events: usize) -> Page {
        let request = ReadRequest {
            after,
            through: self.events.state().bounds.last,
            filter: Filter::parse(std::iter::empty::<&str>()).expect("all topics"),
            budget: PageBudget::of_events(events),
        };
        self.read(request).expect("a page")
    }

    pub(super) fn read(&self, request: ReadRequest) -> Result<Page> {
        at_once(self.events.read(request)).map(page_without_holes)
    }

    pub(super) fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        at_once(self.events.read_newest(request)).map(page_without_holes)
    }
}

/// A log in memory never waits.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a log in memory never waits")
}

pub(super) fn is_hole(topic: &str) -> bool {
    topic == HOLE
}

fn without_holes(events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
    let mut events = events;
    events.retain(|event| !is_hole(event.sent.topic.as_str()));
    events
}

fn page_without_holes(page: Page) -> Page {
    Page {
        events: without_holes(page.events),
        ..page
    }
}

fn event(topic: &str) -> NewEvent {
    let parts = EventParts {
        topic,
        content_type: Some("application/json"),
        data: "0".into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 100).expect("an event")
}

fn now() -> Moment {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since_1970.expect("a time after 1970").as_millis();
    i64::try_from(millis).expect("a time").into()
}
