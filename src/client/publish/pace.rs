//! When a request is ended although there are more lines to come.
//!
//! A proxy may keep a request until it has ended (nginx does unless `proxy_request_buffering` is
//! off), so nobody answers while it goes on. Invariants:
//! - lines that are not answered in time have their request ended; it is never broken off, so each
//!   of them is answered once the proxy has passed it on;
//! - what is known of the way to the gateway holds for the next request, until that one shows
//!   otherwise.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// What is known of a request's way, and how long it has been quiet.
pub(super) struct Pace {
    /// Requests are kept on their way until they have ended.
    is_held_back: bool,
    /// The gateway has begun to answer this request.
    is_heard: bool,
    /// This request has been ended before its time.
    is_paused: bool,
    /// When something was heard last, or began to be waited for.
    heard_at: Instant,
    /// When a line was sent last.
    sent_at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Pace {
            is_held_back: false,
            is_heard: false,
            is_paused: false,
            heard_at: now,
            sent_at: now,
        }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        (self.is_heard, self.is_paused) = (false, false);
        (self.heard_at, self.sent_at) = (Instant::now(), Instant::now());
    }

    /// The gateway has said something, while the request goes on or behind its end.
    pub(super) fn heard(&mut self, request_goes_on: bool) {
        self.is_heard = true;
        self.heard_at = Instant::now();
        // An answer before the request's end shows that nobody holds it back.
        if request_goes_on {
            self.is_held_back = false;
        }
    }

    /// A line has been sent, while so many have no answer yet.
    pub(super) fn sent(&mut self, unanswered: usize) {
        self.sent_at = Instant::now();
        // The first line after a pause begins the wait for an answer.
        if unanswered == 0 {
            self.heard_at = self.sent_at;
        }
    }

    /// Ends the request before its time, while so many lines have no answer.
    pub(super) fn pause(&mut self, unanswered: usize) {
        self.is_paused = true;
        // Not one answer although lines were sent: something on the way may wait for the end.
        self.is_held_back |= !self.is_heard && unanswered > 0;
    }

    /// When something was heard last, or began to be waited for.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Has the request been ended before its time?
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Bytes of lines that may be on their way.
    pub(super) fn window_bytes(&self) -> usize {
        // Until something is heard, a proxy may be buffering the request, and takes only so much.
        if self.is_heard {
            limits::PUBLISH_WINDOW_BYTES
        } else {
            limits::PUBLISH_UNHEARD_BYTES
        }
    }

    /// When to end the request if nothing more happens.
    pub(super) fn ends_at(&self, unanswered: usize, has_space: bool) -> Instant {
        // Answers are waited for only so long, whatever more is sent.
        let patience_ends = self.heard_at + limits::PUBLISH_ANSWER_PATIENCE;
        if unanswered == 0 {
            // No answer is due: the request ends once it has been idle for a while.
            self.heard_at.max(self.sent_at) + limits::PUBLISH_IDLE_REQUEST
        } else if self.is_held_back && !self.is_heard {
            // A few more lines may come at once; when no more fit, there is nothing to wait for.
            let linger = if has_space {
                limits::PUBLISH_LINGER
            } else {
                Duration::ZERO
            };
            patience_ends.min(self.sent_at + linger)
        } else {
            patience_ends
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn wait(pace: &Pace, unanswered: usize, has_space: bool) -> Duration {
        pace.ends_at(unanswered, has_space) - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_ended_when_its_answers_stay_away() {
        let mut pace = Pace::new();
        pace.begin();
        assert_eq!(wait(&pace, 0, true), limits::PUBLISH_IDLE_REQUEST);
        pace.sent(0);
        assert_eq!(wait(&pace, 1, true), limits::PUBLISH_ANSWER_PATIENCE);
        // More lines do not put it off, answers do.
        tokio::time::advance(Duration::from_secs(1)).await;
        pace.sent(1);
        assert_eq!(wait(&pace, 2, true), Duration::from_secs(1));
        assert_eq!(pace.window_bytes(), limits::PUBLISH_UNHEARD_BYTES);
        pace.heard(true);
        assert_eq!(wait(&pace, 1, true), limits::PUBLISH_ANSWER_PATIENCE);
        assert_eq!(pace.window_bytes(), limits::PUBLISH_WINDOW_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_that_keeps_requests_they_are_short() {
        let mut pace = Pace::new();
        pace.begin();
        pace.sent(0);
        pace.pause(1);
        pace.heard(false);
        pace.begin();
        pace.sent(0);
        assert_eq!(wait(&pace, 1, true), limits::PUBLISH_LINGER);
        assert_eq!(wait(&pace, 1, false), NOW);
        // Until a request is answered while it goes on.
        pace.heard(true);
        pace.begin();
        pace.sent(0);
        assert_eq!(wait(&pace, 1, true), limits::PUBLISH_ANSWER_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_is_only_slow_is_not_taken_for_such_a_proxy() {
        let mut pace = Pace::new();
        pace.begin();
        pace.heard(true);
        pace.sent(0);
        pace.pause(1);
        pace.begin();
        pace.sent(0);
        assert_eq!(wait(&pace, 1, true), limits::PUBLISH_ANSWER_PATIENCE);
    }
}
