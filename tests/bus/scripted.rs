//! A log that others append to as well, and whose tail says what the test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use vidette::cursor::{Epoch, Vid};
use vidette::engine::{
    Appended, BatchBounds, Bounds, Engine, LogState, Moment, Page, ReadRequest, Receipt, Retention,
    Sizes, Tail, TailStep, TrimStep,
};
use vidette::error::{Error, ErrorKind, Result};
use vidette::event::{Event, NewEvent};
use vidette::lineage::Lineage;
use vidette::topic::{Filter, Topic};

use crate::{bus_on, event};
use vidette::bus::Bus;

/// The log and the hands that move it.
#[derive(Clone)]
pub(crate) struct ScriptedEngine(Arc<Script>);

struct Script {
    log: Mutex<Log>,
    tail: mpsc::UnboundedSender<TailStep>,
    taken: Mutex<Option<mpsc::UnboundedReceiver<TailStep>>>,
    bounds: BatchBounds,
    /// Appends wait for a permit.
    gate: Semaphore,
}

struct Log {
    lineage: Lineage,
    events: BTreeMap<Vid, Arc<Event>>,
    first: Vid,
    last: Vid,
    /// Events up to this vid have been sent by the tail.
    sent: Vid,
    confirmed_last: Option<Result<Vid>>,
    /// Batches with an event of this topic are refused.
    refused: Option<&'static str>,
    reads: usize,
    /// So many reads get no further than where they begin.
    stalled_reads: usize,
    /// Events of each group that was appended.
    groups: Vec<usize>,
}

impl Log {
    fn new(epoch: &str, last: Vid) -> Self {
        Log {
            lineage: lineage(epoch),
            events: BTreeMap::new(),
            first: last + 1,
            last,
            sent: last,
            confirmed_last: None,
            refused: None,
            reads: 0,
            stalled_reads: 0,
            groups: Vec::new(),
        }
    }

    fn state(&self) -> LogState {
        LogState {
            lineage: self.lineage.clone(),
            bounds: Bounds {
                first: self.first,
                last: self.last,
            },
            sizes: Sizes::default(),
            live: true,
        }
    }

    /// Each event has the epoch that it was put into as its id.
    fn put(&mut self, vid: Vid, sent: NewEvent) {
        let sent = NewEvent {
            id: Some(self.lineage.epoch().as_str().into()),
            ..sent
        };
        if self.events.is_empty() {
            self.first = vid;
        }
        self.events
            .insert(vid, Arc::new(Event::new(vid, 1000, sent)));
        self.last = self.last.max(vid);
    }
}

pub(crate) fn lineage(epoch: &str) -> Lineage {
    Lineage::new(epoch.parse::<Epoch>().expect("an epoch"))
}

impl ScriptedEngine {
    /// An empty log of the epoch `firstlog`, whose newest vid is this.
    pub(crate) fn new(last: Vid) -> Self {
        Self::with_bounds(last, BatchBounds::default())
    }

    pub(crate) fn with_bounds(last: Vid, bounds: BatchBounds) -> Self {
        let (tail, taken) = mpsc::unbounded_channel();
        ScriptedEngine(Arc::new(Script {
            log: Mutex::new(Log::new("firstlog", last)),
            tail,
            taken: Mutex::new(Some(taken)),
            bounds,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }))
    }

    pub(crate) fn bus(&self) -> Bus {
        bus_on(Arc::new(self.clone()))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().expect("the log")
    }

    /// Others have appended events at these vids, which the tail has not sent yet.
    pub(crate) fn append_foreign(&self, vids: impl IntoIterator<Item = Vid>) {
        let mut log = self.log();
        for vid in vids {
            log.put(vid, event("door.1"));
        }
    }

    /// The tail says this.
    pub(crate) fn send(&self, step: TailStep) {
        self.0.tail.send(step).expect("the bus follows the tail");
    }

    /// The tail sends the next events up to this vid.
    pub(crate) fn send_through(&self, through: Vid) {
        let mut log = self.log();
        let next = log.events.range(log.sent + 1..);
        let next = next.take_while(|(vid, _)| **vid <= through);
        let events = next.map(|(_, event)| event.clone()).collect();
        log.sent = through;
        self.send(TailStep::Events { events, through });
    }

    /// Events below this vid are gone. The tail has not said so yet.
    pub(crate) fn drop_below(&self, first: Vid) {
        let mut log = self.log();
        log.first = first;
        log.events = log.events.split_off(&first);
    }

    /// Events below this vid are gone, and the tail says so.
    pub(crate) fn trim_below(&self, first: Vid) {
        self.drop_below(first);
        self.send(TailStep::Trimmed { first });
    }

    /// The log is replaced by one with events at these vids. The tail has not said so yet.
    pub(crate) fn replace(&self, epoch: &str, vids: impl IntoIterator<Item = Vid>) {
        let mut log = self.log();
        *log = Log::new(epoch, 0);
        for vid in vids {
            log.put(vid, event("door.1"));
        }
        log.sent = log.last;
    }

    /// The tail says that the log has been replaced.
    pub(crate) fn send_reset(&self) {
        let state = self.log().state();
        self.send(TailStep::Reset(state));
    }

    pub(crate) fn set_lineage(&self, lineage: Lineage) {
        self.log().lineage = lineage;
    }

    /// The next reads get no further than where they begin.
    pub(crate) fn stall_reads(&self, reads: usize) {
        self.log().stalled_reads = reads;
    }

    pub(crate) fn confirm(&self, last: Result<Vid>) {
        self.log().confirmed_last = Some(last);
    }

    pub(crate) fn refuse(&self, topic: &'static str) {
        self.log().refused = Some(topic);
    }

    /// Appends wait from now on.
    pub(crate) fn hold_appends(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_appends_through(&self) {
        self.0.gate.add_permits(1000);
    }

    /// The tail sends whatever is appended, until nothing has been for a while.
    pub(crate) async fn send_all_appends(&self) {
        for _ in 0..100 {
            let last = self.log().last;
            self.send_through(last);
            tokio::task::yield_now().await;
        }
    }

    /// Events of each group that was appended.
    pub(crate) fn groups(&self) -> Vec<usize> {
        self.log().groups.clone()
    }

    /// After a long break the tail goes on behind this vid.
    pub(crate) fn skip_through(&self, through: Vid) {
        self.log().sent = through;
        self.send(TailStep::Skipped { through });
    }

    /// How often events were read from the log.
    pub(crate) fn reads(&self) -> usize {
        self.log().reads
    }
}

struct ScriptedTail(mpsc::UnboundedReceiver<TailStep>);

#[async_trait]
impl Tail for ScriptedTail {
    async fn next(&mut self) -> TailStep {
        match self.0.recv().await {
            Some(step) => step,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Engine for ScriptedEngine {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn durability(&self) -> String {
        "as the test says".into()
    }

    fn state(&self) -> Arc<LogState> {
        Arc::new(self.log().state())
    }

    fn batch_bounds(&self) -> BatchBounds {
        self.0.bounds
    }

    fn take_tail(&self, _after: Vid) -> Option<Box<dyn Tail>> {
        let tail = self.0.taken.lock().expect("the tail").take();
        Some(Box::new(ScriptedTail(tail.expect("it is taken once"))))
    }

    async fn confirmed_last(&self) -> Result<Vid> {
        let log = self.log();
        log.confirmed_last.clone().unwrap_or(Ok(log.last))
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, _now: Moment) -> Result<Appended> {
        self.0.gate.acquire().await.expect("the gate").forget();
        let mut log = self.log();
        log.groups.push(batches.iter().map(Vec::len).sum());
        let refused = log.refused;
        let mut append = |batch: Vec<NewEvent>| {
            let is_refused = |event: &NewEvent| Some(event.topic.as_str()) == refused;
            if batch.iter().any(is_refused) {
                return Err(Error::new(ErrorKind::TooLarge, "as the test says"));
            }
            let receipts = batch.into_iter().map(|sent| {
                let vid = log.last + 1;
                log.put(vid, sent);
                Receipt {
                    vid,
                    duplicate: false,
                }
            });
            Ok(receipts.collect())
        };
        Ok(Appended {
            batches: batches.into_iter().map(&mut append).collect(),
            ..Appended::default()
        })
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        let mut log = self.log();
        log.reads += 1;
        if log.stalled_reads > 0 {
            log.stalled_reads -= 1;
            return Ok(Page {
                events: Vec::new(),
                through: request.after,
                first: log.first,
            });
        }
        let through = request.through.min(log.last);
        let mut events: Vec<_> = log
            .events
            .range(request.after + 1..=through.max(request.after + 1))
            .map(|(_, event)| event.clone())
            .filter(|event| event.vid <= through && request.filter.matches(&event.sent.topic))
            .collect();
        let is_cut = events.len() > request.budget.events;
        events.truncate(request.budget.events);
        Ok(Page {
            through: if is_cut {
                events[events.len() - 1].vid
            } else {
                through
            },
            events,
            first: log.first,
        })
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        self.read(request).await
    }

    async fn vid_before(&self, _time_ms: i64) -> Result<Vid> {
        Ok(self.log().first - 1)
    }

    async fn topics(&self, _: Filter, _: Option<Topic>, _: usize) -> Result<Vec<(Topic, Vid)>> {
        Ok(Vec::new())
    }

    async fn trim(&self, _: Retention, _: i64) -> Result<TrimStep> {
        Ok(TrimStep {
            trimmed: 0,
            more: false,
        })
    }
}
