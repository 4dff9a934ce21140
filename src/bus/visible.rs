//! Making events visible, and waiting for that.
//!
//! Invariants:
//! - what becomes visible is put into place in this order: ring, marks, tail; then readers are
//!   notified. Whoever has seen the tail finds the rest up to it;
//! - one caller moves the tail: the sequencer, or the task that follows a shared log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::group::FilterGroup;
use super::load::LoadMeter;
use super::log_view::LogView;
use crate::cursor::Vid;
use crate::event::Event;
use crate::limits;

/// The readers of events that have become visible.
#[must_use = "readers that wait have to be notified"]
pub(super) struct Unnotified<'b> {
    groups: Vec<Arc<FilterGroup>>,
    load: &'b Arc<LoadMeter>,
}

impl Unnotified<'_> {
    /// Notifies them; to be called with no lock held.
    pub(super) fn notify(self) {
        for group in self.groups {
            group.notify(self.load);
        }
    }
}

impl Shared {
    /// The newest visible vid.
    pub(super) fn tail(&self) -> Vid {
        self.tail.load(Ordering::Acquire)
    }

    /// Is the log shared with others who append, so that only its tail makes events visible?
    pub(super) fn follows_tail(&self) -> bool {
        self.tail_task.get().is_some()
    }

    /// Makes durable events visible. `through` is the newest vid, or one behind it that holds no
    /// event. Those who wait for them are yet to be notified. `published_ns` is when
    /// the first of them was taken in, by [`crate::metrics::steady_ns`].
    pub(super) fn make_visible(
        &self,
        events: &[Arc<Event>],
        through: Vid,
        published_ns: u64,
    ) -> Unnotified<'_> {
        let before = self.tail.load(Ordering::Relaxed);
        let first = events.first().map_or(through, |event| event.vid);
        assert!(
            first > before,
            "the tail cannot fall back: {first} after {before}"
        );

        // In this order: whoever sees the tail finds the events and the marks up to it.
        self.pages.push(events, published_ns);
        let to_notify = self.interest.mark(events, through);
        self.tail.store(through, Ordering::Release);
        self.tail_watch.send_replace(through);

        Unnotified {
            groups: to_notify,
            load: &self.load,
        }
    }

    /// Waits until this vid is visible, at most so long; less if the gateway ends its
    /// subscriptions, or another log has replaced this one. False when it is not.
    pub(super) async fn wait_for(&self, vid: Vid, at_most: Duration) -> bool {
        let generation = self.log.generation();
        let is_over = || self.ending().is_some() || self.log.generation() != generation;

        let mut tail = self.tail_watch.subscribe();
        let reached = tail.wait_for(|tail| *tail >= vid || is_over());
        let _ = timeout(at_most, reached).await;
        self.tail() >= vid && self.log.generation() == generation
    }

    /// Waits until the tail has reported that another log has replaced this one, which the engine
    /// knows of already.
    pub(super) async fn wait_for_reset(&self, log: &LogView) {
        let is_over = || self.ending().is_some() || self.log.generation() != log.generation;
        let mut tail = self.tail_watch.subscribe();
        // Bounded, so that the reader keeps its heartbeat meanwhile.
        let _ = timeout(limits::VISIBLE_WAIT, tail.wait_for(|_| is_over())).await;
    }
}
