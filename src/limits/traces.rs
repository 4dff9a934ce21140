//! Bounds of spans that are made of publishing.

use std::time::Duration;

/// Publish requests whose spans wait to be sent, of about 250 bytes each; those of more are
/// dropped.
pub const TRACES_QUEUED: usize = 4096;
/// Publish requests whose spans are sent together.
pub const TRACES_TOGETHER: usize = 512;
/// Spans are sent at least this often, as long as there are any.
pub const TRACES_SENT_EVERY: Duration = Duration::from_secs(1);
/// How long connecting to a collector may take …
pub const COLLECTOR_CONNECT: Duration = Duration::from_secs(5);
/// … and how long it may take to answer.
pub const COLLECTOR_ANSWER: Duration = Duration::from_secs(10);
/// Spans are sent so often before they are dropped, …
pub const TRACES_TRIES: u32 = 3;
/// … the second time after this, and later each time after twice as long.
pub const TRACES_RETRY_AFTER: Duration = Duration::from_secs(1);
/// At shutdown the last spans may take so long.
pub const TRACES_FLUSH: Duration = Duration::from_secs(1);

const _: () = {
    assert!(
        TRACES_TOGETHER <= TRACES_QUEUED,
        "a batch fits into the queue"
    );
    assert!(
        super::DRAIN_REST.as_secs() + super::DRAIN_LATE.as_secs() + TRACES_FLUSH.as_secs() <= 10,
        "shutdown ends within 10 s of the last stream's turn"
    );
};
