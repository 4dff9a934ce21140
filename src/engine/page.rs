//! Parts of the log, as they are asked for and read.
//!
//! Invariant: a page says up to which vid it is complete, also where nothing in it matched.

use std::sync::Arc;

use crate::cursor::Vid;
use crate::event::Event;
use crate::limits;
use crate::topic::Filter;

/// How much one page may hold.
#[derive(Debug, Clone, Copy)]
pub struct PageBudget {
    /// Matching events.
    pub events: usize,
    /// Bytes of matching events; one event is returned however large it is.
    pub bytes: usize,
    /// Events looked at.
    pub scan: usize,
}

impl PageBudget {
    /// A page of at most so many events, within the bounds of [`limits`].
    pub fn of_events(events: usize) -> Self {
        PageBudget {
            events: events.clamp(1, limits::PAGE_EVENTS),
            bytes: limits::PAGE_BYTES,
            scan: limits::PAGE_SCAN_EVENTS,
        }
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Events after this vid …
    pub after: Vid,
    /// … up to and with this one …
    pub through: Vid,
    /// … that match this.
    pub filter: Filter,
    /// How much at once.
    pub budget: PageBudget,
}

/// A part of the log.
#[derive(Debug)]
pub struct Page {
    /// Matching events in vid order.
    pub events: Vec<Arc<Event>>,
    /// Everything that matches up to this vid is in `events`.
    pub through: Vid,
    /// The oldest retained vid at the moment of reading.
    pub first: Vid,
}

impl Page {
    /// A page of events that are in memory: those after `request.after` that are wanted, within the
    /// budget. `events` are in vid order, and have everything from there up to `through`.
    pub(crate) fn fill<'e>(
        events: impl Iterator<Item = &'e Arc<Event>>,
        request: &ReadRequest,
        through: Vid,
        first: Vid,
        wanted: impl Fn(&Event) -> bool,
    ) -> Page {
        let through = through.min(request.through);
        let mut page = Page {
            events: Vec::new(),
            through,
            first,
        };
        // Only what lies between the request and what is complete.
        let range = events
            .skip_while(|e| e.vid <= request.after)
            .take_while(|e| e.vid <= through);

        let (budget, mut bytes) = (&request.budget, 0);
        for (scanned, event) in range.enumerate() {
            // The next page goes on with this event.
            let is_full = page.events.len() == budget.events || bytes >= budget.bytes;
            if is_full || scanned == budget.scan {
                page.through = event.vid - 1;
                break;
            }
            if wanted(event) {
                bytes += event.size_bytes();
                page.events.push(event.clone());
            }
        }
        page
    }
}
