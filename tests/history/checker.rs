//! Is there one log that explains everything that was recorded?
//!
//! The log is put together from all acknowledgements and from all that any reader saw; each record
//! is then held against it, and against the order in time in which the records were made.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::findings::Findings;
use crate::record::{Face, History, Micros, Reading, ReportedGap, What, millis};

/// Between a look at the clock and the record of it.
const CLOCK_SLACK_MS: i64 = 100;
/// By how much two right clocks may differ in a run.
const CLOCK_DRIFT_MS: i64 = 1000;

/// What is known of a vid.
struct Known<'h> {
    id: &'h str,
    topic: &'h str,
    time_ms: Option<i64>,
    sent_at: Micros,
    /// When somebody first knew of it.
    heard_at: Micros,
}

/// The largest of some numbers that were there before a moment.
struct Rising(Vec<(Micros, u64)>);

impl Rising {
    fn new(mut numbers: Vec<(Micros, u64)>) -> Self {
        numbers.sort_unstable();
        let mut most = 0;
        for (_, number) in &mut numbers {
            most = most.max(*number);
            *number = most;
        }
        Rising(numbers)
    }

    fn before(&self, at: Micros) -> u64 {
        let count = self.0.partition_point(|(then, _)| *then < at);
        count.checked_sub(1).map_or(0, |newest| self.0[newest].1)
    }
}

struct Check<'h> {
    history: &'h History,
    log: BTreeMap<u64, Known<'h>>,
    /// Vids that some reader was shown.
    shown: HashSet<u64>,
    /// Vids that were given out, by when somebody knew; and by when they can have been given out at
    /// the earliest.
    known: Rising,
    sent: Rising,
    /// The oldest retained vid, by when somebody knew.
    firsts: Rising,
    found: Findings,
    examples: Vec<String>,
}

/// At most so many findings are described one by one.
const EXAMPLES: usize = 20;

/// What was found, and examples of what a reader should have received.
pub(crate) fn check(history: &History) -> (Findings, Vec<String>) {
    let mut found = Findings::default();
    let log = put_together(history, &mut found);
    let all = || {
        history
            .readings
            .iter()
            .flat_map(|reading| &reading.received)
    };
    let firsts = all().filter_map(|(at, what)| match what {
        What::Hello { first, .. } => Some((*at, *first)),
        What::Gap(gap) => Some((*at, gap.first)),
        _ => None,
    });
    let shown = |what: &What| {
        if let What::Event(number) = what {
            Some(history.faces[*number].vid)
        } else {
            None
        }
    };
    let mut check = Check {
        history,
        shown: all().filter_map(|(_, what)| shown(what)).collect(),
        known: Rising::new(
            log.iter()
                .map(|(vid, known)| (known.heard_at, *vid))
                .collect(),
        ),
        sent: Rising::new(
            log.iter()
                .map(|(vid, known)| (known.sent_at, *vid))
                .collect(),
        ),
        firsts: Rising::new(firsts.collect()),
        log,
        found,
        examples: Vec::new(),
    };
    check.order_in_time();
    check.times();
    check.batches();
    for (number, reading) in history.readings.iter().enumerate() {
        check.reading(number, reading);
    }
    check.found.changed += history.epochs.len().saturating_sub(1);
    check.found.wrong_refusals = history.refusals.len();
    check.found.panics = history.panics;
    (check.found, check.examples)
}

/// The log, and what contradicts itself in it.
fn put_together<'h>(history: &'h History, found: &mut Findings) -> BTreeMap<u64, Known<'h>> {
    let mut log: BTreeMap<u64, Known<'h>> = BTreeMap::new();
    let mut vids: HashMap<&str, u64> = HashMap::new();
    let mut contradicted = HashSet::new();
    for face in &history.faces {
        match history.sent.get(&face.id) {
            Some(sent) => {
                found.changed +=
                    usize::from((&sent.topic, sent.digest) != (&face.topic, face.digest));
                let known = Known {
                    id: &face.id,
                    topic: &face.topic,
                    time_ms: Some(face.time_ms),
                    sent_at: sent.at,
                    heard_at: Micros::MAX,
                };
                let other = log.insert(face.vid, known);
                found.double_vid += usize::from(other.as_ref().is_some_and(|o| o.id != face.id));
                found.changed += usize::from(other.is_some_and(|o| o.id == face.id));
                found.repeated += usize::from(
                    vids.insert(&face.id, face.vid)
                        .is_some_and(|vid| vid != face.vid),
                );
            }
            None => found.made_up += 1,
        }
    }
    for (at, what) in history
        .readings
        .iter()
        .flat_map(|reading| &reading.received)
    {
        let What::Event(number) = what else { continue };
        if let Some(known) = log.get_mut(&history.faces[*number].vid) {
            known.heard_at = known.heard_at.min(*at);
        }
    }
    for ack in &history.acknowledged {
        let first = *vids.entry(&ack.id).or_insert(ack.vid);
        if first != ack.vid {
            found.changed += usize::from(contradicted.insert((&ack.id, ack.vid)));
            continue;
        }
        let sent = &history.sent[&ack.id];
        let (id, topic) = (ack.id.as_str(), sent.topic.as_str());
        let fresh = Known {
            id,
            topic,
            time_ms: None,
            sent_at: sent.at,
            heard_at: ack.at,
        };
        let known = log.entry(ack.vid).or_insert(fresh);
        if known.id == ack.id {
            known.heard_at = known.heard_at.min(ack.at);
        } else {
            found.double_vid += usize::from(contradicted.insert((&ack.id, ack.vid)));
        }
    }
    log
}

impl Check<'_> {
    /// What somebody knew of before another event was sent comes before that event.
    fn order_in_time(&mut self) {
        let (mut later_told, mut later_time) = (Micros::MAX, i64::MAX);
        for known in self.log.values().rev() {
            self.found.out_of_time +=
                usize::from(later_told < known.sent_at || known.heard_at < known.sent_at);
            later_told = later_told.min(known.heard_at);
            if let Some(time_ms) = known.time_ms {
                self.found.times_fell += usize::from(time_ms > later_time);
                later_time = time_ms;
            }
        }
    }

    /// Each event has a time of the clock that does not jump, between being sent and being known.
    fn times(&mut self) {
        for known in self.log.values() {
            let Some(time_ms) = known.time_ms else {
                continue;
            };
            let earliest = self.history.earliest_time_ms(known.sent_at, known.heard_at);
            let latest = self.history.latest_time_ms(known.heard_at);
            let range =
                earliest.saturating_sub(CLOCK_DRIFT_MS)..=latest.saturating_add(CLOCK_DRIFT_MS);
            self.found.wrong_times += usize::from(!range.contains(&time_ms));
        }
    }

    fn batches(&mut self) {
        for vids in &self.history.batches {
            let (Some(first), Some(last)) = (vids.first(), vids.last()) else {
                continue;
            };
            let is_split =
                first > last || !self.log.range(first..=last).map(|(vid, _)| vid).eq(vids);
            self.found.split_batches += usize::from(is_split);
        }
    }

    fn reading(&mut self, number: usize, reading: &Reading) {
        let wants =
            |topic: &str| reading.topics.is_empty() || reading.topics.iter().any(|t| t == topic);
        let mut seen = HashSet::new();
        let mut gaps: Vec<&ReportedGap> = Vec::new();
        let (mut asked, mut position) = (0, 0);
        let mut begins = reading.from_the_beginning.then_some(1);
        for (at, what) in &reading.received {
            match what {
                What::Asked => asked = *at,
                What::Hello { first, last } => {
                    self.bounds(asked, *at, *first, *last);
                    self.found.out_of_time += usize::from(*first < self.firsts.before(asked));
                }
                What::Event(number) => {
                    let Face { vid, topic, .. } = &self.history.faces[*number];
                    self.found.made_up += usize::from(!wants(topic));
                    // Somebody knew that it is gone before this subscription was asked
                    // for.
                    self.found.gaps_reported_falsely +=
                        usize::from(*vid < self.firsts.before(asked));
                    let is_new = seen.insert(*vid);
                    self.found.repeated += usize::from(!is_new);
                    self.found.reordered += usize::from(is_new && *vid <= position);
                    position = position.max(*vid);
                    begins.get_or_insert(*vid);
                }
                What::CaughtUp(cursor) | What::Progress(cursor) => {
                    self.found.reordered += usize::from(*cursor < position);
                    if matches!(what, What::CaughtUp(_)) {
                        self.found.out_of_time += usize::from(*cursor < self.known.before(asked));
                    }
                    position = position.max(*cursor);
                    begins.get_or_insert(*cursor + 1);
                }
                What::Gap(gap) => {
                    self.bounds(asked, *at, gap.first, gap.last);
                    // Only what is gone can be a gap, and only what this reader has not been past.
                    let is_right = gap.reason == "expired" && gap.requested + 1 < gap.first;
                    let is_asked_for =
                        gap.requested >= position && gap.first >= self.firsts.before(asked);
                    self.found.gaps_reported_falsely += usize::from(!is_right || !is_asked_for);
                    gaps.push(gap);
                }
            }
        }
        let in_gap = |vid: u64| {
            gaps.iter()
                .any(|gap| gap.requested < vid && vid < gap.first)
        };
        self.found.gaps_reported_falsely += seen.iter().filter(|vid| in_gap(**vid)).count();
        let begins = begins.unwrap_or(u64::MAX).min(position + 1);
        let gone = self.firsts.before(Micros::MAX);
        for (vid, known) in self
            .log
            .range(begins..)
            .take_while(|(vid, _)| **vid <= position)
        {
            if wants(known.topic) && !seen.contains(vid) && !in_gap(*vid) {
                let is_lost = *vid >= gone || !self.shown.contains(vid);
                self.found.lost += usize::from(is_lost);
                self.found.gaps_not_reported += usize::from(!is_lost);
                if self.examples.len() < EXAMPLES {
                    self.examples.push(self.around(number, reading, *vid));
                }
            }
        }
    }

    /// What a reader received right before and after it passed a vid by.
    fn around(&self, number: usize, reading: &Reading, vid: u64) -> String {
        let position = |what: &What| match what {
            What::Event(number) => self.history.faces[*number].vid,
            What::CaughtUp(cursor) | What::Progress(cursor) => *cursor,
            _ => 0,
        };
        let passed = reading
            .received
            .iter()
            .position(|(_, what)| position(what) > vid)
            .unwrap_or(0);
        let received = &reading.received[passed.saturating_sub(6)..=passed];
        let received: Vec<String> = received
            .iter()
            .map(|(at, what)| format!("{at} {what:?} ({})", position(what)))
            .collect();
        format!(
            "reading {number} of {:?} passed {vid} by: {}",
            reading.topics,
            received.join(", ")
        )
    }

    /// What is said to be the oldest and the newest vid: nothing newer was known of before, and
    /// what is gone was due.
    fn bounds(&mut self, asked: Micros, at: Micros, first: u64, last: u64) {
        self.found.out_of_time += usize::from(last < self.known.before(asked) || first > last + 1);
        // By the clock of the test, which nobody sets: whatever the gateway's says, nothing is old
        // before its time.
        let gone = first.checked_sub(1).and_then(|gone| self.log.get(&gone));
        let Some(sent_at) = gone.map(|gone| gone.sent_at) else {
            return;
        };
        let rules = self.history.rules;
        let was_old = millis(sent_at) + rules.max_age_ms <= millis(at) + CLOCK_SLACK_MS;
        let were_too_many = first - 1 + rules.max_events <= self.sent.before(at);
        self.found.trimmed_early += usize::from(!was_old && !were_too_many);
    }
}
