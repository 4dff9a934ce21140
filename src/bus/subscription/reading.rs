//! The pages that a subscription reads on its way to the live end, and beyond it.
//!
//! Invariants:
//! - a page that is in memory is taken without waiting; any other is paid before it is read;
//! - a page moves the position only if it is of the log that the position belongs to.

use std::sync::Arc;

use tokio::time::sleep;

use super::Subscription;
use super::pressure::is_over;
use crate::bus::batch::Batch;
use crate::bus::pages::{PageRequest, SharedPage};
use crate::bus::step::{OnGap, Step};
use crate::cursor::{Gap, GapReason, Vid};
use crate::engine::{PageBudget, ReadRequest};
use crate::error::{Error, Result};
use crate::limits;

/// What a look at the pages in memory brought.
enum Cached {
    /// The position has moved as far as it could; none where nothing matched.
    Read(Option<Step>),
    /// The page is not in memory, or there is more than it holds.
    Miss,
}

impl Subscription {
    /// Reads one page. None when nothing in it matched, or there was nothing to read.
    pub(super) async fn read_on(&mut self) -> Result<Option<Step>> {
        match self.try_read_cached()? {
            Cached::Read(step) => Ok(step),
            // Boxed to keep the idle future small.
            Cached::Miss => Box::pin(self.read_while_good()).await,
        }
    }

    /// Reads any other page. Whatever that waits for, the wait is over once its caller's credential
    /// has ended: then there is no step, and the next look finds out why.
    async fn read_while_good(&mut self) -> Result<Option<Step>> {
        let Some(credential) = self.registration.waiter.credential().cloned() else {
            return self.read_when_there_is_memory().await;
        };
        let bus = self.bus.clone();
        tokio::select! {
            biased;
            step = self.read_when_there_is_memory() => step,
            _ = bus.credential_ended(&credential) => Ok(None),
        }
    }

    /// Reads one page, if it is the last one before the live end and in memory, or if there is
    /// nothing to read.
    fn try_read_cached(&mut self) -> Result<Cached> {
        let tail = self.bus.0.tail();
        // Which events are the newest of their topic is known only to the log.
        if self.is_in_snapshot() {
            return Ok(Cached::Miss);
        }

        // The marks say that nothing before the tail matches: that is all most wake-ups take.
        let after = self.begin(tail);
        if after >= tail {
            self.skip_to(tail);
            return Ok(Cached::Read(None));
        }

        // A page that does not reach the tail is one of several, and those are spaced.
        let request = self.request(after, tail, limits::PAGE_BYTES);
        let page = self.bus.0.pages.cached(&request);
        match page.filter(|page| page.through >= tail && self.has_memory_for(&page.batch)) {
            Some(page) => {
                self.bus.metrics().readers.count_ring_hit();
                self.take(page, after, tail).map(Cached::Read)
            }
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
        let page = self.load(self.request(after, tail, page_bytes)).await?;
        let Some(page) = page.filter(|page| !is_over(&page.batch, page_bytes)) else {
            return Ok(None);
        };

        // An engine that has got no further now is not asked again and again.
        if page.through <= after && page.first <= after + 1 {
            sleep(limits::EMPTY_PAGE_PAUSE).await;
            return Ok(None);
        }
        // More pages follow: live readers have their share of the cores.
        if page.through < tail {
            self.set_behind(true);
            if self.bus.0.load.has_live_readers() {
                self.bus.0.catch_up.acquire(&page.batch).await;
            }
        }
        self.take(page, after, tail)
    }

    /// A page from memory or from the log. None when the engine reads another log already; then the
    /// reset has been waited for.
    async fn load(&self, request: PageRequest) -> Result<Option<SharedPage>> {
        let pages = &self.bus.0.pages;
        if let Some(page) = pages.cached(&request) {
            self.bus.metrics().readers.count_ring_hit();
            return Ok(Some(page));
        }
        // Further back than the ring reaches.
        self.bus.metrics().count_cold_read();
        let page = pages.load(request, &self.log).await?;
        if page.is_none() {
            self.bus.0.wait_for_reset(&self.log).await;
        }
        Ok(page)
    }

    /// Where reading begins. What lies before the next match was compared with the filter when it
    /// was marked.
    fn begin(&self, tail: Vid) -> Vid {
        self.position().max(tail.min(self.next_match() - 1))
    }

    /// Moves the position to the visible end, with nothing to read before it.
    fn skip_to(&mut self, tail: Vid) {
        if self.is_on_current_log() {
            self.phase.has_read(true);
            self.set_position(self.position().max(tail));
        }
    }

    fn take(&mut self, page: SharedPage, after: Vid, tail: Vid) -> Result<Option<Step>> {
        // A page of another log would move the position to a vid of that one.
        if !self.is_on_current_log() {
            return Ok(None);
        }

        // Reported before the events behind it.
        let kept_from = page.first.saturating_sub(1);
        if kept_from > after && !self.phase.is_from_earliest() {
            return self.expired(page.first).map(Some);
        }

        self.phase.has_read(page.through >= tail);
        self.set_position(page.through);
        let lag_vids = tail.saturating_sub(page.through);
        self.bus.metrics().readers.count_lag(lag_vids);
        Ok(self.events(page.batch))
    }

    async fn read_snapshot(&mut self, through: Vid, page_bytes: usize) -> Result<Option<Step>> {
        let request = self.request(self.position(), through, page_bytes);
        let pages = &self.bus.0.pages;
        let Some(page) = pages.load_newest(request.read, &self.log).await? else {
            self.bus.0.wait_for_reset(&self.log).await;
            return Ok(None);
        };
        let batch = Arc::new(page.events.into());
        if is_over(&batch, page_bytes) || !self.is_on_current_log() {
            return Ok(None);
        }
        // From here on every event is wanted.
        if page.through >= through {
            self.wait_for_replacements().await;
            self.phase.catch_up();
        }
        // Behind the last wait: a read that is given up has moved nothing.
        self.set_position(page.through);
        Ok(self.events(batch))
    }

    /// An event was left out of the snapshot if a newer one of its topic was durable already. That
    /// one becomes visible at once, and has to come before the live end is reported.
    async fn wait_for_replacements(&self) {
        let durable = self.bus.0.engine.state().bounds.last;
        if durable > self.bus.0.tail() {
            self.bus.0.wait_for(durable, limits::VISIBLE_WAIT).await;
        }
    }

    fn events(&mut self, events: Arc<Batch>) -> Option<Step> {
        if events.is_empty() {
            return None;
        }
        // A limit counts events, not pages; a page never holds more than are left.
        self.left.take(events.len());
        Some(Step::Events(events, self.position()))
    }

    /// Goes on from the oldest retained event.
    fn expired(&mut self, first: Vid) -> Result<Step> {
        let mut now = self.bus.0.snapshot();
        // A reset in this very moment is the greater gap.
        if now.log.generation != self.log.generation {
            return self.go_to_current_log();
        }
        // The engine may have trimmed more than its tail has reported.
        now.bounds.first = now.bounds.first.max(first.min(now.bounds.last + 1));
        let gap = now.gap(GapReason::Expired, &self.log.cursor(self.position()));

        // Where the gap says, so that the two are one: what else is gone is the next gap.
        self.set_position(gap.first - 1);
        self.phase.catch_up();
        self.report(gap)
    }

    pub(super) fn report(&self, gap: Gap) -> Result<Step> {
        self.bus.metrics().count_gap(gap.reason);
        if self.on_gap == OnGap::Fail {
            return Err(Error::gap(gap));
        }
        Ok(Step::Gap(gap))
    }

    fn request(&self, after: Vid, through: Vid, page_bytes: usize) -> PageRequest {
        let group = self.registration.group();
        let read = ReadRequest {
            after,
            through,
            filter: group.filter.clone(),
            budget: PageBudget {
                bytes: page_bytes,
                ..PageBudget::of_events(self.left.count())
            },
        };
        // One alone has nobody to share a page with, and a page of so many events at most is its
        // reader's own.
        let is_shared = !self.left.are_limited() && group.waiters.len() > 1;
        let generation = self.log.generation;
        let key = is_shared.then(|| self.bus.0.pages.key(group, &read, generation));
        PageRequest {
            read,
            generation,
            key,
        }
    }

    pub(super) fn next_match(&self) -> Vid {
        self.registration.group().next_match(self.position())
    }
}
