//! Bounds of the gateway's end, and of its logs.

use std::time::Duration;

/// Over which time streams are ended at shutdown by default, …
pub const DEFAULT_DRAIN_OVER: Duration = Duration::from_secs(20);
/// … over which time at most, and how long at most it is shown before that the gateway is not ready
/// any more.
pub const MAX_DRAIN_OVER: Duration = Duration::from_secs(3600);
/// Streams are ended some at a time, with this time in between.
pub const DRAIN_STEP: Duration = Duration::from_millis(20);
/// Readers that come to a gateway that ends are asked to come back later than others, by a random
/// time up to this, or up to the last turn where that is sooner.
pub const DRAIN_NEWCOMERS_SPREAD: Duration = Duration::from_secs(10);
/// How long connections may take to end once their streams have been told to.
pub const DRAIN_REST: Duration = Duration::from_secs(8);
/// The same where the gateway was asked a second time to end.
pub const DRAIN_REST_IF_HURRIED: Duration = Duration::from_secs(3);
/// A connection without a request so far may still send its first one for this long at shutdown, …
pub const DRAIN_FIRST_REQUEST: Duration = Duration::from_secs(2);
/// … and requests that came during the shutdown are answered for this long after its end.
pub const DRAIN_LATE: Duration = Duration::from_secs(1);

/// Bytes of log lines that wait to be written; what is logged beyond that is lost.
pub const LOG_QUEUE_BYTES: usize = 1024 * 1024;
/// How long the end of the process waits for log lines to be written.
pub const LOG_FLUSH: Duration = Duration::from_secs(1);

const _: () = {
    assert!(
        DRAIN_REST.as_secs() + DRAIN_LATE.as_secs() < 10,
        "shutdown ends within 10 s of the last stream's turn"
    );
    assert!(
        DRAIN_FIRST_REQUEST.as_millis() < DRAIN_REST_IF_HURRIED.as_millis(),
        "a connection that has asked for nothing is not cut, but closed"
    );
};
