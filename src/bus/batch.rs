//! Events that are read together, by one reader or by many.
//!
//! Invariant: a batch never changes; what a transport makes of it is made once and shared by all
//! who get it.

use std::ops::Deref;
use std::sync::Arc;

use crate::encodings::Encodings;
use crate::event::Event;

/// One or more events in vid order.
#[derive(Debug)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    pub(crate) encodings: Encodings,
}

impl Deref for Batch {
    type Target = [Arc<Event>];

    fn deref(&self) -> &[Arc<Event>] {
        &self.events
    }
}

impl From<Vec<Arc<Event>>> for Batch {
    fn from(events: Vec<Arc<Event>>) -> Self {
        Batch {
            events,
            encodings: Encodings::default(),
        }
    }
}
