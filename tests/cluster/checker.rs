//! Does the stream explain everything that was recorded?
//!
//! What the stream holds in the end is read by a plain client. Of a log that was replaced or purged
//! meanwhile, what anybody was told of it is put together, and has to be consistent.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::record::{History, Place, Reading, What};

/// The stream in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) epoch: String,
    /// The oldest vid that it retains.
    pub(crate) first: u64,
    /// Events by vid: the id, or the data where there is none.
    pub(crate) events: BTreeMap<u64, String>,
    /// What an administrator has deleted in the middle, and what is no event.
    pub(crate) holes: HashSet<u64>,
}

/// What was found; all of it should be 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged, and not on the stream.
    pub(crate) lost_acks: usize,
    /// Shown to somebody, and not on the stream.
    pub(crate) made_up: usize,
    /// One vid for two events, or two vids of one epoch for one event.
    pub(crate) double: usize,
    /// Events that a reader was never shown, without a gap.
    pub(crate) untold: usize,
    pub(crate) repeated: usize,
    pub(crate) reordered: usize,
    /// Events of a publisher in another order than it sent them.
    pub(crate) publisher_order: usize,
    pub(crate) split_batches: usize,
    /// Gaps that were none.
    pub(crate) false_gaps: usize,
    /// Another epoch from one event to the next, without a gap.
    pub(crate) silent_resets: usize,
}

/// At most so many findings are described one by one.
const EXAMPLES: usize = 12;

struct Check<'h> {
    stream: &'h Stream,
    /// What is known of each log, epoch by epoch.
    logs: HashMap<&'h str, BTreeMap<u64, &'h str>>,
    found: Findings,
    examples: Vec<String>,
}

/// What was found, and examples of it.
pub(crate) fn check(history: &History, stream: &Stream) -> (Findings, Vec<String>) {
    let mut check = Check {
        stream,
        logs: HashMap::new(),
        found: Findings::default(),
        examples: Vec::new(),
    };
    check.put_together(history);
    check.against_the_stream(history);
    check.publishers();
    check.batches(history);
    for (number, reading) in history.readings.iter().enumerate() {
        ReadingCheck::new(&mut check, number).run(reading);
    }
    (check.found, check.examples)
}

impl<'h> Check<'h> {
    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }

    fn put_together(&mut self, history: &'h History) {
        let stream = self.stream;
        let last = stream.events.iter();
        let last = last.map(|(vid, id)| (stream.epoch.as_str(), *vid, id.as_str()));
        // Just after a log was replaced, a gateway may acknowledge an event of the new one under
        // the old name; that cursor leads to a gap, and says nothing of the old log.
        let acknowledged = history.acknowledged.iter();
        let acknowledged = acknowledged.filter(|ack| ack.place.epoch == stream.epoch);
        let acknowledged = acknowledged.map(|ack| (&*ack.place.epoch, ack.place.vid, &*ack.id));
        let told = history.readings.iter().flat_map(|reading| &reading.told);
        let seen = told.filter_map(|told| match &told.what {
            What::Event(place, id) => Some((&*place.epoch, place.vid, &**id)),
            _ => None,
        });
        let mut vids: HashMap<(&str, &str), u64> = HashMap::new();
        for (epoch, vid, id) in last.chain(acknowledged).chain(seen) {
            let known = *self.logs.entry(epoch).or_default().entry(vid).or_insert(id);
            let first = *vids.entry((epoch, id)).or_insert(vid);
            if known != id || first != vid {
                self.found.double += 1;
                self.example(|| format!("{vid}-{epoch} is {known} and {id}, which is {first}"));
            }
        }
    }

    /// What was acknowledged or shown of this log is there, or was trimmed.
    fn against_the_stream(&mut self, history: &'h History) {
        let stream = self.stream;
        let is_gone = |place: &Place| {
            let counts = place.epoch == stream.epoch && place.vid >= stream.first;
            counts && !stream.holes.contains(&place.vid) && !stream.events.contains_key(&place.vid)
        };
        for ack in history
            .acknowledged
            .iter()
            .filter(|ack| is_gone(&ack.place))
        {
            self.found.lost_acks += 1;
            self.example(|| format!("lost: {ack:?}"));
        }
        for told in history.readings.iter().flat_map(|reading| &reading.told) {
            if matches!(&told.what, What::Event(place, _) if is_gone(place)) {
                self.found.made_up += 1;
                self.example(|| format!("made up: {told:?}"));
            }
        }
    }

    fn publishers(&mut self) {
        let mut wrong = Vec::new();
        for (epoch, log) in &self.logs {
            let mut serials: HashMap<&str, u64> = HashMap::new();
            for (vid, id) in log {
                let Some((publisher, serial)) = serial_of(id) else {
                    continue;
                };
                let before = serials.insert(publisher, serial);
                if before.is_some_and(|before| before >= serial) {
                    wrong.push(format!("{id} at {vid}-{epoch} comes late"));
                }
            }
        }
        self.found.publisher_order += wrong.len();
        for text in wrong {
            self.example(|| text);
        }
    }

    fn batches(&mut self, history: &History) {
        for batch in &history.batches {
            let follows =
                |pair: &[Place]| pair[0].epoch == pair[1].epoch && pair[0].vid + 1 == pair[1].vid;
            if !batch.windows(2).all(follows) {
                self.found.split_batches += 1;
                self.example(|| format!("split: {batch:?}"));
            }
        }
    }
}

/// `p3-17` is the 17th event of `p3`.
fn serial_of(id: &str) -> Option<(&str, u64)> {
    let (publisher, serial) = id.split_once('-')?;
    let serial = serial.parse().ok()?;
    publisher.starts_with('p').then_some((publisher, serial))
}

/// One reader, along its way.
struct ReadingCheck<'c, 'h> {
    check: &'c mut Check<'h>,
    number: usize,
    /// Everything up to here was shown or reported; none before the first word.
    position: Option<Place>,
    seen: HashSet<Place>,
}

impl<'c, 'h> ReadingCheck<'c, 'h> {
    fn new(check: &'c mut Check<'h>, number: usize) -> Self {
        ReadingCheck {
            check,
            number,
            position: None,
            seen: HashSet::new(),
        }
    }

    fn run(mut self, reading: &Reading) {
        for (index, told) in reading.told.iter().enumerate() {
            let before = self.check.found;
            match &told.what {
                What::Event(place, _) => self.event(place),
                What::Through(place) => self.through(place),
                What::Gap(gap) => {
                    let to = Place {
                        epoch: gap.epoch.clone(),
                        vid: gap.first.saturating_sub(1),
                    };
                    self.gap(&gap.reason, to, gap.last);
                }
                What::Closing => {}
            }
            if self.check.found != before {
                let number = self.number;
                let around = &reading.told[index.saturating_sub(4)..=index];
                self.check
                    .example(|| format!("reading {number}: … {around:#?}"));
            }
        }
    }

    fn event(&mut self, place: &Place) {
        if !self.seen.insert(place.clone()) {
            self.check.found.repeated += 1;
            return;
        }
        self.pass(place, place.vid.saturating_sub(1));
        let position = self.position.as_ref().expect("it was set");
        if place.vid <= position.vid {
            self.check.found.reordered += 1;
        } else {
            self.position = Some(place.clone());
        }
    }

    fn through(&mut self, place: &Place) {
        self.pass(place, place.vid);
        let position = self.position.as_ref().expect("it was set");
        if place.vid < position.vid {
            self.check.found.reordered += 1;
        } else {
            self.position = Some(place.clone());
        }
    }

    /// The reader is at this place, and passes everything before it by.
    fn pass(&mut self, place: &Place, last_passed: u64) {
        let position = match self.position.take() {
            // It began at the earliest event of an empty log.
            None => 0,
            Some(position) if position.epoch == place.epoch => position.vid,
            Some(_) => {
                self.check.found.silent_resets += 1;
                place.vid - 1
            }
        };
        if let Some(log) = self.check.logs.get(place.epoch.as_str())
            && position < last_passed
        {
            let stream = self.check.stream;
            let is_last = place.epoch == stream.epoch;
            let passed = log.range(position + 1..=last_passed);
            // What was deleted cannot be told any more.
            let passed = passed.filter(|(vid, _)| !(is_last && stream.holes.contains(vid)));
            self.check.found.untold += passed.count();
        }
        self.position = Some(Place {
            epoch: place.epoch.clone(),
            vid: position,
        });
    }

    fn gap(&mut self, reason: &str, to: Place, last: u64) {
        let position = self.position.take();
        let is_same_log = position.as_ref().is_none_or(|at| at.epoch == to.epoch);
        let is_right = match reason {
            // What is gone is gone.
            "expired" => {
                let gone_now = to.epoch != self.check.stream.epoch
                    || to.vid < self.check.stream.first
                    || self.check.stream.events.range(..=to.vid).next().is_none();
                is_same_log && gone_now
            }
            // A reader that leaves right behind a gap is told of it again.
            "reset" => !is_same_log || position.as_ref().is_some_and(|at| at.vid <= to.vid),
            _ => false,
        };
        if !is_right || last + 1 < to.vid + 1 {
            self.check.found.false_gaps += 1;
        }
        let ahead = position.filter(|at| at.epoch == to.epoch && at.vid > to.vid);
        self.position = Some(ahead.unwrap_or(to));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::common::read::{Gap, Transport};
    use crate::record::{Acknowledged, Told};

    const EPOCH: &str = "now";

    fn place(epoch: &str, vid: u64) -> Place {
        Place {
            epoch: epoch.to_owned(),
            vid,
        }
    }

    fn event(epoch: &str, vid: u64) -> What {
        What::Event(place(epoch, vid), format!("p0-{vid}"))
    }

    fn reset(to: &str) -> What {
        What::Gap(Gap {
            reason: "reset".into(),
            requested: "3-before".into(),
            first: 1,
            last: 4,
            epoch: to.into(),
        })
    }

    /// The stream has four events; one reader was told this.
    fn found(told: Vec<What>, change: impl FnOnce(&mut History, &mut Stream)) -> Findings {
        let events = (1..=4).map(|vid| (vid, format!("p0-{vid}")));
        let mut stream = Stream {
            epoch: EPOCH.to_owned(),
            first: 1,
            events: events.collect(),
            ..Stream::default()
        };
        let told = told.into_iter().map(|what| Told {
            at: Duration::ZERO,
            gateway: 0,
            via: Transport::Sse,
            what,
        });
        let reading = Reading {
            stays_at: None,
            told: told.collect(),
        };
        let mut history = History {
            readings: vec![reading],
            ..History::default()
        };
        change(&mut history, &mut stream);
        check(&history, &stream).0
    }

    fn found_of(told: Vec<What>) -> Findings {
        found(told, |_, _| {})
    }

    fn of_now(vids: &[u64]) -> Vec<What> {
        vids.iter().map(|vid| event(EPOCH, *vid)).collect()
    }

    #[test]
    fn what_a_reader_was_told_has_to_be_the_stream() {
        assert_eq!(found_of(of_now(&[1, 2, 3, 4])), Findings::default());
        assert_eq!(found_of(of_now(&[1, 2, 4])).untold, 1);
        assert_eq!(found_of(of_now(&[1, 2, 2, 3])).repeated, 1);
        assert_eq!(found_of(of_now(&[1, 3, 2, 4])).reordered, 1);
        let made_up = found_of(of_now(&[1, 2, 3, 4, 5]));
        assert_eq!((made_up.made_up, made_up.untold), (1, 0));
        let passed_by = vec![event(EPOCH, 1), What::Through(place(EPOCH, 4))];
        assert_eq!(found_of(passed_by).untold, 3);
    }

    #[test]
    fn a_reader_is_told_of_another_log_by_a_gap_and_never_of_the_one_before() {
        let told = |gaps: &[What]| {
            let mut told = vec![event("before", 3)];
            told.extend_from_slice(gaps);
            told.extend(of_now(&[1, 2, 3, 4]));
            found_of(told)
        };
        assert_eq!(told(&[reset(EPOCH)]), Findings::default());
        assert_eq!(told(&[reset(EPOCH), reset(EPOCH)]), Findings::default());
        assert_eq!(told(&[]).silent_resets, 1);
        let back = vec![event(EPOCH, 1), event(EPOCH, 2), reset(EPOCH)];
        assert_eq!(found_of(back).false_gaps, 1);
    }

    #[test]
    fn what_was_acknowledged_is_on_the_stream_at_one_place_and_in_order() {
        let acknowledged = |vid, id: &str| {
            let ack = Acknowledged {
                at: Duration::ZERO,
                gateway: 0,
                id: id.to_owned(),
                place: place(EPOCH, vid),
            };
            found(of_now(&[1, 2, 3, 4]), |history, _| {
                history.acknowledged.push(ack);
            })
        };
        assert_eq!(acknowledged(2, "p0-2"), Findings::default());
        assert_eq!(acknowledged(5, "p0-5").lost_acks, 1);
        assert_eq!(acknowledged(3, "p0-2").double, 1);

        let split = found(of_now(&[1, 2, 3, 4]), |history, _| {
            let places = [1, 3].map(|vid| place(EPOCH, vid));
            history.batches.push(places.into());
        });
        assert_eq!(split.split_batches, 1);
        let disordered = found(of_now(&[1, 2]), |_, stream| {
            stream.events.insert(3, "p0-4".into());
            stream.events.insert(4, "p0-3".into());
        });
        assert_eq!(disordered.publisher_order, 1);
    }
}
