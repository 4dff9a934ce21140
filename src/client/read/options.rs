//! What to read, from where, and over which transport.

use std::fmt;
use std::time::Duration;

use crate::cursor::Cursor;
use crate::limits;

/// What a reader is to read; by default everything from now on, by the transport that comes
/// through.
///
/// ```
/// use vidette::client::{GapPolicy, ReadOptions, Transport};
///
/// let options = ReadOptions::new()
///     .topic("door.*")
///     .after("1042-k3x9q2")
///     .via(Transport::LongPoll)
///     .on_gap(GapPolicy::Fail);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct ReadOptions {
    pub(super) topics: Vec<String>,
    pub(super) start: ReadStart,
    pub(super) transport: Transport,
    pub(super) gap_policy: GapPolicy,
    pub(super) give_up_after: Option<Duration>,
    pub(super) stream_again: Duration,
    pub(super) max_event_bytes: Option<usize>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            topics: Vec::new(),
            start: ReadStart::default(),
            transport: Transport::default(),
            gap_policy: GapPolicy::default(),
            give_up_after: None,
            stream_again: limits::READ_STREAM_AGAIN,
            max_event_bytes: None,
        }
    }
}

/// How events come. All bring the same events in the same order (contract §5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// SSE; and long-poll for ten minutes where something on the way holds streams back, cuts them
    /// or does not know them.
    #[default]
    Auto,
    /// Server-Sent Events, `GET /v1/sse`.
    Sse,
    /// One request after another, `GET /v1/poll`: for ways that hold streams back.
    LongPoll,
    /// `vidette.v1.EventBus/Subscribe`, over HTTP/2.
    #[cfg(feature = "client-grpc")]
    Grpc,
}

/// What to do when events that the reader has not seen are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GapPolicy {
    /// Deliver [`ReadItem::Gap`](super::ReadItem::Gap), then read on.
    #[default]
    Continue,
    /// End with an error of the kind [`Gap`](crate::client::ClientErrorKind::Gap).
    Fail,
    /// Deliver the gap, then read the newest event of every topic, and on from there.
    Snapshot,
}

/// Where reading starts, as the parameters of a request name it (contract §3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ReadStart {
    /// What comes from now on.
    #[default]
    Latest,
    /// A cursor, `earliest` or `latest`.
    After(String),
    /// A time, or a duration before now.
    Since(String),
    /// The newest event of every topic.
    Snapshot,
}

impl ReadOptions {
    /// Everything from now on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a topic, exact or with wildcards: `*` stands for one token, a last `>` for one or more.
    /// Without any, all topics are read.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Adds topics.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Starts after a saved cursor; or with the oldest retained event (`earliest`), or with the
    /// next one (`latest`). The last call of `after`, [`since`](Self::since) and
    /// [`snapshot`](Self::snapshot) counts.
    #[must_use]
    pub fn after(mut self, cursor: &(impl ToString + ?Sized)) -> Self {
        self.start = ReadStart::After(cursor.to_string());
        self
    }

    /// Starts at a time (RFC 3339, `2026-11-22T10:00:00Z`) or so long before now (`15m`).
    #[must_use]
    pub fn since(mut self, time: impl Into<String>) -> Self {
        self.start = ReadStart::Since(time.into());
        self
    }

    /// Starts with the newest event of every matching topic.
    #[must_use]
    pub fn snapshot(mut self) -> Self {
        self.start = ReadStart::Snapshot;
        self
    }

    /// Reads over this transport.
    #[must_use]
    pub fn via(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What to do when events are lost.
    #[must_use]
    pub fn on_gap(mut self, policy: GapPolicy) -> Self {
        self.gap_policy = policy;
        self
    }

    /// Ends with the last error when no gateway could be read from for this long. Without it the
    /// reader tries for ever.
    #[must_use]
    pub fn give_up_after(mut self, outage: Duration) -> Self {
        self.give_up_after = Some(outage);
        self
    }

    /// With [`Transport::Auto`]: how long to poll before a stream is tried again; 10 min unless it
    /// is set.
    #[must_use]
    pub fn stream_again_after(mut self, time: Duration) -> Self {
        self.stream_again = time;
        self
    }

    /// Ends with an error of the kind [`TooLarge`](crate::client::ClientErrorKind::TooLarge) at an
    /// event with more data than this. Without it every event that a gateway may take is read.
    #[must_use]
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = Some(bytes);
        self
    }

    /// Bytes of one event on the wire, in whatever form its data comes.
    pub(super) fn most_wire_bytes(&self) -> usize {
        match self.max_event_bytes {
            // A byte of text takes up to six in JSON.
            Some(bytes) => bytes.saturating_mul(6) + limits::READ_EVENT_OVERHEAD_BYTES,
            None => limits::READ_ANSWER_BYTES,
        }
    }
}

impl ReadStart {
    /// The query parameter that says it.
    pub(super) fn parameter(&self) -> Option<(&'static str, String)> {
        match self {
            ReadStart::Latest => None,
            ReadStart::After(cursor) => Some(("after", cursor.clone())),
            ReadStart::Since(time) => Some(("since", time.clone())),
            ReadStart::Snapshot => Some(("snapshot", "true".to_owned())),
        }
    }

    /// Does it name the live end, wherever that is when the request arrives?
    pub(super) fn is_latest(&self) -> bool {
        match self {
            ReadStart::Latest => true,
            ReadStart::After(cursor) => cursor == "latest",
            ReadStart::Since(_) | ReadStart::Snapshot => false,
        }
    }

    /// The cursor that it names, where it is one.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        match self {
            ReadStart::After(cursor) => cursor.parse().ok(),
            ReadStart::Latest | ReadStart::Since(_) | ReadStart::Snapshot => None,
        }
    }
}

impl fmt::Display for ReadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadStart::Latest => "latest",
            ReadStart::After(text) | ReadStart::Since(text) => text,
            ReadStart::Snapshot => "a snapshot",
        })
    }
}

/// What one connection asks for.
#[derive(Debug, Clone)]
pub(super) struct ReadQuery {
    pub(super) topics: Vec<String>,
    pub(super) start: ReadStart,
    pub(super) fails_at_gap: bool,
    /// Bytes that one event may have on the wire.
    pub(super) most_wire_bytes: usize,
}

impl ReadQuery {
    /// The query parameters of `/v1/sse` and `/v1/poll`.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let topics = self.topics.iter().map(|topic| ("topic", topic.clone()));
        // To go on is the default of the contract.
        let on_gap = self.fails_at_gap.then(|| ("on_gap", "fail".to_owned()));
        topics.chain(self.start.parameter()).chain(on_gap).collect()
    }
}
