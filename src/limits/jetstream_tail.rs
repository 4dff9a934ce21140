//! Bounds of following the end of a stream of NATS JetStream.

use std::time::Duration;

use super::{
    GROUP_BYTES, GROUP_EVENTS, NATS_INFO_INTERVAL, NATS_INFO_WAIT, NATS_SUBSCRIPTION_MESSAGES,
    RING_EVENTS,
};

/// Messages that a consumer is asked for at once. Half of them used up, it is asked again, …
pub const NATS_PULL_MESSAGES: usize = 2000;
/// … and so it is with bytes.
pub const NATS_PULL_BYTES: usize = 8 * 1024 * 1024;
/// A consumer is asked again at least this often.
pub const NATS_PULL_EXPIRY: Duration = Duration::from_secs(30);
/// A consumer with nothing to deliver says so this often.
pub const NATS_CONSUMER_HEARTBEAT: Duration = Duration::from_millis(500);
/// A consumer from which nothing has been heard for this long is given up, …
pub const NATS_CONSUMER_SILENCE: Duration = Duration::from_millis(1500);
/// … or for this long after a reconnect, as its server may be gone.
pub const NATS_CONSUMER_SILENCE_AFTER_RECONNECT: Duration = Duration::from_secs(1);
/// The servers delete a consumer that nobody has asked for so long.
pub const NATS_CONSUMER_INACTIVE: Duration = Duration::from_secs(10);
/// The longest that making a consumer takes.
pub const NATS_CONSUMER_CREATE_WAIT: Duration = Duration::from_secs(2);
/// The pause before another consumer is made, …
pub const NATS_CONSUMER_PAUSE: Duration = Duration::from_millis(100);
/// … which doubles up to this while none delivers.
pub const NATS_CONSUMER_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Messages of one page that is read while no consumer delivers.
pub const NATS_BRIDGE_MESSAGES: usize = 1000;
/// Bytes of such a page; it ends with the message that crosses this.
pub const NATS_BRIDGE_BYTES: usize = 4 * 1024 * 1024;
/// Messages of such a page where it is read from the leader, one by one.
pub const NATS_BRIDGE_LEADER_MESSAGES: usize = 100;
/// The pause between two such pages where there is nothing new.
pub const NATS_BRIDGE_PAUSE: Duration = Duration::from_millis(50);
/// The longest that such a page is waited for, from one message to the next.
pub const NATS_BRIDGE_WAIT: Duration = Duration::from_millis(500);

/// A tail that is further behind goes on this many vids before the end of the stream.
pub const NATS_TAIL_VIDS: u64 = RING_EVENTS as u64;
/// Messages of one step of the tail.
pub const NATS_STEP_MESSAGES: usize = GROUP_EVENTS;
/// Bytes of one step; it ends with the message that crosses this.
pub const NATS_STEP_BYTES: usize = GROUP_BYTES;
/// Steps that wait for the bus.
pub const NATS_STEPS_AHEAD: usize = 2;

/// The end of the log is known while an answer that counts is no older than this.
pub const NATS_ANSWER_AGE: Duration = NATS_INFO_INTERVAL.saturating_add(NATS_INFO_WAIT);
/// The tail may be behind what the stream said within this time: two questions.
pub const NATS_TAIL_LAG: Duration = NATS_INFO_INTERVAL.saturating_mul(2);
/// Where the end of the log has not been known for this long, another consumer is tried.
pub const NATS_TAIL_DOUBT: Duration = Duration::from_millis(2500);
/// It is looked at this often whether anything is overdue.
pub const NATS_TAIL_CHECK: Duration = Duration::from_millis(100);
/// After an answer that does not count the stream is asked again after this.
pub const NATS_INFO_INTERVAL_AGAIN: Duration = Duration::from_millis(250);

/// A server that has sent nothing at all for this long is taken to be frozen, …
pub const NATS_SERVER_SILENCE: Duration = Duration::from_millis(1200);
/// … and left for another one, at most this often.
pub const NATS_FORCED_RECONNECT_INTERVAL: Duration = Duration::from_secs(8);

/// Answers in a row that show a stream shorter than it was, before that is believed …
pub const NATS_SHORTER_ANSWERS: u32 = 3;
/// … and the time between the first and the last of them.
pub const NATS_SHORTER_TIME: Duration = Duration::from_secs(1);
/// The longest that one request takes when a stream is given another mark, and the pause before it
/// is tried again.
pub const NATS_RENEW_WAIT: Duration = Duration::from_secs(2);
/// Questions about the mark of a stream, until two answers agree.
pub const NATS_RENEW_QUESTIONS: usize = 8;

/// Messages that are no events are logged at most this often.
pub const NATS_SKIPPED_LOG_INTERVAL: Duration = Duration::from_secs(60);

const _: () = assert!(
    NATS_SUBSCRIPTION_MESSAGES >= 2 * NATS_PULL_MESSAGES,
    "a consumer is asked again before the first messages have been taken"
);
const _: () = assert!(
    NATS_SUBSCRIPTION_MESSAGES > NATS_BRIDGE_MESSAGES,
    "a whole page waits in memory"
);
const _: () = assert!(
    NATS_SERVER_SILENCE.as_millis() > super::NATS_PING_INTERVAL.as_millis(),
    "a healthy server has been asked whether it lives, and has answered"
);
