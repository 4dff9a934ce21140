//! Events that are read together, by one reader or by many.
//!
//! Invariant: a batch never changes; what a transport makes of it is made once and shared by all
//! who get it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::cursor::{Epoch, Vid};
use crate::encodings::{Coding, Encodings, LastMade};
use crate::event::Event;

/// One or more events in vid order.
#[derive(Debug)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    /// When the first of them was taken in, or 0 where that is not known.
    published_ns: u64,
    pub(crate) encodings: Encodings,
    /// The last answer that had these events and no others.
    pub(crate) last_answer: LastMade<Standing>,
    /// The same as it was last compressed. Few are, so that it takes a pointer.
    last_compressed: OnceLock<Box<LastMade<(Standing, Coding)>>>,
}

impl Batch {
    /// The last answer that had these events and no others, as it was compressed.
    pub(crate) fn last_compressed(&self) -> &LastMade<(Standing, Coding)> {
        self.last_compressed.get_or_init(Box::default)
    }
}

/// Where a reader stands once it has been answered, and the log with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: Epoch,
    /// The oldest retained vid.
    pub(crate) first: Vid,
    /// The newest visible one.
    pub(crate) last: Vid,
    /// Its position.
    pub(crate) vid: Vid,
    /// Nothing that matches lies behind that.
    pub(crate) up_to_date: bool,
}

impl Deref for Batch {
    type Target = [Arc<Event>];

    fn deref(&self) -> &[Arc<Event>] {
        &self.events
    }
}

impl From<Vec<Arc<Event>>> for Batch {
    fn from(events: Vec<Arc<Event>>) -> Self {
        Batch::new(events, 0)
    }
}

impl Batch {
    /// Events of which the first was taken in at this moment of
    /// [`crate::metrics::steady_ns`], or 0.
    pub(super) fn new(events: Vec<Arc<Event>>, published_ns: u64) -> Self {
        Batch {
            events,
            published_ns,
            encodings: Encodings::default(),
            last_answer: LastMade::default(),
            last_compressed: OnceLock::new(),
        }
    }

    /// When the first event was taken in, where that is known.
    pub(crate) fn published_ns(&self) -> Option<u64> {
        Some(self.published_ns).filter(|moment| *moment > 0)
    }
}
