//! Every bound of the load generator, named with its unit.

use std::time::Duration;

/// Events that a gateway takes in one batch.
pub(crate) const MAX_BATCH_EVENTS: usize = 10_000;
/// The largest event data that a gateway may be configured to take, in bytes.
pub(crate) const MAX_EVENT_BYTES_CEILING: usize = 3 * 1024 * 1024;
/// The head of an answer in bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Readers, at most. Those with a connection each are bounded by open files first.
pub(crate) const READERS: usize = 1_000_000;
/// Connections that are being opened at once.
pub(crate) const OPENING: usize = 256;
/// Connections from one loopback address; with more, the kernel takes long to find a free port.
pub(crate) const CONNECTIONS_PER_SOURCE: usize = 4000;
/// Bytes of one read.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Bytes that a reader still reads before it hangs up, at most.
pub(crate) const HANG_UP_BYTES: usize = 1000;
/// Bytes of an event that a reader assembles.
pub(crate) const EVENT_BYTES: usize = 2 * MAX_EVENT_BYTES_CEILING;
/// Samples of the server's memory that are kept of a run.
pub(crate) const MEMORY_SAMPLES: usize = 64;
/// Open files besides those of the readers.
pub(crate) const OTHER_FILES: usize = 100;
/// The longest latency that is measured, in microseconds; longer ones count as this.
pub(crate) const LATENCY_US: u64 = 600_000_000;
/// Failed publish requests after which a publisher gives up.
pub(crate) const PUBLISH_ERRORS: u64 = 1000;
/// How long an answer may take.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long all readers together may take to connect.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(60);
/// How long catching up may take.
pub(crate) const RESUME_WAIT: Duration = Duration::from_secs(300);
/// Bytes of a text in a request's head over HTTP/2.
pub(crate) const HPACK_BYTES: usize = TOKEN_BYTES + 16;
/// Bytes of a token.
pub(crate) const TOKEN_BYTES: usize = 8 * 1024;
/// Sessions of TLS that are kept to be resumed: a server mostly sends two a connection.
pub(crate) const TICKETS: usize = 2 * OPENING;
