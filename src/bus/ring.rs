//! The newest events, in memory.
//!
//! Invariants:
//! - the ring holds every event with `base < vid <= newest` that the log has, and no other;
//! - it is bounded by count and by bytes, and gives up its oldest events first.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::event::Event;
use crate::limits;

pub(super) struct Ring {
    /// Read-locked while a page of pointers is copied, write-locked while the sequencer adds a
    /// group.
    held: RwLock<Held>,
}

struct Held {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    base: Vid,
}

impl Ring {
    /// An empty ring at the end of a log.
    pub(super) fn new(last: Vid) -> Self {
        Ring {
            held: RwLock::new(Held {
                events: VecDeque::new(),
                bytes: 0,
                base: last,
            }),
        }
    }

    pub(super) fn push(&self, events: &[Arc<Event>]) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            held.bytes += event.size_bytes();
            held.events.push_back(event.clone());
        }
        while held.events.len() > limits::RING_EVENTS
            || (held.bytes > limits::RING_BYTES && held.events.len() > 1)
        {
            held.drop_oldest();
        }
    }

    /// Forgets what the log has trimmed, so that a reader sees the same gap here as there.
    pub(super) fn trim_below(&self, first: Vid) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        while held.events.front().is_some_and(|e| e.vid < first) {
            held.drop_oldest();
        }
        held.base = held.base.max(first.saturating_sub(1));
    }

    /// A page, or none when the ring no longer reaches back to where it begins.
    pub(super) fn read(&self, request: &ReadRequest) -> Option<Page> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        (request.after >= held.base).then(|| held.read(request))
    }
}

impl Held {
    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.size_bytes();
            self.base = event.vid;
        }
    }

    fn read(&self, request: &ReadRequest) -> Page {
        let start = self.events.partition_point(|e| e.vid <= request.after);
        // What has been trimmed is not in the ring, so there is no gap to be seen here.
        let first = self.base + 1;
        Page::fill(
            self.events.range(start..),
            request,
            request.through,
            first,
            |event| request.filter.matches(&event.sent.topic),
        )
    }
}
