//! The events of the log and their topics.
//!
//! Ten events of a topic come close together, as those of a visit or a job do, and topics that
//! follow each other in time have names that are far apart. A few topics are of other kinds: one
//! with an event now and then over the whole log, and one with a single event at the beginning.

use vidette::event::{EventParts, NewEvent};

const EVENTS_A_TOPIC: u64 = 10;
/// An event of the thin topic comes once in so many.
const THIN: u64 = 50_000;
/// Coprime to any number of topics that is a power of ten.
const STRIDE: u64 = 0x9E37_79B1;

pub(super) struct Names {
    topics: u64,
}

impl Names {
    pub(super) fn of(topics: u64) -> Self {
        Names { topics }
    }

    /// A twentieth are `a.N`, a little less than half `xN.M` with 20 different N, and half have a
    /// first token of their own.
    fn topic(&self, number: u64) -> String {
        if number < self.topics / 20 {
            format!("a.{number}")
        } else if number < self.topics / 2 {
            format!("x{}.{}", number % 20, number / 20)
        } else {
            format!("t{number}.room.{}", number % (self.topics / 10))
        }
    }

    pub(super) fn event(&self, number: u64) -> NewEvent {
        let topic = match number {
            3 => "old.once".to_owned(),
            _ if number % THIN == 7 => "thin.topic".to_owned(),
            _ => self.topic((number / EVENTS_A_TOPIC).wrapping_mul(STRIDE) % self.topics),
        };
        let parts = EventParts {
            topic: &topic,
            content_type: Some("text/plain"),
            data: "0123456789abcdef".repeat(4).into(),
            ..EventParts::default()
        };
        NewEvent::check(parts, 1024).expect("an event")
    }

    /// A topic with few events, one with an old one, one without any; and patterns that begin with
    /// a wildcard: of topics with few different first tokens, of topics that each have their own,
    /// of very many topics, and of none.
    pub(super) fn patterns(&self) -> Vec<String> {
        let last = self.topics / 20 - 1;
        let both = self.topics / 50;
        let room = self.topics / 20 + 7;
        let fixed = ["thin.topic", "old.once", "no.such"].map(str::to_owned);
        let broad = [
            format!("*.{last}"),
            format!("*.{both}"),
            format!("*.room.{room}"),
            "*.room.*".to_owned(),
            "*.nothing".to_owned(),
        ];
        fixed.into_iter().chain(broad).collect()
    }
}
