//! What publishers sent and were answered, and what readers saw, each with the time of one
//! monotonic clock.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::common::publisher::{Ack, Draft};
use crate::common::read::{Data, Seen};

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// When an id was sent first, and with what.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) at: Micros,
    pub(crate) topic: String,
    pub(crate) digest: u64,
}

/// An acknowledgement.
#[derive(Clone)]
pub(crate) struct Acknowledged {
    pub(crate) at: Micros,
    pub(crate) id: String,
    pub(crate) vid: u64,
}

/// An event as it was shown; the same event should have the same face for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Face {
    pub(crate) vid: u64,
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) time_ms: i64,
    pub(crate) digest: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportedGap {
    pub(crate) reason: String,
    pub(crate) requested: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A subscription was asked for; what follows comes from it.
    Asked,
    Hello {
        first: u64,
        last: u64,
    },
    /// A number of [`History::faces`].
    Event(usize),
    CaughtUp(u64),
    Progress(u64),
    Gap(Box<ReportedGap>),
}

/// What one reader received, over all of its subscriptions: each resumes where the one before it
/// ended.
#[derive(Clone, Default)]
pub(crate) struct Reading {
    /// None is all.
    pub(crate) topics: Vec<String>,
    /// It began while the log was empty; else at the earliest event that was retained.
    pub(crate) from_the_beginning: bool,
    pub(crate) received: Vec<(Micros, What)>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Rules {
    pub(crate) max_events: u64,
    pub(crate) max_age_ms: i64,
}

/// A start of the gateway. From then on its clock is the one that measures durations; of the time
/// of day it knows what the system said at its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Micros,
    /// By how many milliseconds the time of day was wrong then; none when it was so far back that
    /// the log has later times.
    pub(crate) offset_ms: Option<i64>,
}

/// How often each thing was done to gateway and readers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) kills: u32,
    pub(crate) ends: u32,
    pub(crate) resumes: u32,
    pub(crate) cuts: u32,
    pub(crate) silences: u32,
    pub(crate) stalls: u32,
    /// Jumps of the clock by seconds or hours, …
    pub(crate) jumps: u32,
    /// … and by years, some of them for a moment only.
    pub(crate) jumps_of_years: u32,
    /// Read transactions that other processes held for seconds.
    pub(crate) outside_reads: u32,
    /// Write locks that other processes held for a moment.
    pub(crate) outside_locks: u32,
    /// Clients that asked for old events and hung up.
    pub(crate) hang_ups: u32,
    pub(crate) gaps: u32,
    /// Gaps that were reported on a stream which had been served before, not at its start.
    pub(crate) gaps_in_streams: u32,
}

impl Done {
    /// Has each thing happened that a run is for?
    pub(crate) fn has_tested(&self) -> bool {
        let counts = [
            self.kills,
            self.ends,
            self.cuts,
            self.stalls,
            self.jumps,
            self.jumps_of_years,
            self.outside_reads,
            self.outside_locks,
            self.hang_ups,
            self.gaps,
        ];
        counts.iter().all(|count| *count > 0)
    }
}

#[derive(Clone, Default)]
pub(crate) struct History {
    pub(crate) sent: HashMap<String, Sent>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// The vids of atomic batches.
    pub(crate) batches: Vec<Vec<u64>>,
    pub(crate) faces: Vec<Face>,
    pub(crate) numbers: HashMap<Face, usize>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) epochs: BTreeSet<String>,
    /// From when on the gateway went by which time: since its starts, and since corrections.
    pub(crate) starts: Vec<Start>,
    /// Panics in the gateway's logs.
    pub(crate) panics: usize,
    /// The time of day when the run began, in milliseconds.
    pub(crate) began_ms: i64,
    pub(crate) rules: Rules,
    pub(crate) done: Done,
    /// Answers that nobody should have got.
    pub(crate) refusals: Vec<String>,
}

pub(crate) fn digest(data: &Data) -> u64 {
    let mut hasher = DefaultHasher::new();
    match data {
        Data::Json(text) => (0, text).hash(&mut hasher),
        Data::Text(text) => (1, text).hash(&mut hasher),
        Data::Bytes(bytes) => (2, bytes).hash(&mut hasher),
    }
    hasher.finish()
}

impl History {
    pub(crate) fn sending(&mut self, at: Micros, drafts: &[Draft]) {
        for draft in drafts {
            let digest = digest(&Data::Json(draft.data.clone()));
            let sent = Sent {
                at,
                topic: draft.topic.clone(),
                digest,
            };
            self.sent.entry(draft.id.clone()).or_insert(sent);
        }
    }

    /// These were acknowledged, in this order.
    pub(crate) fn acknowledged(
        &mut self,
        at: Micros,
        drafts: &[Draft],
        acks: &[Ack],
        is_batch: bool,
    ) {
        for (draft, ack) in drafts.iter().zip(acks) {
            let (vid, epoch) = ack.cursor.split_once('-').expect("a full cursor");
            assert_eq!(vid, ack.vid.to_string());
            self.epochs.insert(epoch.to_owned());
            self.acknowledged.push(Acknowledged {
                at,
                id: draft.id.clone(),
                vid: ack.vid,
            });
        }
        if is_batch && acks.len() == drafts.len() {
            self.batches.push(acks.iter().map(|ack| ack.vid).collect());
        }
    }

    pub(crate) fn begin_reading(&mut self, topics: &[String], from_the_beginning: bool) -> usize {
        self.readings.push(Reading {
            topics: topics.to_vec(),
            from_the_beginning,
            received: Vec::new(),
        });
        self.readings.len() - 1
    }

    pub(crate) fn received(&mut self, at: Micros, reading: usize, what: What) {
        self.readings[reading].received.push((at, what));
    }

    pub(crate) fn saw(&mut self, at: Micros, reading: usize, seen: Seen) {
        let digest = digest(&seen.data);
        let face = Face {
            vid: seen.vid,
            id: seen.id,
            topic: seen.topic,
            time_ms: seen.time_ms,
            digest,
        };
        let number = self.number(face);
        self.received(at, reading, What::Event(number));
    }

    pub(crate) fn number(&mut self, face: Face) -> usize {
        *self.numbers.entry(face).or_insert_with_key(|face| {
            self.faces.push(face.clone());
            self.faces.len() - 1
        })
    }

    /// The most that the bus's time can have been at this moment. It never falls, so what an
    /// earlier start was given counts on.
    pub(crate) fn latest_time_ms(&self, at: Micros) -> i64 {
        let before = self.starts.iter().take_while(|start| start.at <= at);
        let most = before.filter_map(|start| start.offset_ms).max();
        most.map_or(i64::MAX, |offset| self.began_ms + millis(at) + offset)
    }

    /// The least that the bus's time can have been for an event that was sent and first heard of at
    /// these moments.
    pub(crate) fn earliest_time_ms(&self, sent: Micros, known: Micros) -> i64 {
        let ends = self.starts.iter().skip(1).map(|next| next.at);
        let runs = self.starts.iter().zip(ends.chain([Micros::MAX]));
        let offsets = runs
            .filter(|(start, end)| start.at <= known && sent <= *end)
            .map(|(start, _)| start.offset_ms);
        // With a clock that was set back by years nothing is known but that times never fall.
        let least = offsets.min().flatten();
        least.map_or(i64::MIN, |offset| self.began_ms + millis(sent) + offset)
    }
}

pub(crate) fn millis(at: Micros) -> i64 {
    i64::try_from(at / 1000).expect("a short run")
}
