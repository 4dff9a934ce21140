//! What a reader gets, one item after the other.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::client::error::ClientError;
use crate::client::event::ReceivedEvent;
use crate::client::http::GatewayHttp;
use crate::client::token::BearerToken;
use crate::cursor::{Cursor, Vid};

/// One item of a [`Reader`](super::Reader).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReadItem {
    /// A connection has been made, and reading begins or goes on.
    Connected(LogBounds),
    /// The next event. Its cursor is the one to save once it has been handled.
    Event(ReceivedEvent),
    /// Everything up to this cursor has been delivered: what comes now is live.
    CaughtUp(Cursor),
    /// Nothing matches up to this cursor; it may be saved like that of an event.
    Progress(Cursor),
    /// Events were lost to retention, or the log is another one. It comes before the event behind
    /// the gap, and is never left out.
    Gap(GapReport),
    /// The gateway ends this connection, and the reader will come back by itself.
    Closing {
        /// `shutdown`, `busy`, `behind` or `expired`, or a reason of a later version.
        reason: String,
    },
    /// The connection has ended; the reader waits and connects again by itself.
    Interrupted(Interruption),
}

/// A connection has ended, and the next one will be made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interruption {
    /// Why it ended; an orderly end is an error of the kind
    /// [`Unavailable`](crate::client::ClientErrorKind::Unavailable).
    pub error: ClientError,
    /// Where reading will resume, as the parameter of a request: a cursor, `earliest`, `latest` or
    /// a time.
    pub resume_from: String,
    /// How long the reader waits before it connects.
    pub wait: Duration,
}

/// The log as it stood when a connection was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LogBounds {
    /// The name of the log.
    pub epoch: String,
    /// The oldest retained vid.
    pub first: Vid,
    /// The newest vid.
    pub last: Vid,
    /// Something comes at least this often, in milliseconds. Zero with long-poll, where each answer
    /// has a time of its own.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// The topics that are served, where the reader may read only a part of what it asked for; else
    /// empty.
    #[serde(default)]
    pub filter: Vec<String>,
}

/// Events that the reader has not seen are gone, or may be (contract §3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GapReport {
    /// `expired` (lost to retention), `reset` (another log) or `ahead` (the cursor is beyond the
    /// log's end), or a reason of a later version.
    pub reason: String,
    /// The cursor that could not be served.
    pub requested: String,
    /// The oldest retained vid.
    pub first: Vid,
    /// The newest vid.
    pub last: Vid,
    /// The name of the log.
    pub epoch: String,
}

impl fmt::Display for GapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GapReport {
            reason,
            requested,
            first,
            last,
            ..
        } = self;
        write!(
            f,
            "gap ({reason}): the cursor {requested} cannot be served, \
             the gateway has vid {first} to {last}"
        )
    }
}

/// What a transport brought, before the reader has looked at it.
#[derive(Debug)]
pub(super) enum Received {
    /// The head of a stream.
    Opened,
    /// Some bytes, which complete nothing yet.
    Activity,
    Bounds(LogBounds),
    Event(ReceivedEvent),
    CaughtUp(Cursor),
    Progress(Cursor),
    Gap(GapReport),
    /// An SSE `retry:` field.
    Retry(Duration),
    Closing {
        reason: String,
        retry: Duration,
    },
}

impl Received {
    /// A stream that ends because of its token is followed by one with a fresh token.
    pub(super) fn heed_expiry(&self, http: &GatewayHttp, token: Option<&BearerToken>) {
        if matches!(self, Received::Closing { reason, .. } if reason == "expired") {
            http.refuse(
                token,
                "the gateway has ended the stream, as the token has expired",
            );
        }
    }
}
