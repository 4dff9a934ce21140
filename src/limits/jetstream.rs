//! Bounds of a log on NATS JetStream.

use std::time::Duration;

/// A server of NATS is asked whether it lives so often; three unanswered questions end the
/// connection.
pub const NATS_PING_INTERVAL: Duration = Duration::from_secs(2);
/// The longest that connecting to one server takes.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages that wait in memory for one reader of a subject; further ones are dropped, and read
/// again.
pub const NATS_SUBSCRIPTION_MESSAGES: usize = 8192;
/// The stream is asked what it is so often, …
pub const NATS_INFO_INTERVAL: Duration = Duration::from_secs(1);
/// … and has this long to answer, …
pub const NATS_INFO_WAIT: Duration = Duration::from_millis(1500);
/// … or this long where the last question has had no answer.
pub const NATS_INFO_WAIT_AGAIN: Duration = Duration::from_millis(500);
/// A server of which the leader has not heard for this long does not count.
pub const NATS_REPLICA_SILENCE: Duration = Duration::from_secs(3);
/// The longest that a page of stored messages is waited for, from one message to the next.
pub const NATS_READ_WAIT: Duration = Duration::from_secs(1);
/// The longest that opening or creating a stream takes.
pub const NATS_OPEN_WAIT: Duration = Duration::from_secs(10);
/// Events of one atomic batch: as many as the servers take by default.
pub const NATS_BATCH_EVENTS: usize = 1000;
/// Pages of stored messages that are asked for at once: the servers hold back nothing for a client
/// that takes more than it can read.
pub const NATS_PAGES_AT_ONCE: usize = 8;
/// The longest that a page waits for its turn, where others are asked for.
pub const NATS_PAGE_QUEUE: Duration = Duration::from_secs(15);
/// A read that has not succeeded is tried again for this long, …
pub const NATS_READ_TRIES: Duration = Duration::from_secs(3);
/// … with this between two tries.
pub const NATS_READ_PAUSE: Duration = Duration::from_millis(20);
/// Patterns of a filter that are asked for one by one; with more of them everything is read.
pub const NATS_PATTERNS_AT_ONCE: usize = 8;
/// The longest that a part of the list of subjects is waited for: as many as the server lists.
pub const NATS_LIST_WAIT: Duration = Duration::from_secs(10);
/// Subjects whose newest messages are looked up with one request; the servers refuse 1,024.
pub const NATS_SUBJECTS_AT_ONCE: usize = 1000;
/// Topics of one snapshot.
pub const NATS_SNAPSHOT_TOPICS: usize = 250_000;
/// Vids that are kept of large snapshots, so that their next page is found.
pub const NATS_SNAPSHOT_VIDS: usize = 1_000_000;
/// Messages that are asked for at once, where a page is of single ones.
pub const NATS_MESSAGES_AT_ONCE: usize = 32;
/// The longest that a list of topics, or a large snapshot, waits while others are made.
pub const NATS_LIST_QUEUE: Duration = Duration::from_secs(30);
/// A page that has had no answer so often is read from the leader, message by message.
pub const NATS_UNANSWERED_PAGES: usize = 2;
/// Messages with broken headers that are remembered.
pub const NATS_UNREADABLE_MESSAGES: usize = 1024;
