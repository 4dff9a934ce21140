//! Bounds of a log on NATS JetStream.

use std::time::Duration;

/// A server of NATS is asked whether it lives so often; three unanswered questions end the
/// connection.
pub const NATS_PING_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that connecting to one server takes.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest pause before a server is tried again, where none can be connected to.
pub const NATS_RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
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

/// How long it is tried to store a group of events, far below the dedupe window. The last try has
/// its second, too; with that and what a group has that was waiting, a publisher is answered within
/// 12 s.
pub const NATS_PUBLISH_DEADLINE: Duration = Duration::from_secs(9);
/// The same for groups that were waiting while another one has not been stored in that time.
pub const NATS_PUBLISH_DEADLINE_WAITING: Duration = Duration::from_secs(2);
/// Servers that a broken connection to publish by comes back to at most, within a second each.
pub const NATS_PUBLISH_RECONNECTS: usize = 8;
/// The pause between two tries.
pub const NATS_PUBLISH_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause where the servers have too many batches open; a random part of it is waited.
pub const NATS_PUBLISH_PAUSE_BUSY: Duration = Duration::from_millis(50);
/// One try is answered within this time, …
pub const NATS_PUBLISH_ANSWER_WAIT: Duration = Duration::from_secs(1);
/// … or one second more for each of so many bytes.
pub const NATS_PUBLISH_BYTES_A_SECOND: usize = 4 * 1024 * 1024;
/// After so many tries without any answer another server is connected to.
pub const NATS_PUBLISH_SILENT_TRIES: u32 = 1;
/// A group with ids that are known is put together anew so often.
pub const NATS_PUBLISH_ROUNDS: usize = 3;
/// After a refusal the log counts as not writable for this long, unless something is stored.
pub const NATS_REFUSAL_REMEMBERED: Duration = Duration::from_secs(30);
/// Nothing is appended once fewer vids than these are left: what other gateways are writing
/// meanwhile still has to fit.
pub const NATS_RESERVED_VIDS: u64 = 100_000;

/// Addresses of servers, and of their monitors, that can be configured.
pub const MAX_NATS_SERVERS: usize = 64;
/// The shortest time after which a gateway that is not in touch with the log says so …
pub const NATS_STALE_AFTER_MIN: Duration = Duration::from_secs(3);
/// … and the longest.
pub const NATS_STALE_AFTER_MAX: Duration = Duration::from_secs(300);

const _: () = {
    assert!(
        NATS_PUBLISH_DEADLINE_WAITING.as_secs() > NATS_PUBLISH_ANSWER_WAIT.as_secs(),
        "a group that was waiting is tried more than once"
    );
};

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
/// What a message of NATS may hold besides the data of an event, in bytes: headers and names.
pub const NATS_MESSAGE_OVERHEAD_BYTES: usize = 16 * 1024;
/// A server that can be monitored answers within this time, …
pub const NATS_MONITOR_WAIT: Duration = Duration::from_secs(3);
/// … with at most so many bytes.
pub const NATS_MONITOR_BYTES: usize = 1024 * 1024;
/// The pause between two tries to connect at start.
pub const NATS_CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// A page that has had no answer so often is read from the leader, message by message.
pub const NATS_UNANSWERED_PAGES: usize = 2;
/// Messages with broken headers that are remembered.
pub const NATS_UNREADABLE_MESSAGES: usize = 1024;
