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
/// Addresses of servers, and of their monitors, that can be configured.
pub const MAX_NATS_SERVERS: usize = 64;
/// The shortest time after which a gateway that is not in touch with the log says so …
pub const NATS_STALE_AFTER_MIN: Duration = Duration::from_secs(3);
/// … and the longest.
pub const NATS_STALE_AFTER_MAX: Duration = Duration::from_secs(300);
