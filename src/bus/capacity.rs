//! How much of the publish queue there is, and who may hold how much of it.
//!
//! A request holds a place and its bytes from before it is queued until it is answered. A single
//! request is refused where too little is left; a stream waits, for its own share, then for the
//! share of all streams, then for the queue. Invariants:
//! - all streams together hold at most their share of the queue, what they wait for included, so
//!   the rest is always there for single requests;
//! - who waits holds nothing that others need to be answered, and waits in turn: nobody waits for
//!   ever.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::limits;

/// So many requests, and so many bytes of them.
#[derive(Debug, Clone)]
struct Share {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A request's part of a share, given back when dropped.
#[derive(Debug)]
struct Part {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Share {
    fn new(requests: usize, bytes: usize) -> Self {
        Share {
            requests: Arc::new(Semaphore::new(requests)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    fn try_take(&self, bytes: usize) -> Option<Part> {
        let request = self.requests.clone().try_acquire_owned();
        let bytes = self.bytes.clone().try_acquire_many_owned(permits(bytes));
        Some(Part {
            _request: request.ok()?,
            _bytes: bytes.ok()?,
        })
    }

    async fn take(&self, bytes: usize) -> Result<Part> {
        let bytes = self.bytes.clone().acquire_many_owned(permits(bytes)).await;
        let request = self.requests.clone().acquire_owned().await;
        let closed = |_: AcquireError| Error::closing();
        Ok(Part {
            _request: request.map_err(closed)?,
            _bytes: bytes.map_err(closed)?,
        })
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The queue as a whole, and what streams may hold of it.
#[derive(Debug)]
pub(super) struct QueueCapacity {
    all: Share,
    streams: Share,
}

/// What one stream may hold of the streams' share. A clone is the same part.
#[derive(Debug, Clone)]
pub(super) struct StreamCapacity(Share);

impl StreamCapacity {
    pub(super) fn new() -> Self {
        let requests = limits::PUBLISH_STREAM_PIPELINE;
        StreamCapacity(Share::new(requests, limits::PUBLISH_STREAM_BYTES))
    }
}

/// What a queued request holds, given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    _queue: Part,
    /// Of its stream, and of all streams.
    _streams: Option<[Part; 2]>,
}

impl QueueCapacity {
    pub(super) fn new() -> Self {
        QueueCapacity {
            all: Share::new(limits::PUBLISH_QUEUE_REQUESTS, limits::PUBLISH_QUEUE_BYTES),
            streams: Share::new(
                limits::PUBLISH_STREAMS_REQUESTS,
                limits::PUBLISH_STREAMS_BYTES,
            ),
        }
    }

    /// For a single request; none when the queue is full.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Held> {
        Some(Held {
            _queue: self.all.try_take(bytes)?,
            _streams: None,
        })
    }

    /// For a request of a stream; none when it has to wait.
    pub(super) fn try_take_for_stream(
        &self,
        stream: &StreamCapacity,
        bytes: usize,
    ) -> Option<Held> {
        let of_stream = stream.0.try_take(bytes.min(limits::PUBLISH_STREAM_BYTES))?;
        let of_streams = self.streams.try_take(bytes)?;
        Some(Held {
            _queue: self.all.try_take(bytes)?,
            _streams: Some([of_stream, of_streams]),
        })
    }

    /// For a request of a stream, waiting for it. A request larger than a stream's share has the
    /// whole of it.
    pub(super) async fn take(&self, stream: &StreamCapacity, bytes: usize) -> Result<Held> {
        let of_stream = stream
            .0
            .take(bytes.min(limits::PUBLISH_STREAM_BYTES))
            .await?;
        let of_streams = self.streams.take(bytes).await?;
        Ok(Held {
            _queue: self.all.take(bytes).await?,
            _streams: Some([of_stream, of_streams]),
        })
    }
}
