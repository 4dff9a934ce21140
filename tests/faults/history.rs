//! Was anything lost, doubled, reordered or changed? Keeps what publishers were told and compares
//! it with the log.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::common::read::{Data, Seen};
use crate::publisher::{Ack, Draft};

/// What publishers sent and what they were told.
#[derive(Default)]
pub(crate) struct History {
    sent: HashMap<String, Draft>,
    /// By id: the first acknowledgement.
    acknowledged: HashMap<String, u64>,
    epochs: BTreeSet<String>,
    /// Acknowledgements of one id that named another vid than the first.
    contradicted: usize,
    /// Of events that were sent again after they had been acknowledged.
    duplicates: usize,
}

/// What was found; all but the totals have to be zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Events in the log.
    pub(crate) events: usize,
    pub(crate) acknowledged: usize,
    /// In the log though nobody was told so: allowed.
    pub(crate) unacknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    pub(crate) reordered: usize,
    /// Not what was sent under this id, or at another vid than acknowledged.
    pub(crate) changed: usize,
    /// Vids that were given to two different events.
    pub(crate) double_vid: usize,
    /// Events that nobody sent.
    pub(crate) made_up: usize,
    /// Epochs beyond the first.
    pub(crate) epochs: usize,
}

impl Findings {
    pub(crate) fn is_clean(&self) -> bool {
        let totals = Findings {
            events: self.events,
            acknowledged: self.acknowledged,
            unacknowledged: self.unacknowledged,
            ..Findings::default()
        };
        *self == totals
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings {
            events,
            acknowledged,
            unacknowledged,
            lost,
            repeated,
            reordered,
            ..
        } = self;
        write!(f, "{events} events")?;
        if acknowledged + unacknowledged > 0 {
            write!(f, " ({acknowledged} acknowledged, {unacknowledged} not)")?;
        }
        write!(
            f,
            ": lost {lost}, repeated {repeated}, reordered {reordered}, changed {}, double vid {}, made up {}, \
             other epochs {}",
            self.changed, self.double_vid, self.made_up, self.epochs
        )
    }
}

impl History {
    pub(crate) fn sending(&mut self, drafts: &[Draft]) {
        self.sent
            .extend(drafts.iter().map(|d| (d.id.clone(), d.clone())));
    }

    /// These were acknowledged, in this order.
    pub(crate) fn acknowledged(&mut self, drafts: &[Draft], acks: &[Ack]) {
        for (draft, ack) in drafts.iter().zip(acks) {
            let (vid, epoch) = ack.cursor.split_once('-').expect("a full cursor");
            assert_eq!(vid, ack.vid.to_string());
            self.epochs.insert(epoch.to_owned());
            self.duplicates += usize::from(ack.duplicate);
            let first = *self.acknowledged.entry(draft.id.clone()).or_insert(ack.vid);
            self.contradicted += usize::from(first != ack.vid);
        }
    }

    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// Compares with the log as it was read from the earliest event on.
    pub(crate) fn check(&self, log: &[Seen]) -> Findings {
        let mut found = Findings {
            events: log.len(),
            acknowledged: self.acknowledged.len(),
            ..Findings::default()
        };
        let mut vids = HashSet::new();
        let mut ids = HashSet::new();
        for event in log {
            found.double_vid += usize::from(!vids.insert(event.vid));
            found.repeated += usize::from(!ids.insert(&event.id));
            match self.sent.get(&event.id) {
                Some(draft) => found.changed += usize::from(!is_what_was_sent(event, draft)),
                None => found.made_up += 1,
            }
            match self.acknowledged.get(&event.id) {
                Some(vid) => found.changed += usize::from(*vid != event.vid),
                None => found.unacknowledged += 1,
            }
        }
        found.reordered = log
            .windows(2)
            .filter(|w| w[0].vid >= w[1].vid || w[0].time_ms > w[1].time_ms)
            .count();
        found.lost = self
            .acknowledged
            .keys()
            .filter(|id| !ids.contains(id))
            .count();
        let distinct: HashSet<u64> = self.acknowledged.values().copied().collect();
        found.double_vid += self.acknowledged.len() - distinct.len();
        found.changed += self.contradicted;
        found.epochs = self.epochs.len().saturating_sub(1);
        found
    }
}

fn is_what_was_sent(event: &Seen, draft: &Draft) -> bool {
    event.topic == draft.topic && event.data == Data::Json(draft.data.clone())
}

/// Compares what a subscriber saw with what the log holds of it. The counts are of the subscriber.
pub(crate) fn check_subscriber(
    log: &[Seen],
    seen: &[Seen],
    wants: impl Fn(&str) -> bool,
) -> Findings {
    let by_vid: HashMap<u64, &Seen> = log.iter().map(|e| (e.vid, e)).collect();
    let mut found = Findings {
        events: seen.len(),
        ..Findings::default()
    };
    let mut vids = HashSet::new();
    for event in seen {
        found.repeated += usize::from(!vids.insert(event.vid));
        match by_vid.get(&event.vid) {
            Some(logged) => found.changed += usize::from(*logged != event),
            None => found.made_up += 1, // it was shown and then did not survive
        }
        found.made_up += usize::from(!wants(&event.topic));
    }
    found.reordered = seen.windows(2).filter(|w| w[0].vid >= w[1].vid).count();
    found.lost = log
        .iter()
        .filter(|e| wants(&e.topic) && !vids.contains(&e.vid))
        .count();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> (History, Vec<Seen>) {
        let drafts: Vec<Draft> = (1..=4)
            .map(|n| Draft::new("a", format!("id-{n}")))
            .collect();
        let mut history = History::default();
        history.sending(&drafts);
        let acks: Vec<Ack> = (1..=3)
            .map(|vid| Ack {
                vid,
                cursor: format!("{vid}-abcdef"),
                duplicate: false,
            })
            .collect();
        history.acknowledged(&drafts, &acks);
        let seen = (1..).zip(&drafts).map(|(vid, draft)| Seen {
            vid,
            topic: draft.topic.clone(),
            time_ms: 5,
            kind: String::new(),
            id: draft.id.clone(),
            data: Data::Json(draft.data.clone()),
        });
        (history, seen.collect())
    }

    #[test]
    fn the_checker_finds_each_kind_of_error_and_nothing_else() {
        let (history, log) = history();
        let clean = history.check(&log);
        assert!(clean.is_clean(), "{clean}");
        assert_eq!((clean.acknowledged, clean.unacknowledged), (3, 1));
        assert!(
            history.check(&log[..3]).is_clean(),
            "an event that was not acknowledged may be missing"
        );

        let after = |change: &dyn Fn(&mut Vec<Seen>)| {
            let mut log = log.clone();
            change(&mut log);
            let found = history.check(&log);
            assert!(!found.is_clean());
            found
        };
        assert_eq!(after(&|log| drop(log.remove(1))).lost, 1);
        assert_eq!(after(&|log| log[3].id = "id-1".into()).repeated, 1);
        assert_eq!(after(&|log| log.swap(0, 1)).reordered, 1);
        assert_eq!(after(&|log| log[0].topic = "b".into()).changed, 1);
        assert_eq!(after(&|log| log[2].vid = 7).changed, 1);
        assert_eq!(after(&|log| log[3].vid = 3).double_vid, 1);
        assert_eq!(after(&|log| log[3].id = "id-9".into()).made_up, 1);
    }

    #[test]
    fn the_checker_finds_contradicting_acknowledgements() {
        let (mut history, log) = history();
        let ack = |vid: u64, epoch: &str| Ack {
            vid,
            cursor: format!("{vid}-{epoch}"),
            duplicate: true,
        };
        history.acknowledged(&[Draft::new("a", "id-1")], &[ack(1, "abcdef")]);
        assert!(history.check(&log).is_clean());
        history.acknowledged(&[Draft::new("a", "id-1")], &[ack(4, "abcdef")]);
        assert_eq!(history.check(&log).changed, 1);
        history.acknowledged(&[Draft::new("a", "id-4")], &[ack(3, "ghijkl")]);
        let found = history.check(&log);
        assert_eq!((found.double_vid, found.epochs), (1, 1));
    }

    #[test]
    fn the_checker_finds_what_a_subscriber_missed_or_should_not_have_seen() {
        let (_, log) = history();
        assert!(check_subscriber(&log, &log, |_| true).is_clean());
        assert_eq!(check_subscriber(&log, &log[1..], |_| true).lost, 1);
        let doubled: Vec<Seen> = [&log[..2], &log[1..]].concat();
        let found = check_subscriber(&log, &doubled, |_| true);
        assert_eq!((found.repeated, found.reordered), (1, 1));
        assert_eq!(
            check_subscriber(&log[..3], &log, |_| true).made_up,
            1,
            "it did not survive"
        );
        assert_eq!(
            check_subscriber(&log, &log, |topic| topic == "b").made_up,
            4
        );
        let mut changed = log.clone();
        changed[0].data = Data::Json("0".into());
        assert_eq!(check_subscriber(&log, &changed, |_| true).changed, 1);
    }
}
