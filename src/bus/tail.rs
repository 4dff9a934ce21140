//! The end of a log that others append to as well: one task makes it visible here.
//!
//! Invariants:
//! - only this task moves the tail of such a log, in vid order; vids without an event move it, too;
//! - a reset reaches ring, pages, marks and tail before any reader sees the new log, and every
//!   subscription is notified of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use crate::cursor::Vid;
use crate::engine::{LogState, Tail, TailStep};
use crate::event::Event;
use crate::limits;
use crate::metrics::steady_ns;

/// Follows the tail until the bus drops this task.
pub(super) async fn run(bus: Weak<Shared>, mut tail: Box<dyn Tail>) {
    // Before the tail adds to it: the ring has to be without holes.
    if let Some(bus) = bus.upgrade() {
        bus.warm_ring().await;
    }
    loop {
        let step = tail.next().await;
        // The bus is held weakly while the tail is waited for, so that it ends with its last user.
        let Some(bus) = bus.upgrade() else { return };
        bus.follow(step).await;
    }
}

impl Shared {
    async fn follow(&self, step: TailStep) {
        match step {
            TailStep::Events { events, through } => self.make_visible_in_parts(events, through),
            TailStep::Skipped { through } => self.skip_to(through).await,
            TailStep::Trimmed { first } => self.forget_below(first).await,
            TailStep::Reset(state) => self.restart_on(&state).await,
            TailStep::Live(is_live) => self.set_live(is_live).await,
        }
    }

    /// A step may hold more than a commit does; publishers and readers have their turn in between.
    fn make_visible_in_parts(&self, mut events: Vec<Arc<Event>>, through: Vid) {
        // Whatever the engine sends, the tail only ever moves on.
        let before = self.tail();
        events.retain(|event| before < event.vid && event.vid <= through);
        // Who has published them, and when by that clock, is not known here.
        let now_ns = steady_ns();
        for part in events.chunks(limits::GROUP_EVENTS) {
            let through = part[part.len() - 1].vid;
            self.make_visible(part, through, now_ns).notify();
        }
        // Vids behind the newest event that hold none.
        if through > self.tail() {
            self.make_visible(&[], through, now_ns).notify();
        }
    }

    async fn forget_below(&self, first: Vid) {
        self.log.trimmed_below(first);
        self.pages.trimmed_below(first);
        // Events that have not come here yet are gone as well: nobody may pass over them, as
        // readers do over events that came here and did not match.
        self.skip_to(first.saturating_sub(1)).await;
    }

    /// Goes on behind this vid after a long break. What was not read here is in the log, and
    /// readers find it there.
    async fn skip_to(&self, through: Vid) {
        if through <= self.tail() {
            return;
        }
        // The same order as for events: ring, marks, tail, and then everybody is notified, since
        // anything may match.
        self.pages.skip_to(through);
        self.interest.forget_marks(through);
        self.tail.store(through, Ordering::Release);
        self.notify_everybody().await;
    }

    async fn restart_on(&self, state: &LogState) {
        // Of two replacements at once an engine may report the last log twice. Its vids are the
        // same, so nobody has to read it again from its beginning.
        if self.log.view().epoch() == state.lineage.epoch() {
            self.forget_below(state.bounds.first).await;
            self.skip_to(state.bounds.last).await;
            return self.set_live(state.live).await;
        }

        // An operator has to know: it is somebody's doing, or a stream that was lost.
        let last = state.bounds.last;
        tracing::warn!(
            epoch = %state.lineage.epoch(),
            first = state.bounds.first,
            last,
            "the log has been replaced; subscriptions get a gap and go on from its beginning"
        );
        self.log.reset(state, |generation| {
            self.pages.reset(generation, last);
            self.interest.forget_marks(last);
            self.tail.store(last, Ordering::Release);
        });
        self.notify_everybody().await;
    }

    async fn set_live(&self, is_live: bool) {
        self.log.set_live(is_live);
        // Those who wait end now; others see it before their next page.
        if !is_live {
            self.notify_everybody().await;
        }
    }

    /// Notifies all subscriptions, and those who wait for a vid.
    async fn notify_everybody(&self) {
        self.tail_watch.send_replace(self.tail());
        self.interest.everybody.wake(|_| true, Duration::ZERO).await;
    }

    /// Reads the newest events into the ring, so that readers that come back after a restart do not
    /// all go to the log.
    async fn warm_ring(&self) {
        let snapshot = self.snapshot();
        if let Err(error) = self.pages.warm(snapshot).await {
            // They are read when somebody asks for them.
            tracing::warn!(%error, "the newest events of the log were not read ahead");
        }
    }
}
