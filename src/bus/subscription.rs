//! A cursor and a filter that are read to the end, and beyond it as events come.
//!
//! The one place for waiting, paging, gaps and progress; a transport only shows what
//! [`Subscription::next`] yields.
//!
//! Invariants:
//! - steps come in the order of the log; a position is reported only after every matching event up to
//!   it;
//! - `next` may be dropped while it waits, and called again: nothing is lost by that;
//! - the subscription is registered before it reads, and takes the tail before it reads, so no
//!   wake-up is missed;
//! - a position belongs to the log that the subscription is on: what was read of another one after a
//!   reset moves nothing.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Bus;
use super::batch::Batch;
use super::closing::Closing;
use super::interest::Registration;
use super::log_view::LogView;
use super::pages::{PageRequest, SharedPage};
use super::phase::{Opening, Phase};
use super::pressure::is_over;
use super::start::{StartPosition, find_start};
use super::step::{OnGap, Step, SubscribeRequest};
use crate::caller::Caller;
use crate::cursor::{Gap, GapReason, Vid};
use crate::engine::{PageBudget, ReadRequest};
use crate::error::{Error, Result};
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind};

/// An open subscription.
pub struct Subscription {
    pub(super) bus: Bus,
    /// The log that its position belongs to.
    log: Arc<LogView>,
    on_gap: OnGap,
    phase: Phase,
    /// Everything that matches up to here has been yielded.
    position: Vid,
    /// Events that may still be yielded.
    left: Option<u32>,
    registration: Registration,
    _permit: OwnedSemaphorePermit,
}

/// What a look at the pages in memory brought.
enum Cached {
    /// The position has moved as far as it could; none where nothing matched.
    Read(Option<Step>),
    /// The page is not in memory, or there is more than it holds.
    Miss,
}

impl Subscription {
    /// Opens a subscription. A cursor from the future is waited for, up to
    /// [`crate::limits::AHEAD_WAIT`].
    ///
    /// # Errors
    /// Forbidden, closing, behind, busy (too many subscriptions, or topics of all of them), out of
    /// memory, or a gap when the request says so.
    pub async fn open(bus: &Bus, caller: &Caller, request: SubscribeRequest) -> Result<Self> {
        caller.check_read(&request.filter)?;
        bus.0.check_serving()?;
        bus.memory().check(MemoryKind::Page)?;
        let permit = bus.subscriber_permit()?;

        let start = find_start(bus, &request.start).await?;
        if let Some(gap) = &start.gap {
            bus.metrics().gaps.inc();
            if request.on_gap == OnGap::Fail {
                return Err(Error::gap(gap.clone()));
            }
        }
        Self::register(bus, request, start, permit)
    }

    fn register(
        bus: &Bus,
        request: SubscribeRequest,
        start: StartPosition,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self> {
        let now_ticks = bus.0.heartbeat.now_ticks();
        let registration = bus.0.interest.register(&request.filter, now_ticks)?;
        bus.metrics().subscriptions.inc();
        Ok(Subscription {
            bus: bus.clone(),
            log: start.log,
            on_gap: request.on_gap,
            phase: Phase::opening(start.gap, start.reading),
            position: start.position,
            left: request.limit,
            registration,
            _permit: permit,
        })
    }

    /// Says that this subscription is one of many on a connection, so that it is woken together
    /// with more others.
    pub fn share_connection(&self) {
        self.registration.slot.make_light();
    }

    /// The next step, or none when the subscription has ended.
    ///
    /// # Errors
    /// A gap when the request says so, or an error of the engine.
    pub async fn next(&mut self) -> Result<Option<Step>> {
        match self.phase.next_opening() {
            Opening::Hello => return Ok(Some(hello(&self.bus))),
            Opening::Gap(gap) => return Ok(Some(Step::Gap(*gap))),
            Opening::Done => {}
        }
        if self.phase.has_ended() || self.left == Some(0) {
            return Ok(None);
        }
        let step = self.find_step().await;
        if matches!(step, Err(_) | Ok(Step::Closing(_))) {
            self.phase.end();
        }
        let now_ticks = self.bus.0.heartbeat.now_ticks();
        self.registration.slot.stepped(now_ticks);
        step.map(Some)
    }

    /// The budget that pages are paid from.
    pub fn memory(&self) -> &MemoryBudget {
        self.bus.memory()
    }

    /// Everything that matches up to this vid has been yielded.
    pub fn position(&self) -> Vid {
        self.position
    }

    /// The log that this subscription reads: after a reset another one than the bus serves, until the
    /// gap has been yielded.
    pub fn log(&self) -> &LogView {
        &self.log
    }

    /// Is there no event that matches and has not been yielded? Then the position is the live end,
    /// also when the last event that matched lies before it. Others may have come since the last
    /// step.
    pub fn reach_end(&mut self) -> bool {
        // The tail first: what is marked behind it is not visible yet.
        let tail = self.bus.0.tail();
        let has_reached = !self.is_in_snapshot()
            && (self.position >= tail || self.next_match() > tail)
            && self.is_on_current_log();
        if has_reached {
            self.position = self.position.max(tail);
        }
        has_reached
    }

    /// Has the live end been reported, and nothing been missed since?
    pub fn is_live(&self) -> bool {
        self.phase.is_live()
    }

    /// Is only the newest event of each topic being yielded still?
    pub fn is_in_snapshot(&self) -> bool {
        self.phase.snapshot_through().is_some()
    }

    /// The next step, or none when the subscription has ended or was still waiting at the live end
    /// at that time. Until the live end has been reported the log is read without regard to time.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next_until(&mut self, until: Instant) -> Result<Option<Step>> {
        if self.is_live() {
            timeout_at(until, self.next()).await.unwrap_or(Ok(None))
        } else {
            self.next().await
        }
    }

    async fn find_step(&mut self) -> Result<Step> {
        loop {
            // Before anything is looked at, so that whatever happens from here on wakes it again.
            self.registration.slot.rearm();
            if let Some(reason) = self.bus.0.ending() {
                return Ok(Step::Closing(Closing::because(reason)));
            }
            if !self.is_on_current_log() {
                return self.go_to_current_log();
            }

            if let Some(step) = self.read_on().await? {
                return Ok(step);
            }
            if self.bus.0.heartbeat.is_due(&self.registration.slot) {
                return Ok(Step::Progress(self.position));
            }
            if !self.reach_end() {
                // A long log without a match is read page by page; others are let through in
                // between.
                tokio::task::consume_budget().await;
                continue;
            }
            if self.phase.reach_live() {
                return Ok(Step::CaughtUp(self.position));
            }
            self.registration.slot.woken().await;
        }
    }

    /// Has no reset replaced the log that the position belongs to? Asked after a read, it tells
    /// whether what was read is of that log.
    fn is_on_current_log(&self) -> bool {
        self.bus.0.log.generation() == self.log.generation
    }

    /// Goes on from the beginning of the log that has replaced the one it was on.
    fn go_to_current_log(&mut self) -> Result<Step> {
        let now = self.bus.0.snapshot();
        let gap = now.gap(GapReason::Reset, &self.log.cursor(self.position));
        self.position = now.bounds.first - 1;
        self.log = now.log;
        self.phase.begin_anew();
        self.report(gap)
    }

    /// Reads one page. None when nothing in it matched, or there was nothing to read.
    async fn read_on(&mut self) -> Result<Option<Step>> {
        match self.try_read_cached()? {
            Cached::Read(step) => Ok(step),
            // Boxed to keep the idle future small.
            Cached::Miss => Box::pin(self.read_when_there_is_memory()).await,
        }
    }

    /// Reads one page, if it is the last one before the live end and in memory, or if there is
    /// nothing to read.
    fn try_read_cached(&mut self) -> Result<Cached> {
        let tail = self.bus.0.tail();
        if self.is_in_snapshot() {
            return Ok(Cached::Miss);
        }
        let after = self.begin(tail);
        if after >= tail {
            self.skip_to(tail);
            return Ok(Cached::Read(None));
        }
        let request = self.request(after, tail, limits::PAGE_BYTES);
        let page = self.bus.0.pages.cached(&request);
        match page.filter(|page| page.through >= tail && self.has_memory_for(&page.batch)) {
            Some(page) => self.take(page, after, tail).map(Cached::Read),
            None => Ok(Cached::Miss),
        }
    }

    /// Reads any other page, of so many bytes at most if it has more than one event.
    pub(super) async fn read_page(&mut self, page_bytes: usize) -> Result<Option<Step>> {
        if let Some(through) = self.phase.snapshot_through() {
            return self.read_snapshot(through, page_bytes).await;
        }
        let tail = self.bus.0.tail();
        let after = self.begin(tail);
        let Some(page) = self
            .load(self.request(after, tail, page_bytes))
            .await?
            .filter(|page| !is_over(&page.batch, page_bytes))
        else {
            return Ok(None);
        };
        if page.through < tail {
            self.bus.0.catch_up.turn(&page.batch).await;
        }
        self.take(page, after, tail)
    }

    /// A page from memory or from the log. None when the engine reads another log already; then the
    /// reset has been waited for.
    async fn load(&self, request: PageRequest) -> Result<Option<SharedPage>> {
        let pages = &self.bus.0.pages;
        if let Some(page) = pages.cached(&request) {
            return Ok(Some(page));
        }
        self.bus.metrics().cold_reads.inc();
        let page = pages.load(request, &self.log).await?;
        if page.is_none() {
            self.bus.0.wait_for_reset(&self.log).await;
        }
        Ok(page)
    }

    /// What is before the next match was looked at when it was marked.
    fn begin(&self, tail: Vid) -> Vid {
        self.position.max(tail.min(self.next_match() - 1))
    }

    /// Moves the position to the visible end, with nothing to read before it.
    fn skip_to(&mut self, tail: Vid) {
        if self.is_on_current_log() {
            self.phase.has_read(true);
            self.position = self.position.max(tail);
        }
    }

    fn take(&mut self, page: SharedPage, after: Vid, tail: Vid) -> Result<Option<Step>> {
        if !self.is_on_current_log() {
            return Ok(None);
        }
        let kept_from = page.first.saturating_sub(1);
        if kept_from > after && !self.phase.is_from_earliest() {
            return self.expired(page.first).map(Some);
        }
        self.phase.has_read(page.through >= tail);
        self.position = page.through;
        Ok(self.events(page.batch))
    }

    async fn read_snapshot(&mut self, through: Vid, page_bytes: usize) -> Result<Option<Step>> {
        let request = self.request(self.position, through, page_bytes);
        let Some(page) = self
            .bus
            .0
            .pages
            .load_newest(request.read, &self.log)
            .await?
        else {
            self.bus.0.wait_for_reset(&self.log).await;
            return Ok(None);
        };
        let batch = Arc::new(page.events.into());
        if is_over(&batch, page_bytes) || !self.is_on_current_log() {
            return Ok(None);
        }
        self.position = page.through;
        if page.through >= through {
            self.phase.catch_up();
        }
        Ok(self.events(batch))
    }

    fn events(&mut self, events: Arc<Batch>) -> Option<Step> {
        if events.is_empty() {
            return None;
        }
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        self.left = self.left.map(|left| left.saturating_sub(count));
        self.bus.metrics().deliveries.inc_by(u64::from(count));
        Some(Step::Events(events, self.position))
    }

    /// Goes on from the oldest retained event.
    fn expired(&mut self, first: Vid) -> Result<Step> {
        let mut now = self.bus.0.snapshot();
        if now.log.generation != self.log.generation {
            return self.go_to_current_log();
        }
        // The engine may have trimmed more than its tail has reported.
        now.bounds.first = now.bounds.first.max(first.min(now.bounds.last + 1));
        let gap = now.gap(GapReason::Expired, &self.log.cursor(self.position));
        let step = self.report(gap)?;
        self.position = first - 1;
        self.phase.catch_up();
        Ok(step)
    }

    fn report(&self, gap: Gap) -> Result<Step> {
        self.bus.metrics().gaps.inc();
        if self.on_gap == OnGap::Fail {
            return Err(Error::gap(gap));
        }
        Ok(Step::Gap(gap))
    }

    fn request(&self, after: Vid, through: Vid, page_bytes: usize) -> PageRequest {
        let events = self.left.map_or(usize::MAX, |left| left as usize);
        let group = &self.registration.group;
        let read = ReadRequest {
            after,
            through,
            filter: group.filter.clone(),
            budget: PageBudget {
                bytes: page_bytes,
                ..PageBudget::of_events(events)
            },
        };
        // One alone has nobody to share a page with, and a page of so many events at most is its
        // reader's own.
        let is_shared = self.left.is_none() && group.crowd.len() > 1;
        let generation = self.log.generation;
        let key = is_shared.then(|| self.bus.0.pages.key(group, &read, generation));
        PageRequest {
            read,
            generation,
            key,
        }
    }

    fn next_match(&self) -> Vid {
        self.registration.group.next_match(self.position)
    }
}

fn hello(bus: &Bus) -> Step {
    let now = bus.0.snapshot();
    Step::Hello {
        epoch: now.log.epoch().clone(),
        first: now.bounds.first,
        last: now.bounds.last,
        heartbeat: bus.options().heartbeat,
    }
}
