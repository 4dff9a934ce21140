//! Bounds of the client library.

use std::time::Duration;

use super::{DEFAULT_WAIT, MAX_BODY_BYTES, MAX_EVENT_BYTES_CEILING};

/// A failed connection, or a failed publish, is tried again after a random time up to this, which
/// doubles each time …
pub const CLIENT_RETRY_BASE: Duration = Duration::from_millis(500);
/// … until it is this.
pub const CLIENT_RETRY_MAX: Duration = Duration::from_secs(20);
/// The longest wait before the next try that a server may ask for.
pub const READ_RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A connection that lasted for this long was a good one: the next failure is the first again.
pub const READ_GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// A connection has to be made, and a stream to begin, within this time.
pub const READ_HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Where a stream's head has come and no byte behind it for this long, something on the way holds
/// the stream back: the client polls instead.
pub const READ_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that ends within this time, without an event, was a short one …
pub const READ_SHORT_STREAM: Duration = Duration::from_secs(1);
/// … and after so many in a row the client polls instead.
pub const READ_SHORT_STREAMS: u32 = 3;
/// After so many answers that are none of a gateway the client tries a poll.
pub const READ_WRONG_ANSWERS: u32 = 2;
/// A client that polls because streams do not come through tries a stream again after this time.
pub const READ_STREAM_AGAIN: Duration = Duration::from_secs(600);
/// How long a poll of the client waits for an event.
pub const READ_POLL_WAIT: Duration = DEFAULT_WAIT;
/// The answer to a poll may be late by this much.
pub const READ_POLL_SLACK: Duration = Duration::from_secs(10);
/// Bytes of one event, or of the answer to one poll, that the client takes: the largest event, each
/// byte of it escaped in JSON, beside a page of small ones.
pub const READ_ANSWER_BYTES: usize = 6 * MAX_EVENT_BYTES_CEILING + MAX_BODY_BYTES;
/// Bytes of one event around its data: names, headers, and what JSON needs.
pub const READ_EVENT_OVERHEAD_BYTES: usize = 4 * 1024;
/// Bytes of a refusal that the client reads.
pub const READ_REFUSAL_BYTES: usize = 64 * 1024;
/// Bytes of a refusal that is shown as it is, because it is no problem document.
pub const READ_SENTENCE_BYTES: usize = 200;

/// The client goes on trying to publish for this long: 10 s less than the default dedupe window,
/// within which the gateway knows what it has published already.
pub const PUBLISH_RETRY_FOR: Duration = Duration::from_secs(110);
/// A request to publish that has been sent completely has to be answered within this time.
pub const PUBLISH_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A token that names its end is replaced this long before it.
pub const TOKEN_RENEWED_BEFORE: Duration = Duration::from_secs(30);
/// A token's file that is empty is read again after this pause …
pub const TOKEN_FILE_PAUSE: Duration = Duration::from_millis(100);
/// … until it has been read so often.
pub const TOKEN_FILE_TRIES: u32 = 10;
/// Bytes of a file of certificates or of a key that a client reads.
pub const PEM_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The longest life of a token that `vidette token new` makes.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
