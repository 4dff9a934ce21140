//! Every bound that is not configurable, named with its unit.
//!
//! Invariants:
//! - nothing in vidette grows beyond a bound from here or from [`crate::config`];
//! - bounds that depend on each other are asserted at compile time, below them.

mod admin;
mod auth;
mod client;
mod copy;
mod drain;
mod jetstream;
mod jetstream_tail;
mod listeners;
mod pages;
mod quotas;
mod rounds;
mod sources;
mod tls;
mod traces;

use std::time::Duration;

pub use admin::*;
pub use auth::*;
pub use client::*;
pub use copy::*;
pub use drain::*;
pub use jetstream::*;
pub use jetstream_tail::*;
pub use listeners::*;
pub use pages::*;
pub use quotas::*;
pub use rounds::*;
pub use sources::*;
pub use tls::*;
pub use traces::*;

/// The largest vid: exact as a JavaScript number (contract §1).
pub const MAX_VID: u64 = (1 << 53) - 1;

/// Epochs that a log remembers besides its current one (contract §1); the newest are kept.
pub const MAX_EARLIER_EPOCHS: usize = 64;

/// A topic's length in bytes (contract §1).
pub const MAX_TOPIC_BYTES: usize = 255;
/// A topic's tokens (contract §1).
pub const MAX_TOPIC_TOKENS: usize = 16;
/// A type's length in bytes (contract §1).
pub const MAX_TYPE_BYTES: usize = 64;
/// An event id's length in bytes.
pub const MAX_ID_BYTES: usize = 255;
/// A content type's length in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// Levels of nesting in an event's JSON data: as deep as common parsers go.
pub const MAX_JSON_DEPTH: usize = 128;
/// Headers of one event.
pub const MAX_HEADERS: usize = 32;
/// Bytes of all names and values of an event's headers.
pub const MAX_HEADERS_BYTES: usize = 4 * 1024;

/// Query parameters that the configuration may list as ignored.
pub const MAX_IGNORED_PARAMETERS: usize = 32;

/// Topics one subscription may ask for.
pub const MAX_FILTER_TOPICS: usize = 100;
/// Patterns of all filters that are subscribed to; a filter with many subscribers counts once. Each
/// pattern takes about 150 bytes and its text.
pub const MAX_PATTERNS: usize = 500_000;
/// Within so many tokens from the beginning of a pattern `*` is allowed in any combination.
pub const NEAR_TOKENS: usize = 6;
/// Combinations of `*` beyond those tokens, over all patterns. The cost of matching an event grows
/// with the number of combinations that fit its number of tokens: 16 tokens, the most, fit all of
/// these and [`MAX_NEAR_SHAPES`].
pub const MAX_FAR_SHAPES: usize = 512;
/// Combinations of wildcards near the beginning of a pattern that fit a topic of 16 tokens: those
/// of as many tokens, and those that end earlier with `>`.
pub const MAX_NEAR_SHAPES: usize = (1 << NEAR_TOKENS)
    + ((1 << NEAR_TOKENS) - 1)
    + (MAX_TOPIC_TOKENS - NEAR_TOKENS) * (1 << NEAR_TOKENS);
/// Events one answer or stream may be limited to.
pub const MAX_LIMIT: u32 = 1_000_000;

/// The largest event data that the configuration may allow, in bytes. A gRPC client refuses
/// messages over 4 MiB by default, and an event has to fit with its names and headers.
pub const MAX_EVENT_BYTES_CEILING: usize = 3 * 1024 * 1024;
/// Events one atomic batch may hold.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// The body of a publish request in bytes; a batch's data has to fit in it.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The message of a gRPC request other than a publish request, in bytes: 100 topics of the greatest
/// length take 26,000.
pub const SMALL_MESSAGE_BYTES: usize = 64 * 1024;

/// Publish requests that are waiting or being written.
pub const PUBLISH_QUEUE_REQUESTS: usize = 4096;
/// Bytes of publish requests that are waiting or being written.
pub const PUBLISH_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Requests in the queue that publish streams and sources together may hold. The others are kept
/// free for single requests, which are refused where streams would wait.
pub const PUBLISH_STREAMS_REQUESTS: usize = PUBLISH_QUEUE_REQUESTS / 2;
/// Bytes in the queue, likewise; and the bytes of the largest batch.
pub const PUBLISH_STREAMS_BYTES: usize = PUBLISH_QUEUE_BYTES / 2;
/// Bytes of one publish stream that are waiting or being written, unless a single request is
/// larger.
pub const PUBLISH_STREAM_BYTES: usize = PUBLISH_STREAMS_BYTES / 4;
/// Events one group commit takes together, unless a single batch is larger.
pub const GROUP_EVENTS: usize = 4096;
/// Bytes one group commit takes together, unless a single batch is larger.
pub const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Requests of one publish stream that may be unanswered at once.
pub const PUBLISH_STREAM_PIPELINE: usize = 256;

/// The memory budget by default is this fraction of what the machine, or the control group, has: a
/// quarter leaves enough for the caches of the log, for connections and for other programs.
pub const MEMORY_BUDGET_PART: u64 = 4;
/// The smallest default of the memory budget, in bytes: a few of the largest requests at once.
pub const MIN_MEMORY_BUDGET_BYTES: u64 = 256 * 1024 * 1024;
/// Pieces of an answer from this size on, in bytes, are counted against the memory budget; smaller
/// ones take less than their connection does anyway.
pub const PAID_FROM_BYTES: usize = 4 * 1024;

/// How long a reader waits for the memory of a whole page before it gets a small one.
pub const PAGE_MEMORY_WAIT: Duration = Duration::from_millis(100);

/// Ids remembered within the dedupe window; further ones are refused until older ones leave it.
pub const MAX_DEDUPE_IDS: u64 = 10_000_000;

/// Events one page holds.
pub const PAGE_EVENTS: usize = 1000;
/// Bytes of events one page holds; a single larger event is a page of its own.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Bytes of the snapshot in the answer to one long-poll; the rest comes as plain events with the
/// next polls.
pub const SNAPSHOT_ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// Events scanned for one page, whether they match or not.
pub const PAGE_SCAN_EVENTS: usize = 8192;

/// Events in the ring of recent ones.
pub const RING_EVENTS: usize = 32_768;
/// Bytes of events in the ring of recent ones.
pub const RING_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of pages that the readers of one filter share, and of the pages' wire forms.
pub const SHARED_PAGES_BYTES: usize = 16 * 1024 * 1024;
/// Up to so many bytes of events, a poll's answer is kept whole for all who get the same; a larger
/// one is put together anew from pieces that are shared.
pub const SHARED_ANSWER_BYTES: usize = 2 * 1024;

/// Up to so many readers that are more than a page behind read on at full speed: a live reader
/// waits behind a page of each of them, some milliseconds.
pub const CATCH_UP_AT_FULL_SPEED: usize = 128;
/// Bytes per second and core that all of them get together where they are more than those.
/// Twice as much is possible, but delays live readers.
pub const CATCH_UP_BYTES_PER_SECOND_PER_CORE: u64 = 160_000_000;
/// The longest that a page of theirs waits for its turn.
pub const CATCH_UP_MAX_WAIT: Duration = Duration::from_secs(1);
/// About what an event takes on the wire besides its texts and data, in bytes.
pub const EVENT_OVERHEAD_ON_WIRE_BYTES: usize = 64;

/// How late it may be noticed that the credential of somebody who is served has expired.
pub const CREDENTIAL_CHECK: Duration = Duration::from_secs(1);
/// After a revocation the subscriptions of those with credentials are woken over this time at most,
/// so that all have looked at theirs before 3 s are over also where another one was just begun …
pub const RECHECK_OVER: Duration = Duration::from_millis(750);
/// … and with no more than this between two chunks of them.
pub const RECHECK_PACE: Duration = Duration::from_millis(2);

/// Events deleted in one step of retention; the bound keeps publishing from waiting long.
pub const TRIM_STEP_EVENTS: u32 = 500;
/// Bytes of such events, unless a single one is larger: each of their pages has to be freed.
pub const TRIM_STEP_BYTES: u64 = 8 * 1024 * 1024;
/// Topics, rows of the index, and publishers' ids deleted in one step of retention; each of them.
pub const TRIM_STEP_ROWS: u32 = 500;
/// After a step, publishers have the writer for as long as the step took; this is the longest that
/// retention waits for them.
pub const TRIM_MAX_PAUSE: Duration = Duration::from_millis(100);
/// Steps of retention in a row, where publishers add faster than single steps delete: about what
/// the largest group adds.
pub const TRIM_STEPS_IN_A_ROW: usize = 1 + MAX_BATCH_EVENTS / TRIM_STEP_EVENTS as usize;

/// Events deleted in one step on a full disk, where each deletion needs some of a small reserve.
pub const TRIM_STEP_EVENTS_IF_FULL: u32 = 100;

/// Steps of the wall clock up to this are followed at once; a larger step is a jump.
pub const CLOCK_STEP: Duration = Duration::from_secs(10);
/// A wall clock that has jumped is trusted again after it has run steadily for this long.
pub const CLOCK_SETTLES: Duration = Duration::from_secs(600);
/// A wall clock that is further ahead of the log than this at start is taken to have jumped.
pub const CLOCK_MAX_DOWNTIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// A wall clock that jumps back and forth is reported at most this often.
pub const CLOCK_REPORTED_EVERY: Duration = Duration::from_secs(60);
/// How often the log records how long it has been open, where no event does so. At most this much
/// time is not counted after a crash.
pub const CLOCK_NOTED_EVERY: Duration = Duration::from_secs(600);

/// Topics listed in one answer, at most and by default.
pub const MAX_LISTED_TOPICS: u32 = 1000;
/// Topics a filter's wildcards are expanded to before a read scans the log instead.
pub const MAX_EXPANDED_TOPICS: usize = 1024;
/// Topics of the log that are looked at in one step of such a search, or of a list: about 5 ms.
pub const TOPIC_SCAN_STEP: usize = 16_384;
/// Bytes of what has been found of filters, for the next page of the same filter.
pub const TOPIC_SETS_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of old events that are cached for the next reader of the same part of the log.
pub const COLD_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Readers of the log on disk at once.
pub const COLD_READERS: usize = 4;
/// A database up to this size, in bytes, is checked completely at start.
pub const FULL_CHECK_BYTES: u64 = 256 * 1024 * 1024;

/// How long a commit waits for the write lock of the database. While another program holds it for
/// longer, publishers are refused at once.
pub const WRITE_LOCK_WAIT: Duration = Duration::from_secs(1);
/// How long the start waits for that lock before it goes on without it.
pub const START_LOCK_WAIT: Duration = Duration::from_secs(3);
/// How often the log on disk is probed: its files, its disk, its write lock.
pub const LOG_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// No event is acknowledged that was written later than this after the log's files were last seen
/// under their names.
pub const FILES_CHECK_MAX_AGE: Duration = Duration::from_millis(100);
/// A disk that does not accept this many bytes is full.
pub const FULL_DISK_BYTES: u64 = 64 * 1024;
/// With no more space left on the disk than this, each commit first checks that the database can
/// grow by the content of the write-ahead log.
pub const NEARLY_FULL_BYTES: u64 = 64 * 1024 * 1024;
/// Pages of 4 KiB of the write-ahead log that the writer itself copies after a commit, at most.
pub const WRITER_COPIES_PAGES: u32 = 256;
/// Pages that commits add to the write-ahead log during copying before they may have to wait.
pub const WRITER_AHEAD_PAGES: u32 = 8192;
/// How long a commit waits for a copying pass of no more than that many pages to be synced.
pub const COPY_GATE: Duration = Duration::from_millis(20);
/// How long a commit waits for copying that is far behind.
pub const COPY_MAX_WAIT: Duration = Duration::from_secs(1);
/// A longer write-ahead log is cut to this many bytes when it starts over.
pub const WAL_KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// A write-ahead log above this many bytes is warned of while a reader keeps it from starting over,
/// …
pub const WAL_WARN_BYTES: u64 = 64 * 1024 * 1024;
/// … and no more often than this.
pub const WAL_WARN_INTERVAL: Duration = Duration::from_secs(60);
/// How often gRPC health is updated from readiness.
pub const READINESS_INTERVAL: Duration = Duration::from_millis(250);

/// How long a request with a cursor from the future waits for this gateway to catch up (contract
/// §3).
pub const AHEAD_WAIT: Duration = Duration::from_secs(3);
/// How long the answer to a publisher waits for its durable events to be visible here, where others
/// append to the log as well.
pub const VISIBLE_WAIT: Duration = Duration::from_secs(3);
/// A reader whose page brought it no further asks for the next one after this long: the replica of
/// a shared log that answered lags.
pub const EMPTY_PAGE_PAUSE: Duration = Duration::from_millis(20);
/// A long-poll's wait when none is given (contract §5): many proxies give up at 30 s.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(25);
/// A long-poll's longest wait (contract §5).
pub const MAX_WAIT: Duration = Duration::from_secs(120);
/// How long the legacy page waits unless it is configured: proxies give up after 60 s.
pub const LEGACY_WAIT: Duration = Duration::from_secs(55);

/// Lines of `vidette publish --ndjson` that are not answered yet.
pub const PUBLISH_WINDOW_LINES: usize = 2 * PUBLISH_STREAM_PIPELINE;
/// Bytes of such lines, unless a single one is larger.
pub const PUBLISH_WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Chunks of lines that wait to be written to the connection.
pub const PUBLISH_CHUNKS: usize = 16;
/// Bytes of lines that are sent before the gateway has begun to answer: a proxy that buffers a
/// request until it has ended accepts no more than 1 MB of it by default.
pub const PUBLISH_UNHEARD_BYTES: usize = 512 * 1024;
/// `vidette publish --ndjson` ends a request whose lines are not answered for this long, so that a
/// proxy that buffers it passes it on.
pub const PUBLISH_ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Behind such a proxy it ends a request when there was no input for this long.
pub const PUBLISH_LINGER: Duration = Duration::from_millis(50);
/// A request without further lines is ended after this long: proxies give up after 60 s.
pub const PUBLISH_IDLE_REQUEST: Duration = Duration::from_secs(25);
/// A gateway whose machine acknowledges no packet for this long is considered gone by `vidette
/// publish --ndjson`.
pub const PUBLISH_PEER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an interrupted `vidette publish --ndjson` waits for answers to what it has sent.
pub const PUBLISH_FAREWELL: Duration = Duration::from_secs(2);

/// How long a connection may still send after its last answer: closing it with unread bytes would
/// reset it, and its peer would lose the answer.
pub const LINGER: Duration = Duration::from_secs(2);
/// Bytes that such a connection may still send: the rest of a body that was refused.
pub const LINGER_BYTES: usize = MAX_BODY_BYTES;
/// A new connection has to send its first byte within this time, and a request head has to be
/// complete within this time.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept by default: proxies keep theirs for 60 s, and it should not
/// be the gateway that closes first.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(75);
/// An idle connection is kept for this much longer than is announced to its peer, so that a request
/// at the last moment still finds it open.
pub const KEEP_ALIVE_SLACK: Duration = Duration::from_secs(5);
/// A request body that is not a stream has to be complete within this time.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one line of an NDJSON stream.
pub const MAX_LINE_BYTES: usize = 5 * 1024 * 1024;
/// How long the gateway waits for a client that does not read its NDJSON answers, or sends no
/// lines.
pub const NDJSON_IDLE: Duration = Duration::from_secs(300);
/// A request head's size in bytes; hyper's read buffer may not be smaller than 8 KiB.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Bytes of one connection that the kernel buffers before they are on the wire. Without a bound it
/// takes several MiB, and it goes unnoticed that the peer does not read.
pub const UNSENT_BYTES: u32 = 128 * 1024;
/// HTTP/2 streams on one connection.
pub const MAX_H2_STREAMS: u32 = 1024;
/// Streams of one connection that were reset before they were accepted, and those reset for an
/// error of the peer. All callers of a shared connection may give up at once; a connection with
/// more resets is closed (CVE-2023-44487).
pub const MAX_H2_RESETS: usize = MAX_H2_STREAMS as usize;
/// Bytes that HTTP/2 buffers for one stream before its subscription has to wait.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Answers of gRPC calls are compressed from this many bytes on, for clients that accept it.
pub const COMPRESSED_FROM_BYTES: usize = 4 * 1024;
/// A message of up to this many bytes is sent in one piece with the greeting of its gRPC stream.
pub const TOGETHER_BYTES: usize = 1024;
/// Bytes that HTTP/2 gathers on one connection before it writes them.
pub const H2_CORK_BYTES: usize = 64 * 1024;
/// How often HTTP/2 pings a silent peer.
pub const H2_KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a peer may take to answer a ping.
pub const H2_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients are asked to reconnect after this long, in milliseconds, …
pub const RETRY_MS: u32 = 1000;
/// … or after this long if the gateway has no capacity for them now, …
pub const BUSY_RETRY_MS: u32 = 3000;
/// … plus a random part up to this, so that they do not all come at once.
pub const RETRY_JITTER_MS: u32 = 2000;

const _: () = {
    assert!(
        PAGE_BYTES + MAX_EVENT_BYTES_CEILING < 4 * 1024 * 1024,
        "a gRPC message stays under a client's default limit"
    );
    assert!(
        MAX_LINE_BYTES > MAX_EVENT_BYTES_CEILING * 4 / 3,
        "a line holds the largest event in base64"
    );
    assert!(
        MAX_BODY_BYTES < PUBLISH_STREAMS_BYTES
            && MAX_BODY_BYTES < PUBLISH_QUEUE_BYTES - PUBLISH_STREAMS_BYTES,
        "one request fits into the streams' part of the queue, and into the other part"
    );
    assert!(
        PUBLISH_STREAMS_REQUESTS <= PUBLISH_QUEUE_REQUESTS / 2
            && PUBLISH_STREAMS_BYTES <= PUBLISH_QUEUE_BYTES / 2,
        "at least half of the queue is kept free for single requests"
    );
    assert!(
        PUBLISH_STREAM_PIPELINE <= PUBLISH_STREAMS_REQUESTS / 4
            && PUBLISH_STREAM_BYTES <= PUBLISH_STREAMS_BYTES / 4,
        "a few streams make progress side by side"
    );
    assert!(
        MAX_LINE_BYTES <= PUBLISH_STREAM_BYTES && GROUP_BYTES <= PUBLISH_STREAM_BYTES,
        "a line fits into its stream's part, and one stream alone fills a commit"
    );
    assert!(
        MAX_NEAR_SHAPES + MAX_FAR_SHAPES < 2000,
        "an event of the worst topic is matched within about a tenth of a millisecond"
    );
    assert!(
        MAX_PATTERNS >= 1000 * MAX_FILTER_TOPICS,
        "a thousand of the largest filters fit"
    );
    assert!(
        SOURCE_BATCH_EVENTS <= MAX_BATCH_EVENTS,
        "the work that a source pulls fits into one batch"
    );
    assert!(
        DATABASE_ANSWER_MAX.as_secs() < SOURCE_LOOKBACK.as_secs(),
        "events published while an acknowledgement was pending are still looked back at"
    );
    assert!(
        SOURCE_TEXT_BYTES * 2 <= MAX_HEADERS_BYTES,
        "the reason of a refusal fits into the headers of a dead letter"
    );
    assert!(
        TRIM_STEP_ROWS >= TRIM_STEP_EVENTS,
        "index rows and ids are deleted as fast as their events"
    );
    assert!(
        RING_EVENTS > PAGE_SCAN_EVENTS,
        "a page of the ring is only a part of it"
    );
};
