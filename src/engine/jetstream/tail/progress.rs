//! How far the tail has come, and which steps follow from what comes next.
//!
//! Invariants:
//! - steps go on in vid order: nothing that lies at or before the tail is a step again;
//! - a vid is passed over only where the stream has been asked whether it was trimmed;
//! - times never fall from one event to the next. The clock of a new leader may be behind that of
//!   the one before; the log keeps such times as they are, so an event that is read from the log
//!   may show an earlier time than it had when it came by the tail.

use std::sync::Arc;

use crate::cursor::{Epoch, Vid};
use crate::engine::jetstream::api::StoredMessage;
use crate::engine::jetstream::message::event_of;
use crate::engine::jetstream::subjects::Subjects;
use crate::engine::jetstream::watch::StreamView;
use crate::engine::{LogState, TailStep};
use crate::event::Event;
use crate::limits;

/// How far the tail has come on which log.
#[derive(Debug)]
pub(super) struct Progress {
    epoch: Epoch,
    first: Vid,
    last: Vid,
    time_ms: i64,
}

impl Progress {
    /// At this vid of a log.
    pub(super) fn at(state: &LogState, last: Vid) -> Self {
        Progress {
            epoch: state.lineage.epoch().clone(),
            first: state.bounds.first,
            last,
            time_ms: 0,
        }
    }

    /// The newest vid that needs no step any more.
    pub(super) fn last(&self) -> Vid {
        self.last
    }

    /// The log that the tail follows.
    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The step, if any, when the oldest retained vid is this one.
    pub(super) fn trim(&mut self, first: Vid) -> Option<TailStep> {
        if first <= self.first {
            return None;
        }
        self.first = first;
        self.last = self.last.max(first - 1);
        Some(TailStep::Trimmed { first })
    }

    /// The step over everything but the newest events, where the tail is too far behind them.
    pub(super) fn skip(&mut self, view: &StreamView) -> Option<TailStep> {
        let through = view.bounds.last.saturating_sub(limits::NATS_TAIL_VIDS);
        if !view.is_confirmed || view.epoch != self.epoch || through <= self.last {
            return None;
        }
        self.last = through;
        Some(TailStep::Skipped { through })
    }

    /// Those of the messages that follow each other from the tail on without a hole. What is behind
    /// the first hole stays; what has been taken before is dropped.
    pub(super) fn split(&self, messages: &mut Vec<StoredMessage>) -> Vec<StoredMessage> {
        messages.retain(|message| message.vid > self.last);
        let mut vids = (self.last + 1)..;
        let follows = |message: &StoredMessage| Some(message.vid) == vids.next();
        let count = messages.iter().map(follows).take_while(|it| *it).count();
        let behind = messages.split_off(count);
        std::mem::replace(messages, behind)
    }

    /// The step of messages whose holes are known to be holes of the log; none where there is
    /// nothing new. `skipped` counts those that are no events.
    pub(super) fn take(
        &mut self,
        messages: Vec<StoredMessage>,
        subjects: &Subjects,
        skipped: &mut u64,
    ) -> Option<TailStep> {
        let (before, mut events) = (self.last, Vec::with_capacity(messages.len()));
        for message in messages {
            if message.vid <= self.last {
                continue;
            }
            self.last = message.vid;
            match self.event(message, subjects) {
                Some(event) => events.push(event),
                None => *skipped += 1,
            }
        }
        let through = self.last;
        (through > before).then_some(TailStep::Events { events, through })
    }

    fn event(&mut self, mut message: StoredMessage, subjects: &Subjects) -> Option<Arc<Event>> {
        message.time_ms = message.time_ms.max(self.time_ms);
        let event = event_of(message, subjects)?;
        self.time_ms = event.time_ms;
        Some(event)
    }
}

#[cfg(test)]
mod tests;
