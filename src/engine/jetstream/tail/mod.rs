//! The end of the stream, followed in vid order.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::SharedStream;
use crate::cursor::Vid;
use crate::engine::{Tail, TailStep};

/// The tail of a stream.
pub(super) struct StreamTail {
    stream: Arc<SharedStream>,
    stale_after: Duration,
    after: Vid,
}

impl StreamTail {
    pub(super) fn new(stream: Arc<SharedStream>, stale_after: Duration) -> Self {
        StreamTail {
            stream,
            stale_after,
            after: 0,
        }
    }

    pub(super) fn starting_after(mut self, after: Vid) -> Self {
        self.after = after;
        self
    }
}

#[async_trait]
impl Tail for StreamTail {
    async fn next(&mut self) -> TailStep {
        let _ = (&self.stream, self.stale_after, self.after);
        std::future::pending().await
    }
}
