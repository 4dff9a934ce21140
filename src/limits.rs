//! Every bound that is not configurable, named with its unit.
//!
//! Invariants:
//! - nothing in vidette grows without a bound from here or from [`crate::config`];
//! - bounds that depend on each other are asserted at compile time, below them.

use std::time::Duration;

/// The largest vid: exact as a JavaScript number (contract §1).
pub const MAX_VID: u64 = (1 << 53) - 1;

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
/// Headers an event.
pub const MAX_HEADERS: usize = 32;
/// Bytes of all names and values of an event's headers.
pub const MAX_HEADERS_BYTES: usize = 4 * 1024;

/// Topics one subscription may ask for.
pub const MAX_FILTER_TOPICS: usize = 100;
/// Patterns of all filters that are subscribed to; a filter that many subscribe to counts once.
/// Each takes about 150 bytes beside its text, which it takes too.
pub const MAX_PATTERNS: usize = 500_000;
/// `*` may stand in every combination within so many tokens from a pattern's begin.
pub const NEAR_TOKENS: usize = 6;
/// Combinations of `*` beyond them that all patterns together may have. What matching an event
/// costs grows with the combinations that its number of tokens fits: 16 tokens, the most, fit all
/// of these and [`MAX_NEAR_SHAPES`].
pub const MAX_FAR_SHAPES: usize = 512;
/// Combinations of wildcards near a pattern's begin that fit a topic of 16 tokens: closed ones of
/// as many tokens, and those that end earlier with `>`.
pub const MAX_NEAR_SHAPES: usize = (1 << NEAR_TOKENS)
    + ((1 << NEAR_TOKENS) - 1)
    + (MAX_TOPIC_TOKENS - NEAR_TOKENS) * (1 << NEAR_TOKENS);
/// Events one answer or stream may be limited to.
pub const MAX_LIMIT: u32 = 1_000_000;

/// The largest event data that the configuration may allow, in bytes. A gRPC client refuses
/// messages over 4 MiB by default; an event has to fit with room to spare.
pub const MAX_EVENT_BYTES_CEILING: usize = 3 * 1024 * 1024;
/// Events one atomic batch may hold.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// The body of a publish request in bytes; a batch's data has to fit in it.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Publish requests that are waiting or being written.
pub const PUBLISH_QUEUE_REQUESTS: usize = 4096;
/// Bytes of publish requests that are waiting or being written.
pub const PUBLISH_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Of the queue's requests, those that publish streams and sources together may hold. The others
/// are always there for single requests, which are refused where streams wait.
pub const PUBLISH_STREAMS_REQUESTS: usize = PUBLISH_QUEUE_REQUESTS / 2;
/// Of the queue's bytes, likewise; and the bytes of the largest batch.
pub const PUBLISH_STREAMS_BYTES: usize = PUBLISH_QUEUE_BYTES / 2;
/// Bytes of one publish stream that are waiting or being written, unless a single request is
/// larger.
pub const PUBLISH_STREAM_BYTES: usize = PUBLISH_STREAMS_BYTES / 4;
/// Events one group commit takes together, unless a single batch is larger.
pub const GROUP_EVENTS: usize = 4096;
/// Bytes one group commit takes together, unless a single batch is larger.
pub const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Requests of one publish stream that may be on their way at once.
pub const PUBLISH_STREAM_PIPELINE: usize = 256;

/// Ids remembered within the dedupe window; more are refused until older ones leave it.
pub const MAX_DEDUPE_IDS: u64 = 10_000_000;

/// Events one page holds.
pub const PAGE_EVENTS: usize = 1000;
/// Bytes of events one page holds; a single larger event is a page of its own.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Bytes of the snapshot that one long-poll answers; what is beyond comes as plain events with the
/// next polls.
pub const SNAPSHOT_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Events one page looks at, whether they match or not.
pub const PAGE_SCAN_EVENTS: usize = 8192;

/// Events in the ring of recent ones.
pub const RING_EVENTS: usize = 32_768;
/// Bytes of events in the ring of recent ones.
pub const RING_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of pages that readers of one filter have in common, with what transports made of them.
pub const SHARED_PAGES_BYTES: usize = 16 * 1024 * 1024;

/// Bytes a second and core that readers get together while they are more than a page behind. Twice
/// as much is possible, but then those who read live wait.
pub const CATCH_UP_BYTES_PER_SECOND_PER_CORE: u64 = 160_000_000;
/// No page of theirs waits longer than this for its turn.
pub const CATCH_UP_MAX_WAIT: Duration = Duration::from_secs(1);
/// What an event takes on the wire beside its texts and data, about, in bytes.
pub const EVENT_OVERHEAD_ON_WIRE_BYTES: usize = 64;

/// Readers of one filter are told of events at most this often for each of them, …
pub const ROUND_SPACING_PER_READER: Duration = Duration::from_micros(28);
/// … at most this often however few they are, …
pub const MIN_ROUND_SPACING: Duration = Duration::from_millis(1);
/// … and never later than this after the last time.
pub const MAX_ROUND_SPACING: Duration = Duration::from_millis(100);
/// So few readers are woken by the sequencer itself.
pub const FEW_READERS: usize = 16;

/// Events deleted in one step of retention, so that publishing is never held up for long.
pub const TRIM_STEP_EVENTS: u32 = 2000;

/// The same on a full disk, where each deletion needs some of a small reserve.
pub const TRIM_STEP_EVENTS_IF_FULL: u32 = 100;

/// Topics listed in one answer, at most and by default.
pub const MAX_LISTED_TOPICS: u32 = 1000;
/// Topics a filter's wildcards are expanded to before a read scans the log instead.
pub const MAX_EXPANDED_TOPICS: usize = 256;

/// Bytes of old events that are kept for the next reader of the same part of the log.
pub const COLD_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Readers of the log on disk at once.
pub const COLD_READERS: usize = 4;
/// A database up to this size is checked whole at start, in bytes.
pub const FULL_CHECK_BYTES: u64 = 256 * 1024 * 1024;

/// How long a cursor from the future waits for this gateway to catch up (contract §3).
pub const AHEAD_WAIT: Duration = Duration::from_secs(3);
/// A long-poll's wait when none is given (contract §5).
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// A long-poll's longest wait (contract §5).
pub const MAX_WAIT: Duration = Duration::from_secs(120);

/// Pieces of work that a source pulls and publishes together.
pub const SOURCE_BATCH_EVENTS: usize = 1000;
/// A source that failed is tried again after this long …
pub const SOURCE_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// … and, when it goes on failing, at last after this long.
pub const SOURCE_BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Ids are remembered for so long by default where a source may give the same job again.
pub const SOURCE_DEDUPE_WINDOW: Duration = Duration::from_secs(3600);
/// How far back from its end the log is read at start, for events whose acknowledgement may not
/// have arrived.
pub const SOURCE_LOOKBACK: Duration = Duration::from_secs(60);
/// Ids of such events that are remembered beyond the dedupe window.
pub const SOURCE_KNOWN_IDS: usize = 200_000;
/// Notes of broken connections that are read back at start, the newest ones.
pub const SOURCE_NOTES: usize = 1000;
/// Bytes of the text of a source's fault, or of a refusal, that are kept.
pub const SOURCE_TEXT_BYTES: usize = 1024;

/// A source's name in bytes.
pub const SOURCE_NAME_BYTES: usize = 128;
/// Bytes of jobs that one Gearman server may have in the gateway's hands: `concurrency` times
/// `max_event_bytes`.
pub const GEARMAN_HELD_BYTES: usize = 256 * 1024 * 1024;
/// A Gearman function's or unique id's length in bytes; a job server takes no longer ones.
pub const GEARMAN_NAME_BYTES: usize = 512;
/// Bytes of a job packet beside its workload: handle, function and unique id.
pub const GEARMAN_ARGUMENTS_BYTES: usize = 4 * 1024;
/// A job server has to accept a connection within this time.
pub const GEARMAN_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A job server that is silent for this long when it should answer is taken to be gone.
pub const GEARMAN_REPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// A job server that has no job is asked this often whether it is still there.
pub const GEARMAN_IDLE: Duration = Duration::from_secs(15);
/// How often a busy job server is asked how many jobs wait.
pub const GEARMAN_STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to tell.
pub const GEARMAN_STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of that answer, which has a line for each function.
pub const GEARMAN_STATUS_BYTES: u64 = 1024 * 1024;

/// Bytes of rows that are read together from a database; a single larger row is read by itself.
pub const SOURCE_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The longest that an answer of a database may be waited for.
pub const DATABASE_ANSWER_MAX: Duration = Duration::from_secs(30);
/// The shortest and the longest time between two looks at an outbox that nothing tells of.
pub const DATABASE_POLL_MIN: Duration = Duration::from_millis(10);
/// See [`DATABASE_POLL_MIN`].
pub const DATABASE_POLL_MAX: Duration = Duration::from_secs(3600);
/// Rows that wait in an outbox are counted up to this many …
pub const DATABASE_LAG_ROWS: i64 = 100_000;
/// … and no more often than this.
pub const DATABASE_LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Lines of `vidette publish --ndjson` that have no answer yet.
pub const PUBLISH_WINDOW_LINES: usize = 2 * PUBLISH_STREAM_PIPELINE;
/// Bytes of such lines, unless a single one is larger.
pub const PUBLISH_WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Lines that wait to be written to the connection.
pub const PUBLISH_CHUNKS: usize = 16;
/// `vidette publish --ndjson` asks again for a gateway that has gone after this long …
pub const PUBLISH_RETRY_MIN: Duration = Duration::from_millis(100);
/// … and at last after this long.
pub const PUBLISH_RETRY_MAX: Duration = Duration::from_secs(5);
/// A gateway whose machine acknowledges nothing for this long is taken to be gone by `vidette
/// publish --ndjson`.
pub const PUBLISH_PEER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an interrupted `vidette publish --ndjson` waits for answers to what it has sent.
pub const PUBLISH_FAREWELL: Duration = Duration::from_secs(2);

/// Connections that wait to be accepted, as after a restart; the kernel may allow fewer
/// (`net.core.somaxconn`).
pub const ACCEPT_BACKLOG: u32 = 4096;
/// A request head has to be complete within this time.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request body that is not a stream has to be complete within this time.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one line of an NDJSON stream.
pub const MAX_LINE_BYTES: usize = 5 * 1024 * 1024;
/// How long an unread NDJSON answer or a silent NDJSON sender is kept.
pub const NDJSON_IDLE: Duration = Duration::from_secs(300);
/// A request head's size in bytes; hyper's read buffer may not be smaller than 8 KiB.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// HTTP/2 streams on one connection.
pub const MAX_H2_STREAMS: u32 = 1024;
/// Bytes HTTP/2 buffers for one stream before its subscription has to wait.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A message up to so many bytes goes out in one piece with the greeting of its gRPC stream.
pub const TOGETHER_BYTES: usize = 1024;
/// Bytes HTTP/2 gathers on one connection before it writes them.
pub const H2_CORK_BYTES: usize = 64 * 1024;
/// HTTP/2 asks a silent peer whether it is there this often.
pub const H2_KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a peer may take to answer that.
pub const H2_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long streams may take to end at shutdown.
pub const DRAIN: Duration = Duration::from_secs(8);

/// Clients are asked to come back after this long, in milliseconds …
pub const RETRY_MS: u32 = 1000;
/// … plus a random part up to this, so that they do not come all at once.
pub const RETRY_JITTER_MS: u32 = 2000;

/// `vidette bench`: readers, at most; those with a connection each are bounded by open files
/// before.
pub const BENCH_READERS: usize = 1_000_000;
/// `vidette bench`: connections that are being opened at once.
pub const BENCH_OPENING: usize = 256;
/// `vidette bench`: connections from one loopback address; more, and the kernel searches long for a
/// free port.
pub const BENCH_CONNECTIONS_A_SOURCE: usize = 4000;
/// `vidette bench`: bytes of one read.
pub const BENCH_READ_BYTES: usize = 64 * 1024;
/// `vidette bench`: bytes that a reader still reads before it hangs up, at most.
pub const BENCH_HANG_UP_BYTES: usize = 1000;
/// `vidette bench`: bytes of an event that is read whole.
pub const BENCH_EVENT_BYTES: usize = 2 * MAX_EVENT_BYTES_CEILING;
/// `vidette bench`: looks at the server's memory that are kept of a run.
pub const BENCH_MEMORY_LOOKS: usize = 64;
/// `vidette bench`: open files beside those of the readers.
pub const BENCH_OTHER_FILES: usize = 100;
/// `vidette bench`: the longest latency that is told apart, in microseconds.
pub const BENCH_LATENCY_US: u64 = 600_000_000;
/// `vidette bench`: refused publish requests after which a publisher gives up.
pub const BENCH_FAULTS: u64 = 1000;
/// `vidette bench`: how long an answer may take.
pub const BENCH_ANSWER_WAIT: Duration = Duration::from_secs(10);
/// `vidette bench`: how long all readers together may take to connect.
pub const BENCH_CONNECT_WAIT: Duration = Duration::from_secs(60);
/// `vidette bench`: how long catching up may take.
pub const BENCH_RESUME_WAIT: Duration = Duration::from_secs(300);
/// `vidette bench`: bytes of a text in a request's head over HTTP/2, as its length is sent in 7
/// bits.
pub const BENCH_HPACK_BYTES: usize = 126;

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
        "one request fits into what streams may hold, and into what they leave"
    );
    assert!(
        PUBLISH_STREAMS_REQUESTS <= PUBLISH_QUEUE_REQUESTS / 2
            && PUBLISH_STREAMS_BYTES <= PUBLISH_QUEUE_BYTES / 2,
        "at least half of the queue is left to single requests"
    );
    assert!(
        PUBLISH_STREAM_PIPELINE <= PUBLISH_STREAMS_REQUESTS / 4
            && PUBLISH_STREAM_BYTES <= PUBLISH_STREAMS_BYTES / 4,
        "a few streams go on beside one another"
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
        "what a source pulls fits into one batch"
    );
    assert!(
        DATABASE_ANSWER_MAX.as_secs() < SOURCE_LOOKBACK.as_secs(),
        "what was published while an acknowledgement hung is still looked back at"
    );
    assert!(
        SOURCE_TEXT_BYTES * 2 <= MAX_HEADERS_BYTES,
        "a refusal fits into the headers of a dead letter"
    );
    assert!(
        RING_EVENTS > PAGE_SCAN_EVENTS,
        "a page of the ring is a part of it"
    );
    assert!(DRAIN.as_secs() < 10, "shutdown ends within 10 s");
};
