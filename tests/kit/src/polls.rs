//! A scenario of streams as one of polls, for readers that know long-poll alone.
//!
//! What a stream says in one go is the answer to one poll, and what comes behind it is the answer
//! to the next. Invariant: where a scenario cannot be said by polls, there is none.

use serde_json::Value;

use crate::answer::cursor;
use crate::scenario::{Action, Asked, EPOCH, Event, Exchange, Poll, Scenario};

/// The path of streams, and that of polls.
const STREAM: &str = "/v1/sse";
const POLL: &str = "/v1/poll";

/// The same scenario by polls; none where it is about streams themselves.
pub(crate) fn by_polls(scenario: &Scenario) -> Option<Scenario> {
    let mut exchanges = Vec::new();
    for exchange in &scenario.exchanges {
        if exchange.asked.path.as_deref() != Some(STREAM) {
            exchanges.push(exchange.clone());
            continue;
        }
        exchanges.extend(Stream::new(exchange).polls(exchange)?);
    }
    Some(Scenario {
        exchanges,
        ..scenario.clone()
    })
}

/// What a stream has said and no poll has answered yet.
struct Stream {
    epoch: String,
    asks_latest: bool,
    asked: Asked,
    pending: Option<Poll>,
    polls: Vec<Exchange>,
}

impl Stream {
    fn new(exchange: &Exchange) -> Self {
        let mut asked = exchange.asked.clone();
        asked.path = Some(POLL.into());
        let asks_latest =
            asked.after.iter().flatten().any(Option::is_none) && asked.parameters.is_empty();
        Stream {
            epoch: EPOCH.into(),
            asks_latest,
            asked,
            pending: None,
            polls: Vec::new(),
        }
    }

    fn polls(mut self, exchange: &Exchange) -> Option<Vec<Exchange>> {
        for action in &exchange.then {
            match action {
                Action::Hello(fields) => self.hello(fields),
                Action::Event(event) if event.epoch != self.epoch => return None,
                Action::Event(event) => self.event(event),
                Action::Progress(at) | Action::CaughtUp(at) => self.moves(at.clone()),
                Action::Gap(fields) => self.gap(fields),
                Action::Cut | Action::Reset | Action::End => self.then(Action::Cut, false),
                Action::Hold => self.then(Action::Hold, true),
                Action::Answer { .. } => self.then(action.clone(), false),
                // How a stream is written says nothing of polls.
                Action::Sse | Action::SseUntilEof | Action::Raw { .. } | Action::Bytes(_) => {}
                Action::WaitMs(_) | Action::UntilHanded(_) => self.flush(),
                _ => return None,
            }
        }
        self.flush();
        let mut polls = self.polls;
        // The first one is asked as often as the stream was.
        polls.first_mut()?.times = exchange.times;
        Some(polls)
    }

    /// An answer always has a cursor: that of the end, where a reader asks for what comes.
    fn hello(&mut self, fields: &Value) {
        if let Some(epoch) = fields["epoch"].as_str() {
            self.epoch = epoch.into();
        }
        if self.asks_latest {
            self.moves(cursor(fields["last"].as_u64().unwrap_or(100), &self.epoch));
        }
    }

    fn event(&mut self, event: &Event) {
        let at = cursor(event.vid, &self.epoch);
        let poll = self.poll(at);
        poll.events.push(event.clone());
    }

    fn moves(&mut self, at: String) {
        self.poll(at);
    }

    fn gap(&mut self, fields: &Value) {
        // An answer has one gap, before its events.
        self.flush();
        let first = fields["first"].as_u64().unwrap_or(40);
        let goes_on = match fields["reason"].as_str() {
            Some("ahead") => fields["last"].as_u64().unwrap_or(100),
            _ => first.saturating_sub(1),
        };
        let at = cursor(goes_on, &self.epoch);
        self.poll(at).gap = Some(fields.clone());
    }

    fn poll(&mut self, at: String) -> &mut Poll {
        let poll = self.pending.get_or_insert_with(|| Poll {
            events: Vec::new(),
            cursor: String::new(),
            gap: None,
        });
        poll.cursor = at;
        poll
    }

    /// What has been said is an answer, and the next poll goes on behind it.
    fn flush(&mut self) {
        if let Some(poll) = self.pending.take() {
            let behind = poll.cursor.clone();
            self.then_only(Action::Poll(poll), false);
            self.asked = Asked {
                path: Some(POLL.into()),
                after: Some(vec![Some(behind)]),
                ..Asked::default()
            };
        }
    }

    fn then(&mut self, action: Action, optional: bool) {
        self.flush();
        // A reader that has what it wants may not ask again.
        let optional = optional && !self.polls.is_empty();
        self.then_only(action, optional);
    }

    fn then_only(&mut self, action: Action, optional: bool) {
        self.polls.push(Exchange {
            asked: self.asked.clone(),
            then: vec![action],
            times: 1,
            optional,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::by_polls;
    use crate::scenario::load_all;

    #[test]
    fn what_is_about_streams_alone_is_not_said_by_polls() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = load_all(&folder).expect("they can be read");
        let missing: Vec<_> = scenarios
            .iter()
            .filter(|scenario| scenario.name.starts_with(['A', 'B', 'C']))
            .filter(|scenario| by_polls(scenario).is_none())
            .map(|scenario| scenario.name.as_str())
            .collect();

        assert_eq!(missing, ["C/other-epoch-once", "C/other-epoch-twice"]);
    }
}
