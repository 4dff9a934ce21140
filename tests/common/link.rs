//! The way of one gateway to a [`super::shared_log::SharedLog`], with all that can happen on it:
//! events come late and in small parts, answers are late or lost, pages end early, batches fail.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use vidette::cursor::Vid;
use vidette::engine::{
    Appended, Engine, LogState, Moment, Page, ReadRequest, Receipt, Retention, Tail, TailStep,
    TrimStep,
};
use vidette::error::{Error, ErrorKind, Result};
use vidette::event::NewEvent;
use vidette::topic::{Filter, Topic};

use super::shared_log::{Core, at_once, is_hole};

/// How a link behaves. By default nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkSettings {
    /// Events come by the tail at most this much later.
    pub tail_delay: Duration,
    /// At most so many events come at once.
    pub tail_events: usize,
    /// Nothing comes by the tail at all.
    pub is_held: bool,
    /// Pages are read from a server that has not all events yet: they may end early, and empty.
    pub pages_end_early: bool,
    /// Pages come this much later.
    pub read_delay: Duration,
    /// Publishers are answered this much later.
    pub answer_delay: Duration,
    /// One in so many answers to a group is lost, though its batches were appended; 0 is none.
    pub lost_answers: usize,
    /// One in so many batches fails, and nothing of it is appended; 0 is none.
    pub failed_batches: usize,
    pub confirmation: Confirmation,
}

/// How the end of the log is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    AtOnce,
    After(Duration),
    Fails,
}

impl Default for LinkSettings {
    fn default() -> Self {
        LinkSettings {
            tail_delay: Duration::ZERO,
            tail_events: 1000,
            is_held: false,
            pages_end_early: false,
            read_delay: Duration::ZERO,
            answer_delay: Duration::ZERO,
            lost_answers: 0,
            failed_batches: 0,
            confirmation: Confirmation::AtOnce,
        }
    }
}

impl LinkSettings {
    /// What may happen at any time to a gateway that works.
    pub fn slow() -> Self {
        LinkSettings {
            tail_delay: Duration::from_millis(4),
            tail_events: 2000,
            pages_end_early: true,
            answer_delay: Duration::from_millis(2),
            confirmation: Confirmation::After(Duration::from_millis(3)),
            ..LinkSettings::default()
        }
    }
}

/// The way of one gateway to the log.
#[derive(Clone)]
pub struct Link {
    core: Arc<Core>,
    shared: Arc<LinkState>,
}

#[derive(Default)]
struct LinkState {
    settings: Mutex<LinkSettings>,
    /// What the tail says next of the end being known.
    live: Mutex<VecDeque<bool>>,
    /// The generation of the log whose state was asked for last.
    seen_generation: AtomicU64,
}

impl Link {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Link {
            core,
            shared: Arc::default(),
        }
    }

    pub fn settings(&self) -> LinkSettings {
        *self.lock()
    }

    /// From now on the link behaves so.
    pub fn set(&self, settings: LinkSettings) {
        *self.lock() = settings;
        self.core.changed();
    }

    /// Changes how the link behaves from now on.
    pub fn change(&self, change: impl FnOnce(&mut LinkSettings)) {
        change(&mut self.lock());
        self.core.changed();
    }

    /// The tail says that the end of the log is known, or has not been known for too long.
    pub fn set_live(&self, is_live: bool) {
        let mut live = self.shared.live.lock().expect("the queue");
        live.push_back(is_live);
        drop(live);
        self.core.changed();
    }

    fn lock(&self) -> MutexGuard<'_, LinkSettings> {
        self.shared.settings.lock().expect("the settings")
    }

    fn next_live(&self) -> Option<bool> {
        self.shared.live.lock().expect("the queue").pop_front()
    }
}

/// One in so many times.
fn happens(one_in: usize) -> bool {
    one_in > 0 && fastrand::usize(..one_in) == 0
}

/// Waits for some part of this time.
async fn wait_up_to(most: Duration) {
    if !most.is_zero() {
        sleep(most.mul_f64(fastrand::f64())).await;
    }
}

fn unreachable_log(what: &str) -> Error {
    Error::new(ErrorKind::Locked, format!("{what}, as the test wants it"))
}

/// The engine of a gateway on the shared log.
pub(super) struct SharedEngine {
    core: Arc<Core>,
    link: Link,
}

impl SharedEngine {
    pub(super) fn new(core: Arc<Core>, link: Link) -> Self {
        SharedEngine { core, link }
    }

    fn append_one(&self, batch: Vec<NewEvent>, now: Moment) -> Result<Vec<Receipt>> {
        if happens(self.link.settings().failed_batches) {
            return Err(unreachable_log("the batch failed"));
        }
        self.core.append(batch, now)
    }
}

#[async_trait]
impl Engine for SharedEngine {
    fn kind(&self) -> &'static str {
        "shared"
    }

    fn durability(&self) -> String {
        "survives every gateway of the test, not the test".into()
    }

    fn state(&self) -> Arc<LogState> {
        let log = self.core.log();
        self.link
            .shared
            .seen_generation
            .store(log.generation, Ordering::SeqCst);
        Arc::new(log.state())
    }

    fn take_tail(&self, after: Vid) -> Option<Box<dyn Tail>> {
        let generation = self.link.shared.seen_generation.load(Ordering::SeqCst);
        Some(Box::new(SharedTail {
            core: self.core.clone(),
            link: self.link.clone(),
            generation,
            position: after,
            first: 0,
        }))
    }

    async fn confirmed_last(&self) -> Result<Vid> {
        match self.link.settings().confirmation {
            Confirmation::AtOnce => {}
            Confirmation::After(delay) => sleep(delay).await,
            Confirmation::Fails => return Err(unreachable_log("nobody confirms the end")),
        }
        Ok(self.core.log().state().bounds.last)
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        let batches = batches.into_iter();
        let answers = batches.map(|batch| self.append_one(batch, now)).collect();
        let settings = self.link.settings();
        wait_up_to(settings.answer_delay).await;

        if happens(settings.lost_answers) {
            return Err(unreachable_log("the answer was lost"));
        }
        Ok(Appended {
            batches: answers, // the events come by the tail
            ..Appended::default()
        })
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        let settings = self.link.settings();
        wait_up_to(settings.read_delay).await;
        let mut request = request;
        if settings.pages_end_early && request.through > request.after + 1 && fastrand::bool() {
            request.through = fastrand::u64(request.after + 1..=request.through);
        }
        let page = self.core.log().read(request);
        wait_up_to(settings.read_delay).await;
        page
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        wait_up_to(self.link.settings().read_delay).await;
        self.core.log().read_newest(request)
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        at_once(self.core.log().engine().vid_before(time_ms))
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        // One more than asked for, in case a vid without an event is among them.
        let mut topics = at_once(self.core.log().engine().topics(filter, after, limit + 1))?;
        topics.retain(|(topic, _)| !is_hole(topic.as_str()));
        topics.truncate(limit);
        Ok(topics)
    }

    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.core.trim(retention, counted_ms)
    }
}

/// The end of the log as it comes by one link.
struct SharedTail {
    core: Arc<Core>,
    link: Link,
    generation: u64,
    position: Vid,
    /// Of the last step that said so.
    first: Vid,
}

impl SharedTail {
    /// What there is to say now.
    fn look(&mut self) -> Option<TailStep> {
        let log = self.core.log();
        let state = log.state();
        if log.generation != self.generation {
            self.generation = log.generation;
            self.position = state.bounds.last;
            self.first = state.bounds.first;
            return Some(TailStep::Reset(state));
        }
        if let Some(is_live) = self.link.next_live() {
            return Some(TailStep::Live(is_live));
        }
        let settings = self.link.settings();
        if settings.is_held {
            return None;
        }

        if state.bounds.first > self.first {
            self.first = state.bounds.first;
            return Some(TailStep::Trimmed { first: self.first });
        }
        if self.position >= state.bounds.last {
            return None;
        }
        let page = log.after(self.position, fastrand::usize(1..=settings.tail_events));
        self.position = page.through;
        Some(TailStep::Events {
            events: page.events,
            through: page.through,
        })
    }
}

#[async_trait]
impl Tail for SharedTail {
    async fn next(&mut self) -> TailStep {
        let mut changes = self.core.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(step) = self.look() {
                // Late: the log may have changed by the time the step arrives.
                wait_up_to(self.link.settings().tail_delay).await;
                return step;
            }
            let _ = changes.changed().await;
        }
    }
}
