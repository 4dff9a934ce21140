//! How much of the publish queue there is, and who may hold how much of it.
//!
//! A batch holds a place and its bytes from before it is queued until it is answered. A single
//! request is refused where too little is left; a stream waits, for its own share, then for the
//! share of all streams, then for the queue. Invariants:
//! - all streams together hold at most their share of the queue, what they wait for included, so
//!   the rest is always left to single requests;
//! - who waits holds nothing that others need to be answered, and waits in line: nobody waits for
//!   ever.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::limits;

/// So many batches, and so many bytes of them.
#[derive(Debug, Clone)]
struct Share {
    batches: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A batch's part of a share, given back when dropped.
#[derive(Debug)]
struct SharePermits {
    _batch: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Share {
    fn new(batches: usize, bytes: usize) -> Self {
        Share {
            batches: Arc::new(Semaphore::new(batches)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// None when too little is left.
    fn try_take(&self, bytes: usize) -> Option<SharePermits> {
        let batch = self.batches.clone().try_acquire_owned();
        let bytes = self.bytes.clone().try_acquire_many_owned(permits(bytes));
        Some(SharePermits {
            _batch: batch.ok()?,
            _bytes: bytes.ok()?,
        })
    }

    async fn take(&self, bytes: usize) -> Result<SharePermits> {
        // Bytes first: who waits for them holds no place that a smaller batch could take.
        let bytes = self.bytes.clone().acquire_many_owned(permits(bytes)).await;
        let batch = self.batches.clone().acquire_owned().await;
        let closed = |_: AcquireError| Error::closing();
        Ok(SharePermits {
            _batch: batch.map_err(closed)?,
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

/// What one stream may hold of the streams' share. A clone is the same share.
#[derive(Debug, Clone)]
pub(super) struct StreamCapacity(Share);

impl StreamCapacity {
    pub(super) fn new() -> Self {
        let batches = limits::PUBLISH_STREAM_PIPELINE;
        StreamCapacity(Share::new(batches, limits::PUBLISH_STREAM_BYTES))
    }
}

/// What a queued batch holds of the queue, given back when dropped.
#[derive(Debug)]
pub(super) struct QueuePlace {
    _queue: SharePermits,
    /// Of its stream, and of all streams.
    _streams: Option<[SharePermits; 2]>,
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

    /// For a batch of this stream, or for a single request; none when too little is left now.
    pub(super) fn try_take(
        &self,
        stream: Option<&StreamCapacity>,
        bytes: usize,
    ) -> Option<QueuePlace> {
        // What has been taken is given back where one part is missing.
        let streams = match stream {
            Some(stream) => Some([
                stream.0.try_take(bytes_of_stream(bytes))?,
                self.streams.try_take(bytes)?,
            ]),
            None => None,
        };
        Some(QueuePlace {
            _queue: self.all.try_take(bytes)?,
            _streams: streams,
        })
    }

    /// For a batch of a stream, waiting for it: first for what fewest share.
    pub(super) async fn take(&self, stream: &StreamCapacity, bytes: usize) -> Result<QueuePlace> {
        // In line for each: its own share, that of all streams, the queue.
        let streams = [
            stream.0.take(bytes_of_stream(bytes)).await?,
            self.streams.take(bytes).await?,
        ];
        Ok(QueuePlace {
            _queue: self.all.take(bytes).await?,
            _streams: Some(streams),
        })
    }
}

/// A batch larger than a stream's share has the whole of it.
fn bytes_of_stream(bytes: usize) -> usize {
    bytes.min(limits::PUBLISH_STREAM_BYTES)
}
