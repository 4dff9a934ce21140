//! Events that are read together, by one reader or by many.
//!
//! Invariant: a batch never changes; what a transport makes of it is made once and shared by all who
//! get it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::event::Event;

/// One or more events in vid order.
#[derive(Debug)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    pub(crate) encodings: BatchEncodings,
}

/// One place for each encoding of a whole batch; filled on first use.
#[derive(Debug, Default)]
pub(crate) struct BatchEncodings {
    /// The SSE blocks without `format=raw`.
    pub(crate) sse: OnceLock<Bytes>,
    /// The SSE blocks with it.
    pub(crate) sse_raw: OnceLock<Bytes>,
    /// The JSON objects, with commas between them.
    pub(crate) json: OnceLock<Bytes>,
    /// The message `vidette.v1.SubscribeResponse` in its gRPC frame; its cursor is the position
    /// behind the batch.
    pub(crate) grpc: OnceLock<Bytes>,
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
            encodings: BatchEncodings::default(),
        }
    }
}
