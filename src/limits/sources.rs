//! Bounds of sources, Gearman and PostgreSQL.

use std::time::Duration;

/// Pieces of work that a source pulls and publishes together.
pub const SOURCE_BATCH_EVENTS: usize = 1000;
/// A source that failed is reconnected after this long, …
pub const SOURCE_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// … and, after several failures, after at most this long.
pub const SOURCE_BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long ids are remembered by default where a source may give the same job again.
pub const SOURCE_DEDUPE_WINDOW: Duration = Duration::from_secs(3600);
/// How far back from its end the log is read at start, for events whose acknowledgement may not
/// have arrived.
pub const SOURCE_LOOKBACK: Duration = Duration::from_secs(60);
/// Ids of such events that are kept in memory, beyond the dedupe window.
pub const SOURCE_UNACKED_IDS: usize = 200_000;
/// Notes of broken connections that are read back at start, the newest ones.
pub const SOURCE_NOTES: usize = 1000;
/// Bytes of the text of a source's error, or of a refusal, that are kept.
pub const SOURCE_TEXT_BYTES: usize = 1024;

/// A source's name in bytes.
pub const SOURCE_NAME_BYTES: usize = 128;
/// Bytes of jobs of one Gearman server that the gateway holds at once: `concurrency` times
/// `max_event_bytes`.
pub const GEARMAN_HELD_BYTES: usize = 256 * 1024 * 1024;
/// A Gearman function's or unique id's length in bytes; job servers accept no longer ones.
pub const GEARMAN_NAME_BYTES: usize = 512;
/// Bytes of a job packet besides its workload: handle, function and unique id.
pub const GEARMAN_ARGUMENTS_BYTES: usize = 4 * 1024;
/// A job server has to accept a connection within this time.
pub const GEARMAN_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A job server that owes an answer for this long is considered gone.
pub const GEARMAN_REPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a job server without jobs is checked to be still there.
pub const GEARMAN_IDLE: Duration = Duration::from_secs(15);
/// How often a busy job server is asked how many jobs wait.
pub const GEARMAN_STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answer may take.
pub const GEARMAN_STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of that answer, which has a line for each function.
pub const GEARMAN_STATUS_BYTES: u64 = 1024 * 1024;

/// Bytes of rows that are read together from a database; a single larger row is read by itself.
pub const SOURCE_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The longest configurable wait for an answer of a database.
pub const DATABASE_ANSWER_MAX: Duration = Duration::from_secs(30);
/// The shortest and the longest time between two reads of an outbox without notifications.
pub const DATABASE_POLL_MIN: Duration = Duration::from_millis(10);
/// See [`DATABASE_POLL_MIN`].
pub const DATABASE_POLL_MAX: Duration = Duration::from_secs(3600);
/// Rows that wait in an outbox are counted up to this many …
pub const DATABASE_LAG_ROWS: i64 = 100_000;
/// … and no more often than this.
pub const DATABASE_LAG_INTERVAL: Duration = Duration::from_secs(1);

/// A gateway that has renewed the lease of the sources holds it for this long.
pub const SOURCE_LEASE: Duration = Duration::from_secs(5);
/// How often its holder renews it.
pub const SOURCE_LEASE_RENEWAL: Duration = Duration::from_secs(1);
/// How often the others look at it.
pub const SOURCE_LEASE_LOOK: Duration = Duration::from_millis(500);
/// The longest that reading or writing it takes.
pub const SOURCE_LEASE_WAIT: Duration = Duration::from_secs(1);
/// Seen unchanged for this long it may be taken: a little longer than it is held, as no two clocks
/// run equally fast.
pub const SOURCE_LEASE_TAKEOVER: Duration = Duration::from_millis(5250);
/// The longest that releasing it takes: a write that is under way, and one more.
pub const SOURCE_LEASE_RELEASE_WAIT: Duration = Duration::from_secs(2);
/// The largest record of it, in bytes.
pub const SOURCE_LEASE_BYTES: i32 = 4096;
/// The most that the bucket with it may hold, in bytes.
pub const SOURCE_LEASE_BUCKET_BYTES: i64 = 1024 * 1024;
/// How long a gateway that has got the lease waits until it has seen all that others appended,
/// before it pulls.
pub const SOURCE_CATCH_UP_WAIT: Duration = Duration::from_secs(30);
/// How often it asks meanwhile how much that is.
pub const SOURCE_CATCH_UP_INTERVAL: Duration = Duration::from_millis(250);

const _: () = assert!(SOURCE_LEASE_TAKEOVER.as_millis() > SOURCE_LEASE.as_millis());
// So that a few renewals may fail.
const _: () = assert!(
    3 * SOURCE_LEASE_RENEWAL.as_millis() + SOURCE_LEASE_WAIT.as_millis() < SOURCE_LEASE.as_millis()
);
