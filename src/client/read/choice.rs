//! Which transport the next connection uses: SSE, or long-poll where streams do not come through.
//!
//! Invariant: a transport that the application has chosen is never left.

use std::time::Duration;

use tokio::time::Instant;

use super::options::{ReadOptions, Transport};
use crate::client::clock::ClientClock;
use crate::limits;

/// How a stream ended, as far as it says something about the way to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// Its head came, and nothing behind it for a while: something on the way holds it back.
    HeldBack,
    /// It ended at once, without an event and without a word.
    Short,
    /// Something else than a gateway answered.
    WrongAnswer,
    /// It was good for a while.
    Good,
    /// Nothing was reached, which says nothing.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TransportChoice {
    chosen: Transport,
    clock: ClientClock,
    /// Streams are tried again then; none where they are used.
    polls_until: Option<Instant>,
    /// Long-poll is used to see whether it is answered where streams are not.
    is_trial: bool,
    short_streams: u32,
    wrong_answers: u32,
}

impl TransportChoice {
    pub(super) fn new(options: &ReadOptions, clock: ClientClock) -> Self {
        TransportChoice {
            chosen: options.transport,
            clock,
            polls_until: None,
            is_trial: false,
            short_streams: 0,
            wrong_answers: 0,
        }
    }

    /// What a connection that is made now uses.
    pub(super) fn current(&self) -> Transport {
        match (self.chosen, self.polls_until) {
            (Transport::Auto, None) => Transport::Sse,
            (Transport::Auto, Some(_)) => Transport::LongPoll,
            (chosen, _) => chosen,
        }
    }

    /// Is long-poll used only because streams did not come through?
    fn is_fallback(&self) -> bool {
        self.chosen == Transport::Auto && self.polls_until.is_some()
    }

    /// A connection begins: streams may be due again.
    pub(super) fn connect(&mut self, now: Instant) {
        if self.is_stream_due(now) {
            self.use_streams();
        }
    }

    /// Is the time of long-poll over?
    pub(super) fn is_stream_due(&self, now: Instant) -> bool {
        self.is_fallback() && self.polls_until.is_some_and(|until| until <= now)
    }

    /// The gateway itself has answered.
    pub(super) fn answered(&mut self) {
        self.is_trial = false;
        self.wrong_answers = 0;
    }

    /// A connection has ended. True when the next one uses another transport.
    pub(super) fn ended(&mut self, end: StreamEnd, again: Duration) -> bool {
        let before = self.current();
        match before {
            Transport::Sse if self.chosen == Transport::Auto => self.stream_ended(end, again),
            // It does not help, so the next try is a stream; one more wrong answer leads back.
            Transport::LongPoll if self.is_trial => {
                self.use_streams();
                self.wrong_answers = limits::READ_WRONG_ANSWERS - 1;
            }
            _ => {}
        }
        self.current() != before
    }

    fn stream_ended(&mut self, end: StreamEnd, again: Duration) {
        match end {
            StreamEnd::HeldBack => self.use_polls(again),
            StreamEnd::Short => self.short_streams += 1,
            StreamEnd::WrongAnswer => self.wrong_answers += 1,
            StreamEnd::Good => self.short_streams = 0,
            StreamEnd::Unknown => {}
        }
        if self.short_streams >= limits::READ_SHORT_STREAMS {
            self.use_polls(again);
        }
        if self.wrong_answers >= limits::READ_WRONG_ANSWERS {
            self.use_polls(again);
            self.is_trial = true;
        }
    }

    fn use_polls(&mut self, again: Duration) {
        self.polls_until = Some(Instant::now() + self.clock.wait(again));
        (self.short_streams, self.wrong_answers) = (0, 0);
    }

    fn use_streams(&mut self) {
        self.polls_until = None;
        self.is_trial = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(transport: Transport) -> TransportChoice {
        TransportChoice::new(&ReadOptions::new().via(transport), ClientClock::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_held_back_is_left_for_long_poll_until_its_time_is_over() {
        let again = limits::READ_STREAM_AGAIN;
        let mut auto = choice(Transport::Auto);
        assert!(auto.ended(StreamEnd::HeldBack, again));
        assert_eq!(auto.current(), Transport::LongPoll);
        tokio::time::advance(again).await;
        assert!(auto.is_stream_due(Instant::now()));
        auto.connect(Instant::now());
        assert_eq!(auto.current(), Transport::Sse);

        let mut chosen = choice(Transport::Sse);
        assert!(!chosen.ended(StreamEnd::HeldBack, again));
        assert_eq!(chosen.current(), Transport::Sse);
    }

    #[tokio::test(start_paused = true)]
    async fn long_poll_is_kept_only_where_it_is_answered() {
        let again = limits::READ_STREAM_AGAIN;
        let mut auto = choice(Transport::Auto);
        assert!(!auto.ended(StreamEnd::WrongAnswer, again));
        assert!(auto.ended(StreamEnd::WrongAnswer, again));
        assert!(auto.ended(StreamEnd::WrongAnswer, again), "polls fail too");
        assert!(auto.ended(StreamEnd::WrongAnswer, again));
        auto.answered();
        assert!(!auto.ended(StreamEnd::Unknown, again));
        assert_eq!(auto.current(), Transport::LongPoll);
    }

    #[tokio::test(start_paused = true)]
    async fn three_streams_in_a_row_that_bring_nothing_lead_to_long_poll() {
        let again = limits::READ_STREAM_AGAIN;
        let mut auto = choice(Transport::Auto);
        for end in [StreamEnd::Short, StreamEnd::Short, StreamEnd::Good] {
            assert!(!auto.ended(end, again));
        }
        for _ in 0..2 {
            assert!(!auto.ended(StreamEnd::Short, again));
        }
        assert!(auto.ended(StreamEnd::Short, again));
    }
}
