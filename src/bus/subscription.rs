//! A cursor and a filter that are read to the end, and beyond it as events come.
//!
//! The one place for waiting, paging, gaps and progress; a transport only shows what
//! [`Subscription::next`] yields.
//!
//! Invariants:
//! - steps come in the order of the log; a position is told only after every matching event up to
//!   it;
//! - `next` may be dropped while it waits, and called again: nothing is lost by that;
//! - the subscription is registered before it reads, and takes the tail before it reads, so no
//!   wake-up is missed.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Bus;
use super::batch::{Batch, Place, SharedPage};
use super::closing::{Closing, ClosingReason};
use super::interest::Registration;
use super::pressure::is_over;
use super::start::{gap_at, place_of};
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
    on_gap: OnGap,
    opening: Opening,
    /// Everything that matches up to here has been yielded.
    position: Vid,
    /// Up to this vid only the newest event of each topic is wanted.
    snapshot_through: Option<Vid>,
    /// Nothing has been read yet and everything retained is wanted: trimming is no gap then.
    from_earliest: bool,
    /// The live end has been told and not been lost since.
    is_live: bool,
    has_ended: bool,
    /// Events that may still be yielded.
    left: Option<u32>,
    registration: Registration,
    _permit: OwnedSemaphorePermit,
}

/// What is told before anything is read.
enum Opening {
    Hello(Option<Box<Gap>>),
    Gap(Box<Gap>),
    Told,
}

impl Subscription {
    /// Opens a subscription. A cursor from the future is waited for, up to [`crate::limits::AHEAD_WAIT`].
    ///
    /// # Errors
    /// Forbidden, closing, busy (too many subscriptions, or topics of all of them), out of memory, or a gap when
    /// the request says so.
    pub async fn open(bus: &Bus, caller: &Caller, request: SubscribeRequest) -> Result<Self> {
        caller.check_read(&request.filter)?;
        if bus.is_closing() {
            return Err(Error::closing());
        }
        bus.memory().check(MemoryKind::Page)?;
        let permit = bus.subscriber_permit()?;
        let place = place_of(bus, &request.start).await?;
        if let Some(gap) = &place.gap {
            bus.metrics().gaps.inc();
            if request.on_gap == OnGap::Fail {
                return Err(Error::gap(gap.clone()));
            }
        }
        let registration = bus
            .0
            .interest
            .register(&request.filter, bus.0.heartbeat.now_ticks())?;
        bus.metrics().subscriptions.inc();
        Ok(Subscription {
            opening: Opening::Hello(place.gap.map(Box::new)),
            on_gap: request.on_gap,
            position: place.position,
            snapshot_through: place.snapshot_through,
            from_earliest: place.from_earliest,
            is_live: false,
            has_ended: false,
            left: request.limit,
            registration,
            bus: bus.clone(),
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
    /// A gap when the request says so, or a fault of the engine.
    pub async fn next(&mut self) -> Result<Option<Step>> {
        match std::mem::replace(&mut self.opening, Opening::Told) {
            Opening::Hello(gap) => {
                self.opening = gap.map_or(Opening::Told, Opening::Gap);
                return Ok(Some(hello(&self.bus)));
            }
            Opening::Gap(gap) => return Ok(Some(Step::Gap(*gap))),
            Opening::Told => {}
        }
        if self.has_ended || self.left == Some(0) {
            return Ok(None);
        }
        let step = self.find_step().await;
        self.has_ended = matches!(step, Err(_) | Ok(Step::Closing(_)));
        self.registration
            .slot
            .stepped(self.bus.0.heartbeat.now_ticks());
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

    /// Is there no event that matches and has not been yielded? Then the position is the live end,
    /// also when the last event that matched lies before it. Others may have come since the last
    /// step.
    pub fn reach_end(&mut self) -> bool {
        // The tail first: what is marked behind it is not visible yet.
        let tail = self.bus.tail();
        let has_reached =
            self.snapshot_through.is_none() && (self.position >= tail || self.next_match() > tail);
        if has_reached {
            self.position = self.position.max(tail);
        }
        has_reached
    }

    /// Has the live end been told, and nothing been missed since?
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Is only the newest event of each topic being yielded still?
    pub fn is_in_snapshot(&self) -> bool {
        self.snapshot_through.is_some()
    }

    /// The next step, or none when the subscription has ended or was still waiting at the live end
    /// at that time. Until the live end has been told the log is read without regard to time.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next_until(&mut self, until: Instant) -> Result<Option<Step>> {
        if self.is_live {
            timeout_at(until, self.next()).await.unwrap_or(Ok(None))
        } else {
            self.next().await
        }
    }

    async fn find_step(&mut self) -> Result<Step> {
        loop {
            if self.bus.is_closing() {
                return Ok(Step::Closing(Closing::because(ClosingReason::Shutdown)));
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
            if !self.is_live {
                self.is_live = true;
                return Ok(Step::CaughtUp(self.position));
            }
            self.registration.slot.woken().await;
        }
    }

    /// Reads one page. None when nothing in it matched, or there was nothing to read.
    async fn read_on(&mut self) -> Result<Option<Step>> {
        self.registration.slot.rearm();
        if let Some(read) = self.read_at_hand() {
            return read;
        }
        // Boxed, so that a subscription that waits has no room for this.
        Box::pin(self.read_when_there_is_memory()).await
    }

    /// Reads one page, if it is the last one before the live end and in memory, or if there is
    /// nothing to read.
    fn read_at_hand(&mut self) -> Option<Result<Option<Step>>> {
        let tail = self.bus.tail();
        if self.snapshot_through.is_some() {
            return None;
        }
        let after = self.begin(tail);
        if after >= tail {
            self.from_earliest = false;
            self.position = self.position.max(tail);
            return Some(Ok(None));
        }
        let page = self
            .page_at_hand(after, tail, limits::PAGE_BYTES)
            .filter(|page| page.through >= tail && self.has_memory_for(&page.batch))?;
        Some(self.take(page, after, tail))
    }

    /// Reads any other page, of so many bytes at most if it has more than one event.
    pub(super) async fn read_from_afar(&mut self, page_bytes: usize) -> Result<Option<Step>> {
        let tail = self.bus.tail();
        if let Some(through) = self.snapshot_through {
            return self.read_snapshot(through, page_bytes).await;
        }
        let after = self.begin(tail);
        let page = match self.page_at_hand(after, tail, page_bytes) {
            Some(page) => page,
            None => self.page_from_log(after, tail, page_bytes).await?,
        };
        if is_over(&page.batch, page_bytes) {
            return Ok(None);
        }
        if page.through < tail {
            self.bus.0.catch_up.turn(&page.batch).await;
        }
        self.take(page, after, tail)
    }

    /// What is before the next match was looked at when it was marked.
    fn begin(&self, tail: Vid) -> Vid {
        self.position.max(tail.min(self.next_match() - 1))
    }

    fn take(&mut self, page: SharedPage, after: Vid, tail: Vid) -> Result<Option<Step>> {
        let kept_from = page.first.saturating_sub(1);
        if kept_from > after && !self.from_earliest {
            return self.gap(page.first).map(Some);
        }
        self.from_earliest = false;
        self.position = page.through;
        self.is_live &= page.through >= tail;
        Ok(self.events(page.batch))
    }

    async fn read_snapshot(&mut self, through: Vid, page_bytes: usize) -> Result<Option<Step>> {
        let request = self.request(self.position, through, page_bytes);
        let page = self.bus.engine().read_newest(request).await?;
        let batch = Arc::new(page.events.into());
        if is_over(&batch, page_bytes) {
            return Ok(None);
        }
        self.position = page.through;
        if page.through >= through {
            self.snapshot_through = None;
        }
        Ok(self.events(batch))
    }

    fn page_at_hand(&self, after: Vid, through: Vid, page_bytes: usize) -> Option<SharedPage> {
        let request = self.request(after, through, page_bytes);
        self.bus
            .page_at_hand(&request, self.place_in_common(&request))
    }

    async fn page_from_log(
        &self,
        after: Vid,
        through: Vid,
        page_bytes: usize,
    ) -> Result<SharedPage> {
        let request = self.request(after, through, page_bytes);
        let place = self.place_in_common(&request);
        self.bus.page_from_log(request, place).await
    }

    /// Where a page is shared by those of the group that are at the same place. One alone has
    /// nobody to share it with, and a page of so many events at most is its reader's own.
    fn place_in_common(&self, request: &ReadRequest) -> Option<Place> {
        let group = &self.registration.group;
        let is_shared = self.left.is_none() && group.crowd.len() > 1;
        is_shared.then(|| {
            self.bus
                .0
                .pages_in_common
                .place(group, request.after, request.through)
        })
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

    fn gap(&mut self, first: Vid) -> Result<Step> {
        let gap = gap_at(
            &self.bus,
            GapReason::Expired,
            &self.bus.cursor(self.position),
        );
        self.bus.metrics().gaps.inc();
        if self.on_gap == OnGap::Fail {
            return Err(Error::gap(gap));
        }
        self.position = first - 1;
        self.is_live = false;
        Ok(Step::Gap(gap))
    }

    fn request(&self, after: Vid, through: Vid, page_bytes: usize) -> ReadRequest {
        let events = self.left.map_or(usize::MAX, |left| left as usize);
        let budget = PageBudget {
            bytes: page_bytes,
            ..PageBudget::of_events(events)
        };
        ReadRequest {
            after,
            through,
            filter: self.registration.group.filter.clone(),
            budget,
        }
    }

    fn next_match(&self) -> Vid {
        self.registration.group.next_match(self.position)
    }
}

fn hello(bus: &Bus) -> Step {
    let bounds = bus.bounds();
    Step::Hello {
        epoch: bus.epoch(),
        first: bounds.first,
        last: bounds.last,
        heartbeat: bus.options().heartbeat,
    }
}
