//! A cursor and a filter that are read to the end, and beyond it as events come.
//!
//! The one place for waiting, paging, gaps and progress; a transport only shows what
//! [`Subscription::next`] yields.
//!
//! Invariants:
//! - steps come in the order of the log; a position is reported only after every matching event up
//!   to it;
//! - `next` may be dropped while it waits, and called again: nothing is lost by that;
//! - the subscription is registered before it reads, and takes the tail before it reads, so no
//!   wake-up is missed;
//! - a position belongs to the log that the subscription is on: what was read of another one after
//!   a reset moves nothing.

mod events_left;
mod phase;
mod place;
mod pressure;
mod reading;
mod start;

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Bus;
use super::closing::{Closing, ClosingReason};
use super::interest::Registration;
use super::log_view::LogView;
use super::readers::{ReadBy, ReaderConnection};
use super::step::{OnGap, Step, SubscribeRequest};
use super::waiter::Waiter;
use crate::caller::{Caller, GrantedFilter};
use crate::cursor::{GapReason, Vid};
use crate::error::{Error, Result};
use crate::memory::{MemoryBudget, MemoryKind};
use crate::metrics::Transport;
use crate::topic::Filter;
use events_left::EventsLeft;
use phase::{Opening, Phase};
use place::Place;
pub(super) use place::Places;
use start::{StartPosition, find_start};

/// An open subscription.
pub struct Subscription {
    bus: Bus,
    /// The log that its position belongs to.
    log: Arc<LogView>,
    on_gap: OnGap,
    /// Less is served than was asked for.
    is_cut: bool,
    /// It is counted among those that are more than a page behind.
    is_behind: bool,
    phase: Phase,
    /// Events that may still be yielded.
    left: EventsLeft,
    /// With its position, and what its caller is served on.
    registration: Registration,
    _place: Place,
}

const _: () = assert!(
    size_of::<Subscription>() <= 88,
    "each idle reader has one: docs/performance.md, memory per idle reader"
);

impl Subscription {
    /// Opens a subscription. A cursor from the future is waited for, up to
    /// [`crate::limits::AHEAD_WAIT`].
    ///
    /// # Errors
    /// As [`Caller::grant_read`]; closing, behind, busy (too many subscriptions, or topics of all
    /// of them), out of memory, or a gap when the request says so.
    pub async fn open(bus: &Bus, caller: &Caller, request: SubscribeRequest) -> Result<Self> {
        Self::open_for(bus, caller, request, None).await
    }

    /// The same for a reader whom an operator may want to see.
    ///
    /// # Errors
    /// As [`Subscription::open`].
    pub(crate) async fn open_for(
        bus: &Bus,
        caller: &Caller,
        mut request: SubscribeRequest,
        read_by: Option<ReadBy>,
    ) -> Result<Self> {
        // Refusals that cost nothing come first.
        let GrantedFilter { filter, is_cut } = caller.grant_read(&request.filter)?;
        request.filter = filter;
        bus.0.check_admitting()?;
        bus.memory().check(MemoryKind::Page)?;
        let place = Place::take(bus, caller)?;

        // A gap is counted, and may end the request, before anything is registered.
        let start = find_start(bus, &request.start).await?;
        if let Some(gap) = &start.gap {
            bus.metrics().count_gap(gap.reason);
            if request.on_gap == OnGap::Fail {
                return Err(Error::gap(gap.clone()));
            }
        }
        let mut subscription = Self::register(bus, caller, &request, start, (place, read_by))?;
        subscription.is_cut = is_cut;
        Ok(subscription)
    }

    fn register(
        bus: &Bus,
        caller: &Caller,
        request: &SubscribeRequest,
        start: StartPosition,
        (place, read_by): (Place, Option<ReadBy>),
    ) -> Result<Self> {
        let now_ticks = bus.0.heartbeat.now_ticks();
        let waiter = Waiter::new(now_ticks, caller.credential.clone());
        let waiter = waiter.of_reader(start.position, read_by);
        let registration = bus.0.interest.register(&request.filter, waiter)?;
        Ok(Subscription {
            bus: bus.clone(),
            log: start.log,
            on_gap: request.on_gap,
            is_cut: false,
            is_behind: false,
            phase: Phase::opening(start.gap, start.mode),
            left: EventsLeft::new(request.limit),
            registration,
            _place: place,
        })
    }

    /// Says that this subscription is one of many on a connection, so that it is woken together
    /// with more others.
    pub fn share_connection(&self) {
        self.registration.waiter.set_shares_connection();
    }

    /// Passes over `hello`, if that is due. Gives what is served, where it is less than was asked
    /// for.
    pub(crate) fn skip_hello(&mut self) -> Option<Filter> {
        let is_due = self.phase.skip_hello();
        let served = &self.registration.group().filter;
        (is_due && self.is_cut).then(|| served.clone())
    }

    /// The next step, or none when the subscription has ended.
    ///
    /// # Errors
    /// A gap when the request says so, or an error of the engine.
    pub async fn next(&mut self) -> Result<Option<Step>> {
        // What is due before anything is read.
        match self.phase.next_opening() {
            Opening::Hello => return Ok(Some(self.hello())),
            Opening::Gap(gap) => return Ok(Some(Step::Gap(*gap))),
            Opening::Done => {}
        }
        if self.phase.has_ended() || self.left.are_none() {
            return Ok(None);
        }

        let step = self.find_step().await;
        if matches!(step, Err(_) | Ok(Step::Closing(_))) {
            self.phase.end();
        }

        // The heartbeat begins anew with each step.
        let now_ticks = self.bus.0.heartbeat.now_ticks();
        self.registration.waiter.stepped(now_ticks);
        step.map(Some)
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The budget that pages are paid from.
    pub fn memory(&self) -> &MemoryBudget {
        self.bus.memory()
    }

    /// Everything that matches up to this vid has been yielded.
    pub fn position(&self) -> Vid {
        self.registration.waiter.position()
    }

    fn set_position(&mut self, position: Vid) {
        self.registration.waiter.set_position(position);
    }

    pub(crate) fn transport(&self) -> Option<Transport> {
        self.registration.waiter.transport()
    }

    pub(crate) fn connection(&self) -> Option<&dyn ReaderConnection> {
        self.registration.waiter.connection()
    }

    /// The log that this subscription reads: after a reset another one than the bus serves, until
    /// the gap has been yielded.
    pub fn log(&self) -> &Arc<LogView> {
        &self.log
    }

    /// Is there no event that matches and has not been yielded? Then the position is the live end,
    /// also when the last event that matched lies before it. Others may have come since the last
    /// step.
    pub fn reach_end(&mut self) -> bool {
        // The tail first: what is marked behind it is not visible yet.
        let tail = self.bus.0.tail();
        let has_reached = !self.is_in_snapshot()
            && (self.position() >= tail || self.next_match() > tail)
            && self.is_on_current_log();
        if has_reached {
            self.set_position(self.position().max(tail));
            self.set_behind(false);
        }
        has_reached
    }

    /// Notes whether it is more than a page behind.
    fn set_behind(&mut self, is_behind: bool) {
        if self.is_behind != is_behind {
            self.is_behind = is_behind;
            self.bus.0.catch_up.count_behind(is_behind);
        }
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
            self.registration.waiter.rearm();

            // The cursor stays good, so whoever ends here loses nothing.
            if let Some(reason) = self.ending() {
                return Ok(Step::Closing(Closing::because(reason)));
            }
            if !self.is_on_current_log() {
                return self.go_to_current_log();
            }

            if let Some(step) = self.read_on().await? {
                return Ok(step);
            }
            if self.bus.0.heartbeat.is_due(&self.registration.waiter) {
                return Ok(Step::Progress(self.position()));
            }

            if !self.reach_end() {
                // A long log without a match is read page by page; others are let through in
                // between.
                tokio::task::consume_budget().await;
                continue;
            }
            // Once each time, before it waits.
            if self.phase.reach_live() {
                return Ok(Step::CaughtUp(self.position()));
            }
            self.registration.leave_round();
            self.registration.waiter.woken().await;
        }
    }

    /// Why it ends now, where it does: its turn has come, or that of all, or its credential has
    /// ended.
    fn ending(&self) -> Option<ClosingReason> {
        let waiter = &self.registration.waiter;
        if waiter.is_told_to_end() {
            return Some(ClosingReason::Shutdown);
        }
        // It is to come back later, as where there are too many.
        if waiter.is_cut() {
            return Some(ClosingReason::Busy);
        }
        let of_bus = self.bus.0.ending();
        of_bus.or_else(|| {
            self.has_credential_ended()
                .then_some(ClosingReason::Expired)
        })
    }

    fn has_credential_ended(&self) -> bool {
        let credential = self.registration.waiter.credential();
        credential.is_some_and(|credential| credential.check().is_err())
    }

    /// Has no reset replaced the log that the position belongs to? Asked after a read, it says
    /// whether what was read is of that log.
    fn is_on_current_log(&self) -> bool {
        self.bus.0.log.generation() == self.log.generation
    }

    /// Goes on from the beginning of the log that has replaced the one it was on.
    fn go_to_current_log(&mut self) -> Result<Step> {
        let now = self.bus.0.snapshot();
        let gap = now.gap(GapReason::Reset, &self.log.cursor(self.position()));
        self.set_position(now.bounds.first - 1);
        self.log = now.log;
        self.phase.begin_anew();
        self.report(gap)
    }

    fn hello(&self) -> Step {
        let now = self.bus.0.snapshot();
        let served = &self.registration.group().filter;
        Step::Hello {
            epoch: now.log.epoch().clone(),
            first: now.bounds.first,
            last: now.bounds.last,
            heartbeat: self.bus.options().heartbeat,
            cut_to: self.is_cut.then(|| served.clone()),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.set_behind(false);
    }
}
