//! One connection until now: what it brought, and what its end means.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::StreamEnd;
use crate::client::backoff::ConnectionEnd;
use crate::client::clock::ClientClock;
use crate::client::error::ClientError;
use crate::limits;

/// A connection until now.
#[derive(Debug)]
pub(super) struct ConnectionRecord {
    began: Instant,
    /// When the head of a stream came.
    opened: Option<Instant>,
    /// Something came behind it.
    pub(super) has_spoken: bool,
    pub(super) epoch: Option<String>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) brought_an_event: bool,
    pub(super) is_closing: bool,
    /// The wait before the next connection that the server asked for.
    pub(super) asked: Option<Duration>,
}

impl ConnectionRecord {
    pub(super) fn new(now: Instant) -> Self {
        ConnectionRecord {
            began: now,
            opened: None,
            has_spoken: false,
            epoch: None,
            heartbeat: None,
            brought_an_event: false,
            is_closing: false,
            asked: None,
        }
    }

    /// The head of a stream came.
    pub(super) fn opened(&mut self) {
        self.opened = Some(Instant::now());
    }

    /// Has a stream begun that has not brought a byte yet?
    pub(super) fn is_mute(&self) -> bool {
        self.opened.is_some() && !self.has_spoken
    }

    /// How it ended, when it ended with this error.
    pub(super) fn end(
        &self,
        error: &ClientError,
        clock: &ClientClock,
        now: Instant,
    ) -> ConnectionEnd {
        // Whatever ended a connection that had lasted, it is no reason to stay away.
        let lasted = now - self.began >= clock.limit(limits::READ_GOOD_CONNECTION);
        let asked_by_error = Some(error.retry_after()).filter(|pause| !pause.is_zero());
        ConnectionEnd {
            is_orderly: self.is_closing || lasted,
            was_good: self.brought_an_event || lasted,
            asked: self.asked.max(asked_by_error),
        }
    }

    /// What its end says about the way to the gateway, where it was a stream.
    pub(super) fn stream_end(
        &self,
        error: &ClientError,
        clock: &ClientClock,
        now: Instant,
    ) -> StreamEnd {
        let Some(opened) = self.opened else {
            // A page in place of a stream is an error with the status of a success.
            return match error.status() {
                Some(200 | 502 | 504) => StreamEnd::WrongAnswer,
                _ => StreamEnd::Unknown,
            };
        };
        let lasted = now - opened;
        if self.is_mute() && lasted >= clock.limit(limits::READ_FIRST_BYTE_TIMEOUT) {
            return StreamEnd::HeldBack;
        }

        // A gateway that says why it ends the stream is there, and so is the way to it.
        let was_short = lasted < clock.limit(limits::READ_SHORT_STREAM);
        if was_short && !self.brought_an_event && !self.is_closing {
            StreamEnd::Short
        } else {
            StreamEnd::Good
        }
    }
}
