//! Compares what publishers and subscribers recorded with the whole log, as it is read when
//! everything is over. For tests that trim nothing and set no clock.

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use crate::checker;
use crate::common::publisher::{Ack, Draft};
use crate::common::read::Seen;
use crate::findings::Findings;
use crate::record::{History, Micros, What};

/// What publishers sent and were answered.
#[derive(Clone)]
pub(crate) struct PublishRecord {
    began: Instant,
    history: History,
    acknowledged: HashSet<String>,
    /// Acknowledgements of events that were sent again after they had been acknowledged.
    duplicates: usize,
}

impl Default for PublishRecord {
    fn default() -> Self {
        PublishRecord {
            began: Instant::now(),
            history: History::default(),
            acknowledged: HashSet::new(),
            duplicates: 0,
        }
    }
}

impl PublishRecord {
    fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).expect("a short run")
    }

    pub(crate) fn sending(&mut self, drafts: &[Draft]) {
        self.history.sending(self.now(), drafts);
    }

    /// These were acknowledged, in this order.
    pub(crate) fn acknowledged(&mut self, drafts: &[Draft], acks: &[Ack]) {
        let ids = drafts.iter().zip(acks).map(|(draft, _)| draft.id.clone());
        self.acknowledged.extend(ids);
        self.duplicates += acks.iter().filter(|ack| ack.duplicate).count();
        self.history.acknowledged(self.now(), drafts, acks, false);
    }

    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// A subscriber of these topics, or of all where there are none, began with the first event and
    /// saw these.
    pub(crate) fn subscriber_saw(&mut self, topics: &[String], seen: &[Seen]) {
        let at = self.now();
        let reading = self.history.begin_reading(topics, true);
        self.history.received(at, reading, What::Asked);
        for event in seen {
            self.history.saw(at, reading, event.clone());
        }
    }

    /// Compares it with the log, as it was read from the earliest event on.
    pub(crate) fn compare(&self, log: &[Seen]) -> Comparison {
        let mut record = self.clone();
        record.subscriber_saw(&[], log);

        // Whoever reads the whole log also passes what was acknowledged or seen behind its end.
        let acknowledged = record.history.acknowledged.iter().map(|ack| ack.vid);
        let seen = record.history.faces.iter().map(|face| face.vid);
        let end = acknowledged.chain(seen).max().unwrap_or(0);
        let reading = record.history.readings.len() - 1;
        let caught_up = What::CaughtUp(end);
        record.history.received(record.now(), reading, caught_up);

        let is_unacknowledged = |event: &&Seen| !self.acknowledged.contains(&event.id);
        Comparison {
            events: log.len(),
            acknowledged: self.acknowledged.len(),
            unacknowledged: log.iter().filter(is_unacknowledged).count(),
            findings: checker::check(&record.history).0,
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Events in the log.
    pub(crate) events: usize,
    pub(crate) acknowledged: usize,
    /// In the log though no publisher was answered so: allowed.
    pub(crate) unacknowledged: usize,
    pub(crate) findings: Findings,
}

impl Comparison {
    pub(crate) fn is_clean(&self) -> bool {
        self.findings == Findings::default()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison {
            events,
            acknowledged,
            unacknowledged,
            findings,
        } = self;
        write!(
            f,
            "{events} events ({acknowledged} acknowledged, {unacknowledged} not)"
        )?;
        for (name, count) in findings.rows().iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {count} {name}")?;
        }
        Ok(())
    }
}
