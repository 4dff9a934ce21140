//! Event fan-out: which subscribers are notified, and when.
//!
//! Publish → sequencer → engine → tail → subscription. Invariants:
//! - an event is visible only after the engine has made it durable;
//! - the tail moves only after ring, pages and marks are in place (see [`visible`]);
//! - every call that reads or publishes for somebody takes a [`Caller`];
//! - nothing here knows a transport, and nobody else sees the engine.

mod batch;
mod capacity;
mod catch_up;
mod clock;
mod closing;
mod commit;
mod commit_watch;
mod credentials;
mod drain;
mod group;
mod heartbeat;
mod interest;
mod load;
mod log_view;
mod members;
mod pages;
mod read_only;
mod readers;
mod removal;
mod retention;
mod rounds;
mod sequencer;
mod step;
mod subscription;
mod tail;
mod visible;
mod waiter;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::caller::Caller;
use crate::cursor::{Cursor, Epoch, Vid};
use crate::engine::{BatchBounds, Bounds, Engine, Moment, Retention, Sizes, Tail};
use crate::error::{Error, Result};
use crate::limits;
use crate::memory::MemoryBudget;
use crate::metrics::{Gauges, Metrics};
use crate::quota::Quotas;
use crate::topic::{Filter, Topic};
use catch_up::CatchUpLimiter;
use clock::Clock;
use drain::{DrainState, Stage};
use heartbeat::Heartbeat;
use interest::Interest;
use load::LoadMeter;
use log_view::CurrentLog;
use pages::Pages;
use sequencer::Sequencer;
use subscription::Places;

pub(crate) use crate::engine::{Page, PageBudget, ReadRequest, Receipt, SourceLease};
pub use batch::Batch;
pub(crate) use batch::Standing;
pub use clock::{MachineTime, SettableTime, TimeSource};
pub use closing::{Closing, ClosingReason};
pub use commit_watch::NewBatch;
pub(crate) use commit_watch::{CommitTimes, CommitWatch};
pub use log_view::LogView;
pub(crate) use readers::{ReadBy, ReaderConnection, ReaderInfo};
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
    /// Where tasks are spawned by a thread that is not of a runtime.
    runtime: Handle,
    /// What each client has taken.
    quotas: Quotas,
    clock: Clock,
    /// How much one atomic batch may hold.
    batch_bounds: BatchBounds,
    log: CurrentLog,
    pages: Pages,
    catch_up: CatchUpLimiter,
    load: Arc<LoadMeter>,
    interest: Arc<Interest>,
    heartbeat: Heartbeat,
    /// The newest visible vid. Stored after ring and marks, loaded before them.
    tail: AtomicU64,
    /// The same, for the few who wait for a certain vid.
    tail_watch: watch::Sender<Vid>,
    drain: DrainState,
    /// An operator has switched publishing off.
    is_read_only: AtomicBool,
    /// One removal at a time.
    removing: Mutex<()>,
    places: Places,
    /// Credentials are to be looked at again.
    rechecks: watch::Sender<()>,
    sequencer: Sequencer,
    /// Makes visible what comes to a log that others append to as well; unset where nobody does.
    tail_task: OnceLock<AbortOnDropHandle<()>>,
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

    /// The tail, retention and the heartbeat are followed by tasks until the bus is dropped.
    fn assemble(
        engine: Arc<dyn Engine>,
        mut options: BusOptions,
        memory: MemoryBudget,
        time: Box<dyn TimeSource>,
    ) -> Self {
        // What the log cannot take is refused before it is read whole.
        let batch_bounds = engine.batch_bounds();
        options.max_event_bytes = options.max_event_bytes.min(batch_bounds.event_bytes);

        // The tail goes on where this state ends, so nothing is missed between them.
        let state = engine.state();
        let last = state.bounds.last;
        let tail = engine.take_tail(last);
        let metrics = Metrics::with_refusals(memory.refusals().clone());
        if let Some(durations) = engine.sync_durations() {
            metrics.publishing.show_syncs(durations);
        }
        let bus = Bus(Arc::new(Shared {
            batch_bounds,
            clock: Clock::start(time, engine.newest_moment()),
            log: CurrentLog::new(&state),
            pages: Pages::new(engine.clone(), last, tail.is_some()),
            catch_up: CatchUpLimiter::new(),
            load: Arc::default(),
            heartbeat: Heartbeat::new(options.heartbeat),
            interest: Arc::new(Interest::new(last)),
            tail: AtomicU64::new(last),
            tail_watch: watch::Sender::new(last),
            tail_task: OnceLock::new(),
            drain: DrainState::default(),
            is_read_only: AtomicBool::new(false),
            removing: Mutex::default(),
            places: Places::default(),
            rechecks: watch::Sender::new(()),
            sequencer: Sequencer::new(),
            quotas: Quotas::new(metrics.refusals.clone()),
            metrics,
            runtime: Handle::current(),
            engine,
            options,
            memory,
        }));

        bus.spawn_tasks(tail);
        bus
    }

    /// These tasks hold the bus weakly, so that it ends with its last user.
    fn spawn_tasks(&self, tail: Option<Box<dyn Tail>>) {
        let weak = || Arc::downgrade(&self.0);
        // This one waits for the tail, not for a clock: it is ended by dropping its handle.
        if let Some(tail) = tail {
            let task = tokio::spawn(tail::run(weak(), tail));
            let _ = self.0.tail_task.set(AbortOnDropHandle::new(task));
        }
        tokio::spawn(retention::run(weak()));
        tokio::spawn(heartbeat::run(weak(), self.options().heartbeat));
        let rechecks = self.0.rechecks.subscribe();
        tokio::spawn(credentials::run(weak(), rechecks));
    }

    /// The kind of the engine that keeps the log, as configured.
    pub fn engine_kind(&self) -> &'static str {
        self.0.engine.kind()
    }

    /// What an acknowledged event survives, for a person to read.
    pub fn durability(&self) -> String {
        self.0.engine.durability()
    }

    /// How much the log holds.
    pub fn sizes(&self) -> Sizes {
        self.0.engine.state().sizes
    }

    /// The engine, for tests that look at the log behind the bus.
    #[doc(hidden)]
    pub fn engine_for_tests(&self) -> &dyn Engine {
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

    /// What each client has taken, of what it may.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    /// The oldest retained and the newest visible vid.
    pub fn bounds(&self) -> Bounds {
        self.0.snapshot().bounds
    }

    /// The log that is served now, with its bounds as of the same moment.
    pub fn log_and_bounds(&self) -> (Arc<LogView>, Bounds) {
        let now = self.0.snapshot();
        (now.log, now.bounds)
    }

    /// The bounds of this log. Of one that has been replaced nothing is known but this position of
    /// a reader, behind which nothing is retained.
    pub fn bounds_of(&self, log: &LogView, position: Vid) -> Bounds {
        let now = self.0.snapshot();
        if now.log.generation == log.generation {
            return now.bounds;
        }
        Bounds {
            first: position + 1,
            last: position,
        }
    }

    /// The present values for `/metrics`.
    pub fn gauges(&self) -> Gauges {
        // Each for itself: they are shown, and nobody resumes from them.
        let (bounds, sizes) = (self.bounds(), self.sizes());
        Gauges {
            first: bounds.first,
            last: bounds.last,
            events: sizes.events,
            bytes: sizes.bytes,
            most_subscribers: self.options().max_subscribers as u64,
            wake_ups: self.0.load.woken(),
            wal_bytes: self.0.engine.wal_bytes(),
            skipped_messages: self.0.engine.skipped_messages(),
            is_ready: self.ready().is_ok(),
            is_writable: self.0.engine.writable().is_ok(),
            engine: self.engine_kind(),
        }
    }

    /// Subscriptions open now.
    pub fn subscribers(&self) -> usize {
        self.0.interest.subscribers()
    }

    /// The full cursor of a vid of this log.
    pub fn cursor(&self, vid: Vid) -> Cursor {
        self.0.log.view().cursor(vid)
    }

    /// The log that is served now.
    pub fn log(&self) -> Arc<LogView> {
        self.0.log.view()
    }

    /// The current epoch of the log.
    pub fn epoch(&self) -> Epoch {
        self.0.log.view().epoch().clone()
    }

    /// What time it is on this log; see the contract for what a wrong wall clock does.
    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// Is this gateway one to come to? The reason where not: it is about to end, or events cannot
    /// be published.
    pub fn ready(&self) -> Result<()> {
        if self.0.has_come_to(Stage::Leaving) {
            return Err(Error::closing());
        }
        self.0.check_serving()?;
        self.0.engine.writable()
    }

    /// See [`Engine::source_lease`].
    pub(crate) fn source_lease(&self) -> Option<Arc<SourceLease>> {
        self.0.engine.source_lease()
    }

    /// Waits until all that is on the log by now is visible here, whoever has appended it.
    ///
    /// # Errors
    /// That takes longer than `at_most`.
    pub(crate) async fn catch_up_with_log(&self, at_most: Duration) -> Result<()> {
        let caught_up = async {
            loop {
                // Where it cannot be confirmed now, it is asked for again.
                let confirmed = self.0.engine.confirmed_last().await;
                if let Ok(last) = confirmed
                    && self.0.wait_for(last, limits::VISIBLE_WAIT).await
                {
                    return;
                }
                sleep(limits::SOURCE_CATCH_UP_INTERVAL).await;
            }
        };
        let in_time = timeout(at_most, caught_up).await;
        in_time.map_err(|_| Error::behind())
    }

    /// Topics that match and that the caller may read, after this one, in byte order, with their
    /// newest vid.
    ///
    /// # Errors
    /// As [`Caller::grant_read`], or an error of the engine.
    pub async fn topics(
        &self,
        caller: &Caller,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        let filter = caller.grant_read(&filter)?.filter;
        self.0.engine.topics(filter, after, limit).await
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
