//! Bounds of copying one log into another.

use std::time::Duration;

/// A copy stores so many messages at most where its source has no event.
pub const COPY_HOLES: u64 = 100_000;
/// A stream that has taken nothing of a copy for so long ends it.
pub const COPY_PATIENCE: Duration = Duration::from_secs(60);
/// A batch of a copy that nobody took is sent again after this.
pub const COPY_RETRY_WAIT: Duration = Duration::from_millis(100);
/// About so many bytes more than in a data folder an event takes on a stream: names of headers, of
/// its batch, and its subject.
pub const COPY_MESSAGE_BYTES: u64 = 160;
