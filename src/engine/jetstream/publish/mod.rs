//! Publishing in groups.

use std::sync::Arc;

use super::SharedStream;
use crate::engine::{Appended, BatchBounds};
use crate::error::{Error, Result};
use crate::event::NewEvent;

/// The one that appends for this gateway.
pub(super) struct Publisher {
    stream: Arc<SharedStream>,
    bounds: BatchBounds,
}

impl Publisher {
    pub(super) fn new(stream: Arc<SharedStream>, bounds: BatchBounds) -> Self {
        Publisher { stream, bounds }
    }

    /// Appends batches in the given order, each all or none.
    pub(super) async fn append(&self, _batches: Vec<Vec<NewEvent>>) -> Result<Appended> {
        let _ = (&self.stream, self.bounds);
        Err(Error::internal("publishing"))
    }
}
