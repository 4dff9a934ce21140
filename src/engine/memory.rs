//! A log in memory, for tests and throw-away runs.
//!
//! Invariants:
//! - a restart begins a new log with a new epoch;
//! - `events` is in vid order, and `topics` has exactly the topics of `events`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Appended, Bounds, Engine, LogState, Moment, Page, ReadRequest, Receipt, Retention, Sizes,
    TrimStep, millis,
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
        self.events.front().map_or(self.last + 1, |e| e.vid)
    }

    /// The index of the first event after this vid.
    fn index_after(&self, vid: Vid) -> usize {
        self.events.partition_point(|e| e.vid <= vid)
    }

    fn append_one(
        &mut self,
        sent: NewEvent,
        now: Moment,
        remembered_since_ms: i64,
    ) -> (Receipt, Option<Arc<Event>>) {
        if let Some(id) = &sent.id
            && let Some(&(vid, time_ms)) = self.ids.get(id)
            && time_ms >= remembered_since_ms
        {
            return (
                Receipt {
                    vid,
                    duplicate: true,
                },
                None,
            );
        }
        self.last += 1;
        let vid = self.last;
        if let Some(id) = &sent.id {
            self.ids.insert(id.clone(), (vid, now.counted_ms));
            self.id_order.push_back((now.counted_ms, vid, id.clone()));
        }
        let topic = self.topics.entry(sent.topic.clone()).or_insert(TopicState {
            newest: vid,
            retained: 0,
        });
        topic.newest = vid;
        topic.retained += 1;
        let event = Arc::new(Event::new(vid, now.time_ms, sent));
        self.bytes += event.size_bytes() as u64;
        self.events.push_back(event.clone());
        self.came_at_ms.push_back(now.counted_ms);
        self.newest = now;
        (
            Receipt {
                vid,
                duplicate: false,
            },
            Some(event),
        )
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
        let log = self.log();
        Arc::new(LogState {
            lineage: self.lineage.clone(),
            bounds: Bounds {
                first: log.first(),
                last: log.last,
            },
            sizes: Sizes {
                events: log.events.len() as u64,
                bytes: log.bytes,
            },
            live: true,
        })
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        let mut log = self.log();
        let now = now.max(log.newest);
        let remembered_since_ms = now.counted_ms.saturating_sub(millis(self.dedupe_window));
        log.forget_ids(remembered_since_ms);
        let ids = batches.iter().flatten().filter(|e| e.id.is_some()).count() as u64;
        if log.ids.len() as u64 + ids > limits::MAX_DEDUPE_IDS {
            return Err(too_many_ids());
        }
        let mut events = Vec::new();
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            let placed = batch.into_iter().map(|sent| {
                let (receipt, event) = log.append_one(sent, now, remembered_since_ms);
                events.extend(event);
                receipt
            });
            answers.push(Ok(placed.collect()));
        }
        Ok(Appended {
            events,
            batches: answers,
        })
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        Ok(self
            .log()
            .read(&request, |event| request.filter.matches(&event.sent.topic)))
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        let log = self.log();
        let is_newest = |event: &Event| {
            log.topics
                .get(&event.sent.topic)
                .is_some_and(|t| t.newest == event.vid)
        };
        Ok(log.read(&request, |event| {
            is_newest(event) && request.filter.matches(&event.sent.topic)
        }))
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        let log = self.log();
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

    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        let mut log = self.log();
        let counted_ms = counted_ms.max(log.newest.counted_ms);
        let (mut trimmed, bytes_before) = (0, log.bytes);
        while trimmed < limits::TRIM_STEP_EVENTS && log.is_due(&retention, counted_ms) {
            let oldest = log.events.front().map_or(0, |e| e.size_bytes() as u64);
            if trimmed > 0 && bytes_before - log.bytes + oldest > limits::TRIM_STEP_BYTES {
                break;
            }
            log.drop_oldest();
            trimmed += 1;
        }
        let oldest_id_ms = retention.oldest_id_ms(counted_ms);
        log.forget_ids(oldest_id_ms);
        Ok(TrimStep {
            trimmed,
            more: log.is_due(&retention, counted_ms) || log.has_expired_ids(oldest_id_ms),
        })
    }
}

pub(super) fn too_many_ids() -> Error {
    let bound = limits::MAX_DEDUPE_IDS;
    Error::new(
        ErrorKind::Busy,
        format!(
            "{bound} event ids are being remembered already; publish without id, or shorten retention.dedupe_window"
        ),
    )
}
