//! A log in memory, for tests and throw-away runs.
//!
//! Invariants:
//! - a restart begins a new log with a new epoch;
//! - `events` is in vid order, and `topics` has exactly the topics of `events`.

mod removal;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Appended, Bounds, Engine, LogState, Moment, Page, ReadRequest, Receipt, Removal, RemovalStep,
    Retention, Sizes, TrimStep, millis,
};
use crate::cursor::{Epoch, Vid};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, NewEvent};
use crate::limits;
use crate::lineage::Lineage;
use crate::topic::{Filter, Topic};

/// A log in memory.
pub struct MemoryEngine {
    lineage: Lineage,
    dedupe_window: Duration,
    /// Held for one short operation at a time, never across an await.
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    events: VecDeque<Arc<Event>>,
    /// When each of them came; see [`Moment::counted_ms`].
    came_at_ms: VecDeque<i64>,
    topics: BTreeMap<Topic, TopicState>,
    ids: HashMap<Arc<str>, (Vid, i64)>,
    /// The ids in the order they came, to forget the oldest.
    id_order: VecDeque<(i64, Vid, Arc<str>)>,
    last: Vid,
    /// Of the last event.
    newest: Moment,
    bytes: u64,
}

struct TopicState {
    newest: Vid,
    retained: u64,
}

/// Ids that came since this moment are remembered.
struct DedupeWindow {
    since_ms: i64,
}

impl DedupeWindow {
    /// The vid of the event with this id, if there is one.
    fn known_vid(&self, log: &Log, sent: &NewEvent) -> Option<Vid> {
        let (vid, came_at_ms) = log.ids.get(sent.id.as_ref()?)?;
        (*came_at_ms >= self.since_ms).then_some(*vid)
    }
}

/// What has become of one event.
struct Placed {
    receipt: Receipt,
    /// None for a duplicate.
    event: Option<Arc<Event>>,
}

impl Placed {
    fn new(event: Arc<Event>) -> Self {
        Placed {
            receipt: Receipt {
                vid: event.vid,
                duplicate: false,
            },
            event: Some(event),
        }
    }

    fn duplicate(vid: Vid) -> Self {
        Placed {
            receipt: Receipt {
                vid,
                duplicate: true,
            },
            event: None,
        }
    }
}

impl MemoryEngine {
    /// An empty log with a new epoch.
    pub fn new(dedupe_window: Duration) -> Self {
        MemoryEngine {
            lineage: Lineage::new(Epoch::random()),
            dedupe_window,
            log: Mutex::default(),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // No operation leaves the log half changed when it panics: each checks before it writes.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn first(&self) -> Vid {
        // In an empty log it is the vid that comes next (contract §3).
        self.events.front().map_or(self.last + 1, |e| e.vid)
    }

    /// The index of the first event after this vid.
    fn index_after(&self, vid: Vid) -> usize {
        self.events.partition_point(|e| e.vid <= vid)
    }

    fn append_one(&mut self, sent: NewEvent, now: Moment, window: &DedupeWindow) -> Placed {
        // Nothing is written for an event that is known.
        if let Some(vid) = window.known_vid(self, &sent) {
            return Placed::duplicate(vid);
        }
        self.last += 1;
        let vid = self.last;
        self.remember_id(&sent, vid, now);
        self.count_topic(&sent.topic, vid);

        let event = Arc::new(Event::new(vid, now.time_ms, sent));
        self.bytes += event.size_bytes() as u64;
        self.events.push_back(event.clone());
        self.came_at_ms.push_back(now.counted_ms);
        self.newest = now;
        Placed::new(event)
    }

    fn remember_id(&mut self, sent: &NewEvent, vid: Vid, now: Moment) {
        let Some(id) = &sent.id else { return };
        // An id that was forgotten and comes again has two entries in the order, one in the map.
        self.ids.insert(id.clone(), (vid, now.counted_ms));
        self.id_order.push_back((now.counted_ms, vid, id.clone()));
    }

    fn count_topic(&mut self, topic: &Topic, newest: Vid) {
        let none = TopicState {
            newest,
            retained: 0,
        };
        let state = self.topics.entry(topic.clone()).or_insert(none);
        state.newest = newest;
        state.retained += 1;
    }

    /// Refuses events whose ids would be more than there may be.
    fn check_ids(&self, batches: &[Vec<NewEvent>]) -> Result<()> {
        // Ids that are known count as well: it is a bound, not a bill.
        let events = batches.iter().flatten();
        let new = events.filter(|event| event.id.is_some()).count();
        if self.ids.len() as u64 + new as u64 > limits::MAX_DEDUPE_IDS {
            return Err(too_many_ids());
        }
        Ok(())
    }

    fn append(
        &mut self,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
        window: &DedupeWindow,
    ) -> Appended {
        // New events of all batches, and a receipt for each event, known or new.
        let mut events = Vec::with_capacity(batches.iter().map(Vec::len).sum());
        let mut place = |sent| {
            let placed = self.append_one(sent, now, window);
            events.extend(placed.event);
            placed.receipt
        };
        let mut place_batch = |batch: Vec<NewEvent>| batch.into_iter().map(&mut place).collect();
        let batches = batches.into_iter().map(|batch| Ok(place_batch(batch)));
        Appended {
            batches: batches.collect(),
            events,
            synced_ns: None,
        }
    }

    fn is_due(&self, retention: &Retention, counted_ms: i64) -> bool {
        let Some(oldest_ms) = self.came_at_ms.front() else {
            return false;
        };
        self.events.len() as u64 > retention.max_events
            || self.bytes > retention.max_bytes
            || *oldest_ms < retention.oldest_event_ms(counted_ms)
    }

    fn drop_oldest(&mut self) {
        let Some(event) = self.events.pop_front() else {
            return;
        };
        self.came_at_ms.pop_front();
        self.bytes -= event.size_bytes() as u64;

        // `topics` has the topics of retained events only.
        if let Some(topic) = self.topics.get_mut(&event.sent.topic) {
            topic.retained -= 1;
            if topic.retained == 0 {
                self.topics.remove(&event.sent.topic);
            }
        }
    }

    fn has_expired_ids(&self, before_ms: i64) -> bool {
        let oldest = self.id_order.front();
        oldest.is_some_and(|(time_ms, ..)| *time_ms < before_ms)
    }

    /// Forgets the oldest of these ids, a step's worth of them.
    fn forget_ids(&mut self, before_ms: i64) {
        for _ in 0..limits::TRIM_STEP_ROWS {
            if !self.has_expired_ids(before_ms) {
                return;
            }
            let Some((_, vid, id)) = self.id_order.pop_front() else {
                return;
            };
            // The id may have been used again since; then a younger entry keeps it.
            if self.ids.get(&id).is_some_and(|(newest, _)| *newest == vid) {
                self.ids.remove(&id);
            }
        }
    }

    fn is_newest_of_its_topic(&self, event: &Event) -> bool {
        let topic = self.topics.get(&event.sent.topic);
        topic.is_some_and(|topic| topic.newest == event.vid)
    }

    fn state(&self, lineage: &Lineage) -> LogState {
        LogState {
            lineage: lineage.clone(),
            bounds: Bounds {
                first: self.first(),
                last: self.last,
            },
            sizes: Sizes {
                events: self.events.len() as u64,
                bytes: self.bytes,
            },
            live: true,
        }
    }

    /// Drops the oldest events that are due, a step's worth of them; returns how many.
    fn trim_events(&mut self, retention: &Retention, counted_ms: i64) -> u32 {
        let (mut trimmed, bytes_before) = (0, self.bytes);
        while trimmed < limits::TRIM_STEP_EVENTS && self.is_due(retention, counted_ms) {
            // A large event is a step of its own.
            let oldest = self.events.front().map_or(0, |e| e.size_bytes() as u64);
            if trimmed > 0 && bytes_before - self.bytes + oldest > limits::TRIM_STEP_BYTES {
                break;
            }
            self.drop_oldest();
            trimmed += 1;
        }
        trimmed
    }

    fn read(&self, request: &ReadRequest, wanted: impl Fn(&Event) -> bool) -> Page {
        let events = self.events.range(self.index_after(request.after)..);
        Page::fill(events, request, request.through, self.first(), wanted)
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn durability(&self) -> String {
        "in memory only: events are lost when the gateway stops".into()
    }

    fn state(&self) -> Arc<LogState> {
        Arc::new(self.log().state(&self.lineage))
    }

    fn first_vid_of(&self, epoch: &Epoch) -> Option<Vid> {
        (self.lineage.epoch() == epoch).then(|| self.log().first())
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        let mut log = self.log();
        // Times never fall, whatever the clock says.
        let now = now.max(log.newest);
        let since_ms = now.counted_ms.saturating_sub(millis(self.dedupe_window));

        // Forgotten first, so that fewer ids count against the bound that is checked next.
        log.forget_ids(since_ms);

        // Checked before anything is written, so that all of it is or nothing.
        log.check_ids(&batches)?;
        Ok(log.append(batches, now, &DedupeWindow { since_ms }))
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        let log = self.log();
        Ok(log.read(&request, |event| request.filter.matches(&event.sent.topic)))
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        let log = self.log();
        Ok(log.read(&request, |event| {
            log.is_newest_of_its_topic(event) && request.filter.matches(&event.sent.topic)
        }))
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        let log = self.log();
        // Times never fall from one vid to the next.
        let index = log.events.partition_point(|e| e.time_ms < time_ms);
        Ok(log.events.get(index).map_or(log.last, |e| e.vid - 1))
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        let log = self.log();
        // `topics` is in byte order already.
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let topics = log
            .topics
            .range((from, Bound::Unbounded))
            .filter(|(topic, _)| filter.matches(topic));
        Ok(topics
            .take(limit)
            .map(|(topic, state)| (topic.clone(), state.newest))
            .collect())
    }

    async fn remove(&self, what: &Removal) -> Result<RemovalStep> {
        Ok(self.log().remove(what))
    }

    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        let mut log = self.log();
        // What has just come is not old, even if the caller's clock is behind.
        let counted_ms = counted_ms.max(log.newest.counted_ms);
        let trimmed = log.trim_events(&retention, counted_ms);
        let oldest_id_ms = retention.oldest_id_ms(counted_ms);
        log.forget_ids(oldest_id_ms);

        // One step may not be enough; the caller comes again while there is more.
        Ok(TrimStep {
            trimmed,
            more: log.is_due(&retention, counted_ms) || log.has_expired_ids(oldest_id_ms),
        })
    }
}

pub(super) fn too_many_ids() -> Error {
    let bound = limits::MAX_DEDUPE_IDS;
    let detail = format!(
        "{bound} event ids are being remembered already; publish without id, or shorten \
         retention.dedupe_window"
    );
    Error::new(ErrorKind::Busy, detail)
}
