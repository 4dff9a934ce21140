//! Is the end of the log known? From what the stream answers, and from how far the tail has come.
//!
//! Heartbeats of a consumer prove nothing: a leader that is cut off from everybody sends them for
//! ever. Invariants:
//! - the end is known where an answer of a leader that is in touch with a majority is not old, and
//!   the tail has come to what was the end two questions before;
//! - that it is not known any more is reported once it has not been for `stale_after`, counted from
//!   when the leader had last heard of a majority; that it is known again is reported at once;
//! - no clock is read here.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::cursor::Vid;
use crate::engine::jetstream::watch::Asked;
use crate::limits;

/// What is known about the end of the log.
#[derive(Debug)]
pub(super) struct Liveness {
    stale_after: Duration,
    started_at: Instant,
    /// Answers that counted, one after the other: when they were asked for, and the end as they
    /// said. Empty where the newest answer did not count.
    ends: VecDeque<(Instant, Vid)>,
    /// The newest answer, where it counted.
    newest: Option<Answered>,
    /// The end was known at least up to here.
    known_at: Instant,
    /// The tail, and when it last moved.
    tail: (Vid, Instant),
    /// Since when the end has not been known, or another consumer was tried.
    doubted_at: Option<Instant>,
    is_reported_live: bool,
}

#[derive(Debug, Clone, Copy)]
struct Answered {
    asked_at: Instant,
    /// When the leader had last heard of a majority.
    heard_at: Instant,
}

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// To be reported, where it has changed.
    pub(super) live: Option<bool>,
    /// Another consumer may do better.
    pub(super) needs_another_consumer: bool,
}

impl Liveness {
    /// Not known yet.
    pub(super) fn new(stale_after: Duration, now: Instant) -> Self {
        Liveness {
            stale_after,
            started_at: now,
            ends: VecDeque::new(),
            newest: None,
            known_at: now,
            tail: (0, now),
            doubted_at: None,
            is_reported_live: false,
        }
    }

    /// Takes note of an answer.
    pub(super) fn answered(&mut self, asked: &Asked) {
        // Before there was a tail; it may have become far behind since.
        if asked.at < self.started_at {
            return;
        }
        let Some(view) = asked.answer.as_ref().ok().filter(|view| view.is_confirmed) else {
            return self.forget_ends();
        };
        self.newest = Some(Answered {
            asked_at: asked.at,
            heard_at: asked.at.checked_sub(view.unheard_for).unwrap_or(asked.at),
        });
        // Somebody may ask many times a second; half of a poll is close enough.
        let newest = self.ends.back().map(|(at, _)| *at);
        let is_due = |newest| asked.at >= newest + limits::NATS_INFO_INTERVAL / 2;
        if newest.is_none_or(is_due) {
            self.ends.push_back((asked.at, view.bounds.last));
        }
        // The first one is the newest of those that are old enough.
        let is_old = |end: Option<&(Instant, Vid)>| {
            end.is_some_and(|(at, _)| *at + limits::NATS_TAIL_LAG <= asked.at)
        };
        while is_old(self.ends.get(1)) {
            self.ends.pop_front();
        }
    }

    /// Another log, or an answer that does not count: the end is not known by earlier answers.
    pub(super) fn forget_ends(&mut self) {
        self.ends.clear();
        self.newest = None;
    }

    /// What follows at this time, with the tail at this vid.
    pub(super) fn judge(&mut self, now: Instant, tail: Vid) -> Verdict {
        if self.tail.0 != tail {
            self.tail = (tail, now);
        }
        if let Some(newest) = self
            .newest
            .filter(|newest| self.is_at_end(newest, now, tail))
        {
            self.known_at = self.known_at.max(newest.heard_at);
            self.doubted_at = None;
            return self.report(true);
        }

        let mut verdict = Verdict::default();
        if now >= self.known_at + self.stale_after {
            verdict = self.report(false);
        }
        verdict.needs_another_consumer = self.is_stuck(now);
        verdict
    }

    fn is_at_end(&self, newest: &Answered, now: Instant, tail: Vid) -> bool {
        let has_come_there = self.ends.front().is_some_and(|(_, end)| tail >= *end);
        has_come_there && now <= newest.asked_at + limits::NATS_ANSWER_AGE
    }

    fn report(&mut self, is_live: bool) -> Verdict {
        let has_changed = self.is_reported_live != is_live;
        self.is_reported_live = is_live;
        Verdict {
            live: has_changed.then_some(is_live),
            needs_another_consumer: false,
        }
    }

    /// Once in a while; a tail that moves on is not disturbed.
    fn is_stuck(&mut self, now: Instant) -> bool {
        let since = *self.doubted_at.get_or_insert(now);
        let is_stuck = now >= since.max(self.tail.1) + limits::NATS_TAIL_DOUBT;
        if is_stuck {
            self.doubted_at = Some(now);
        }
        is_stuck
    }
}

#[cfg(test)]
mod tests;
