//! The newest events, in memory.
//!
//! Invariants:
//! - the ring holds every event with `base < vid <= newest` that the log has, and no other;
//! - it is bounded by count and by bytes, and gives up its oldest events first;
//! - it is locked for a few events at a time, however long a reader's filter takes with each.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cursor::Vid;
use crate::engine::{Page, PageBudget, ReadRequest};
use crate::event::Event;
use crate::limits;

/// Events that are matched while the ring is locked: those who publish wait meanwhile.
const SCANNED_AT_ONCE: usize = 512;
/// Groups of which it is remembered when they were taken in: more than come between two rounds of
/// notifications.
const REMEMBERED_GROUPS: usize = 1024;

pub(super) struct Ring {
    /// Read-locked while a page of pointers is copied, write-locked while the sequencer adds a
    /// group.
    recent: RwLock<RecentEvents>,
}

struct RecentEvents {
    generation: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    base: Vid,
    /// When the newest groups were taken in. It is for readers that wait, so older ones are
    /// forgotten.
    taken_in: VecDeque<TakenIn>,
}

/// Events that became visible together, and when the first of them was taken in.
#[derive(Clone, Copy)]
struct TakenIn {
    first: Vid,
    last: Vid,
    published_ns: u64,
}

impl Ring {
    /// An empty ring at the end of a log.
    pub(super) fn new(last: Vid) -> Self {
        Ring {
            recent: RwLock::new(RecentEvents::empty(0, last)),
        }
    }

    fn recent(&self) -> RwLockReadGuard<'_, RecentEvents> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, RecentEvents> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events, of which the first was taken in at this moment.
    pub(super) fn push(&self, events: &[Arc<Event>], published_ns: u64) {
        let mut recent = self.change();
        if let [first, ..] = events {
            let last = events.last().unwrap_or(first);
            recent.note_taken_in(TakenIn {
                first: first.vid,
                last: last.vid,
                published_ns,
            });
        }
        for event in events {
            recent.bytes += event.size_bytes();
            recent.events.push_back(event.clone());
        }
        // The newest event stays, however large it is.
        while recent.events.len() > limits::RING_EVENTS
            || (recent.bytes > limits::RING_BYTES && recent.events.len() > 1)
        {
            recent.drop_oldest();
        }
    }

    /// Forgets what the log has trimmed, so that a reader sees the same gap here as there.
    pub(super) fn trim_below(&self, first: Vid) {
        let mut recent = self.change();
        while recent.events.front().is_some_and(|e| e.vid < first) {
            recent.drop_oldest();
        }
        // Also where vids before `first` hold no event.
        recent.base = recent.base.max(first.saturating_sub(1));
    }

    /// Forgets events that have been removed from the log, in vid order.
    pub(super) fn remove(&self, vids: &[Vid]) {
        let mut recent = self.change();
        for vid in vids {
            recent.remove(*vid);
        }
    }

    /// The next events come behind this vid, and what lies before them is not in the ring.
    pub(super) fn skip_to(&self, through: Vid) {
        let mut recent = self.change();
        *recent = RecentEvents::empty(recent.generation, through);
    }

    /// The end of another log.
    pub(super) fn reset(&self, generation: u64, last: Vid) {
        *self.change() = RecentEvents::empty(generation, last);
    }

    /// Puts the events before its base into the ring: all with `base < vid <= through`. Not if it
    /// has moved on meanwhile.
    pub(super) fn warm(&self, generation: u64, events: Vec<Arc<Event>>, base: Vid, through: Vid) {
        let mut recent = self.change();
        if (recent.generation, recent.base, recent.events.len()) != (generation, through, 0) {
            return;
        }
        recent.bytes = events.iter().map(|event| event.size_bytes()).sum();
        recent.events = events.into();
        recent.base = base;
    }

    /// A page, or none when the ring no longer reaches back to where it begins; and when its first
    /// event was taken in, or 0 where that is forgotten.
    pub(super) fn read(&self, generation: u64, request: &ReadRequest) -> Option<(Page, u64)> {
        let (mut page, published_ns) = self.read_part(generation, request)?;
        let mut left = request.budget;
        // Events before this index have been subtracted from the budget.
        let mut fresh = 0;
        while page.through < request.through {
            left = left.without(&page.events[fresh..]);
            if left.is_used_up() {
                break;
            }
            fresh = page.events.len();

            // The lock was given back: publishers have had their turn.
            let rest = ReadRequest {
                after: page.through,
                budget: left,
                ..request.clone()
            };
            // What has left the ring meanwhile is read from the log, with the next page.
            let Some((part, _)) = self.read_part(generation, &rest) else {
                break;
            };
            page.events.extend(part.events);
            page.through = part.through;
        }
        Some((page, published_ns))
    }

    /// The first part of a page, as much as is read under one lock.
    fn read_part(&self, generation: u64, request: &ReadRequest) -> Option<(Page, u64)> {
        // A filter of many patterns may take long with each event.
        let budget = PageBudget {
            scan: request.budget.scan.min(SCANNED_AT_ONCE),
            ..request.budget
        };
        let part = ReadRequest {
            budget,
            ..request.clone()
        };

        // Another generation is another log, whose vids mean other events.
        let recent = self.recent();
        let reaches_back = recent.generation == generation && request.after >= recent.base;
        reaches_back.then(|| {
            let page = recent.read(&part);
            let published_ns = page.events.first().map_or(0, |e| recent.taken_in_at(e.vid));
            (page, published_ns)
        })
    }
}

impl PageBudget {
    /// What is left after a part of a page with these events.
    fn without(self, events: &[Arc<Event>]) -> Self {
        let bytes: usize = events.iter().map(|event| event.size_bytes()).sum();
        PageBudget {
            events: self.events - events.len(),
            bytes: self.bytes.saturating_sub(bytes),
            scan: self.scan.saturating_sub(SCANNED_AT_ONCE),
        }
    }

    fn is_used_up(self) -> bool {
        self.bytes == 0 || self.events == 0 || self.scan == 0
    }
}

impl RecentEvents {
    fn empty(generation: u64, base: Vid) -> Self {
        RecentEvents {
            generation,
            events: VecDeque::new(),
            bytes: 0,
            base,
            taken_in: VecDeque::new(),
        }
    }

    fn note_taken_in(&mut self, group: TakenIn) {
        if self.taken_in.len() == REMEMBERED_GROUPS {
            self.taken_in.pop_front();
        }
        self.taken_in.push_back(group);
    }

    /// When the group was taken in that this vid is of; 0 where that is forgotten.
    fn taken_in_at(&self, vid: Vid) -> u64 {
        // As a rule it is one of the last.
        let newest_first = self.taken_in.iter().rev();
        let mut not_before = newest_first.take_while(|group| group.last >= vid);
        let group = not_before.find(|group| group.first <= vid);
        group.map_or(0, |group| group.published_ns)
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.size_bytes();
            self.base = event.vid;
        }
    }

    fn remove(&mut self, vid: Vid) {
        let at = self.events.partition_point(|event| event.vid < vid);
        if self.events.get(at).is_none_or(|event| event.vid != vid) {
            return;
        }
        if let Some(event) = self.events.remove(at) {
            self.bytes -= event.size_bytes();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventParts, NewEvent};
    use crate::topic::Filter;

    fn event(vid: Vid) -> Arc<Event> {
        let number = usize::try_from(vid).expect("few");
        let parts = EventParts {
            topic: ["a", "b", "c"][number % 3],
            data: "x".repeat(number % 50).into(),
            ..EventParts::default()
        };
        Arc::new(Event::new(
            vid,
            0,
            NewEvent::check(parts, 100).expect("an event"),
        ))
    }

    #[test]
    fn a_page_is_the_same_in_one_part_and_in_several() {
        let ring = Ring::new(0);
        ring.push(&(1..=3000).map(event).collect::<Vec<_>>(), 1);
        for filter in [">", "a", "nothing"] {
            for (after, through, events, bytes, scan) in [
                (0, 3000, 1000, usize::MAX, 8192),
                (10, 2000, 5000, usize::MAX, 8192),
                (10, 3000, 5000, 20_000, 8192),
                (10, 3000, 5000, usize::MAX, 1000),
                (10, 3000, 5000, usize::MAX, SCANNED_AT_ONCE),
                (2999, 3000, 1, 1, 1),
                (3000, 3000, 10, 10, 10),
            ] {
                let request = ReadRequest {
                    after,
                    through,
                    filter: Filter::parse([filter]).expect("a filter"),
                    budget: PageBudget {
                        events,
                        bytes,
                        scan,
                    },
                };
                let (page, _) = ring.read(0, &request).expect("it is in the ring");
                let whole = ring.recent().read(&request);
                let vids = |page: &Page| page.events.iter().map(|e| e.vid).collect::<Vec<_>>();
                assert_eq!((vids(&page), page.first), (vids(&whole), whole.first));
                assert_eq!(page.through, whole.through, "{request:?}");
            }
        }
    }
}
