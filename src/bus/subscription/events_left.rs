//! How many events a subscription may still yield.
//!
//! Invariant: it takes four bytes, where an optional number takes eight: each idle reader has one.

/// Events that may still be yielded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventsLeft(u32);

impl EventsLeft {
    /// As many as there are. No limit is so high (`limits::MAX_LIMIT`).
    const ALL: Self = EventsLeft(u32::MAX);

    pub(super) fn new(limit: Option<u32>) -> Self {
        limit.map_or(Self::ALL, EventsLeft)
    }

    pub(super) fn are_limited(self) -> bool {
        self != Self::ALL
    }

    pub(super) fn are_none(self) -> bool {
        self.0 == 0
    }

    /// The most that one page may hold.
    pub(super) fn count(self) -> usize {
        if self.are_limited() {
            self.0 as usize
        } else {
            usize::MAX
        }
    }

    pub(super) fn take(&mut self, events: usize) {
        if self.are_limited() {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            self.0 = self.0.saturating_sub(events);
        }
    }
}
