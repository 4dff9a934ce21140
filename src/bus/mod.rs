//! Who is told, and when?
//!
//! Publish → sequencer → engine → tail → subscription. Invariants:
//! - an event is visible only after the engine has made it durable;
//! - the tail moves in one place, [`Bus::show`], after the ring and the marks of those events are
//!   in place;
//! - nothing here knows a transport.

mod batch;
mod capacity;
mod catch_up;
mod clock;
mod closing;
mod cold;
mod group;
mod heartbeat;
mod interest;
mod members;
mod pressure;
mod retention;
mod ring;
mod sequencer;
mod slot;
mod start;
mod step;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::cursor::{Cursor, Vid};
use crate::engine::{Bounds, Engine, Moment, Retention};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::memory::MemoryBudget;
use crate::metrics::{Gauges, Metrics};
use batch::{Place, SharedPage, SharedPages};
use catch_up::CatchUp;
use clock::Clock;
use cold::ColdBlocks;
use group::Group;
use heartbeat::Heartbeat;
use interest::Interest;
use ring::Ring;
use sequencer::Sequencer;

pub(crate) use crate::engine::{Page, PageBudget, ReadRequest, Receipt};
pub use batch::Batch;
pub use clock::{MachineTime, TimeSource};
pub use closing::{Closing, ClosingReason};
pub use sequencer::{PublishStream, Publishing};
pub use step::{OnGap, Step, SubscribeRequest};
pub use subscription::Subscription;

/// What of the bus can be configured.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// A subscription yields something at least this often.
    pub heartbeat: Duration,
    /// Subscriptions open at once.
    pub max_subscribers: usize,
    /// An event's data in bytes.
    pub max_event_bytes: usize,
    /// When events leave the log.
    pub retention: Retention,
}

/// One totally ordered log of events and everybody who reads it. Clones share it.
#[derive(Clone)]
pub struct Bus(Arc<Shared>);

struct Shared {
    engine: Arc<dyn Engine>,
    options: BusOptions,
    memory: MemoryBudget,
    metrics: Metrics,
    clock: Clock,
    ring: Ring,
    cold: ColdBlocks,
    pages_in_common: SharedPages,
    catch_up: CatchUp,
    interest: Arc<Interest>,
    heartbeat: Heartbeat,
    /// The newest visible vid. Stored after ring and marks, loaded before them.
    tail: AtomicU64,
    /// The same, for the few who wait for a certain vid.
    tail_watch: watch::Sender<Vid>,
    closing: AtomicBool,
    /// The same, for those who wait for it.
    closed: Semaphore,
    subscriber_permits: Arc<Semaphore>,
    sequencer: Sequencer,
}

impl Bus {
    /// Starts a bus on a log, with the memory budget of this machine.
    pub fn start(engine: Arc<dyn Engine>, options: BusOptions) -> Self {
        Self::assemble(
            engine,
            options,
            MemoryBudget::default(),
            Box::new(MachineTime),
        )
    }

    /// The same with another source of time.
    pub fn start_with_time(
        engine: Arc<dyn Engine>,
        options: BusOptions,
        time: Box<dyn TimeSource>,
    ) -> Self {
        Self::assemble(engine, options, MemoryBudget::default(), time)
    }

    /// The same, and what publishers and readers make it hold is paid from `memory`.
    pub fn start_within(
        engine: Arc<dyn Engine>,
        options: BusOptions,
        memory: MemoryBudget,
    ) -> Self {
        Self::assemble(engine, options, memory, Box::new(MachineTime))
    }

    /// Its retention and its heartbeat run as tasks until the bus is dropped.
    fn assemble(
        engine: Arc<dyn Engine>,
        options: BusOptions,
        memory: MemoryBudget,
        time: Box<dyn TimeSource>,
    ) -> Self {
        let last = engine.bounds().last;
        let bus = Bus(Arc::new(Shared {
            clock: Clock::start(time, engine.newest_moment()),
            ring: Ring::new(last),
            cold: ColdBlocks::new(),
            pages_in_common: SharedPages::new(),
            catch_up: CatchUp::new(),
            heartbeat: Heartbeat::default(),
            interest: Arc::new(Interest::new(last)),
            tail: AtomicU64::new(last),
            tail_watch: watch::Sender::new(last),
            closing: AtomicBool::new(false),
            closed: Semaphore::new(0),
            subscriber_permits: Arc::new(Semaphore::new(options.max_subscribers)),
            sequencer: Sequencer::new(),
            metrics: Metrics::default(),
            engine,
            options,
            memory,
        }));
        // These tasks hold the bus weakly, so that it ends when its last user has gone.
        tokio::spawn(retention::run(Arc::downgrade(&bus.0)));
        tokio::spawn(heartbeat::run(
            Arc::downgrade(&bus.0),
            bus.options().heartbeat,
        ));
        bus
    }

    /// The engine that keeps the log.
    pub fn engine(&self) -> &dyn Engine {
        &*self.0.engine
    }

    /// What was configured.
    pub fn options(&self) -> &BusOptions {
        &self.0.options
    }

    /// What publishers and readers may make the gateway hold.
    pub fn memory(&self) -> &MemoryBudget {
        &self.0.memory
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The oldest retained and the newest visible vid.
    pub fn bounds(&self) -> Bounds {
        // The tail first: events may be trimmed meanwhile, but never become invisible.
        let last = self.tail();
        Bounds {
            first: self.0.engine.bounds().first.min(last + 1),
            last,
        }
    }

    /// The present values for `/metrics`.
    pub fn gauges(&self) -> Gauges {
        let (bounds, sizes) = (self.bounds(), self.0.engine.sizes());
        Gauges {
            first: bounds.first,
            last: bounds.last,
            events: sizes.events,
            bytes: sizes.bytes,
            subscribers: self.subscribers() as u64,
            wal_bytes: self.0.engine.wal_bytes(),
            is_ready: self.writable().is_ok(),
        }
    }

    /// Subscriptions open now.
    pub fn subscribers(&self) -> usize {
        self.0.interest.subscribers()
    }

    /// The full cursor of a vid of this log.
    pub fn cursor(&self, vid: Vid) -> Cursor {
        Cursor {
            vid,
            epoch: Some(self.0.engine.epoch().clone()),
        }
    }

    /// What time it is on this log; see the contract for what a wrong wall clock does.
    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// Ends all subscriptions with `closing` and refuses new ones, and new publishes.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.closed.close();
        self.0.interest.everybody.wake_at_once();
        self.0.tail_watch.send_modify(|_| ()); // wakes those who wait for a vid
    }

    /// Is the bus shutting down?
    pub fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::SeqCst)
    }

    /// Ready once the bus is shutting down.
    pub async fn closed(&self) {
        // The semaphore has no permits: this ends only when it is closed.
        let _ = self.0.closed.acquire().await;
    }

    /// Can events be published? The reason where not.
    pub fn writable(&self) -> Result<()> {
        if self.is_closing() {
            Err(Error::closing())
        } else {
            self.0.engine.writable()
        }
    }

    fn tail(&self) -> Vid {
        self.0.tail.load(Ordering::Acquire)
    }

    /// A page that is in memory: one that others at the same place have read, or of the ring.
    fn page_at_hand(&self, request: &ReadRequest, place: Option<Place>) -> Option<SharedPage> {
        if let Some(page) = place.and_then(|place| self.0.pages_in_common.get(place)) {
            return Some(page);
        }
        let page = self.0.ring.read(request)?.into();
        self.share(place, &page);
        Some(page)
    }

    /// A page from the engine, for a reader that is further back than the ring reaches.
    async fn page_from_log(
        &self,
        request: ReadRequest,
        place: Option<Place>,
    ) -> Result<SharedPage> {
        self.0.metrics.cold_reads.inc();
        let page = self.0.cold.read(&self.0.engine, request).await?.into();
        self.share(place, &page);
        Ok(page)
    }

    fn share(&self, place: Option<Place>, page: &SharedPage) {
        if let Some(place) = place {
            self.0.pages_in_common.put(place, page);
        }
    }

    /// Waits until the tail has come to this vid, at most so long. False when it has not.
    async fn wait_for(&self, vid: Vid, at_most: Duration) -> bool {
        let mut tail = self.0.tail_watch.subscribe();
        let reached = tail.wait_for(|tail| *tail >= vid || self.is_closing());
        let _ = tokio::time::timeout(at_most, reached).await;
        self.tail() >= vid
    }

    fn subscriber_permit(&self) -> Result<OwnedSemaphorePermit> {
        self.0.subscriber_permits.clone().try_acquire_owned().map_err(|_| {
            let bound = self.0.options.max_subscribers;
            Error::new(ErrorKind::Busy, format!("{bound} subscriptions are open, which is the bound (limits.max_subscribers); try again later or elsewhere"))
        })
    }

    /// Reads a page of the log, whether or not its events are in memory.
    pub(crate) async fn read_page(&self, request: ReadRequest) -> Result<Page> {
        self.0.engine.read(request).await
    }

    /// The vid after which reading yields all retained events of this time or later.
    pub(crate) async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        self.0.engine.vid_before(time_ms).await
    }
}

impl Shared {
    /// Makes durable events visible, and wakes those who wait for them. Only the sequencer calls
    /// this.
    fn show(&self, events: &[Arc<Event>]) {
        let Some(newest) = events.last() else { return };
        let before = self.tail.load(Ordering::Relaxed);
        assert!(
            events[0].vid > before,
            "the tail cannot fall back: {} after {before}",
            events[0].vid
        );
        self.ring.push(events);
        let to_tell = self.interest.mark(events);
        self.tail.store(newest.vid, Ordering::Release);
        self.tail_watch.send_replace(newest.vid);
        to_tell.into_iter().for_each(Group::tell);
    }
}
