//! What publishers and readers of a cluster were told, with the time of one monotonic clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::common::read::{Data, Gap, Seen, Step, Transport};
use crate::common::steps::vid_of;

/// Since the run began.
pub(crate) type Moment = Duration;

/// An event was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) at: Moment,
    /// The gateway that said so.
    pub(crate) gateway: usize,
    pub(crate) id: String,
    pub(crate) place: Place,
}

/// A place on a log that may be replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) epoch: String,
    pub(crate) vid: u64,
}

impl Place {
    pub(crate) fn of(cursor: &str) -> Self {
        let (_, epoch) = cursor.split_once('-').expect("a full cursor");
        Place {
            epoch: epoch.to_owned(),
            vid: vid_of(cursor),
        }
    }
}

/// What a reader was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An event, by the id of its publisher, or by its data where it has none.
    Event(Place, String),
    /// Nothing is missing up to here.
    Through(Place),
    Gap(Gap),
    Closing,
}

/// With what is printed where a check fails.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub(crate) struct Told {
    pub(crate) at: Moment,
    pub(crate) gateway: usize,
    pub(crate) via: Transport,
    pub(crate) what: What,
}

/// What one reader was told, over all of its subscriptions: each resumes with the cursor that the
/// reader had.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// The gateway that it stays at; none where it goes from one to the other.
    pub(crate) stays_at: Option<usize>,
    pub(crate) told: Vec<Told>,
}

/// A publisher was refused, or had no answer.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub(crate) struct Refusal {
    pub(crate) at: Moment,
    pub(crate) gateway: usize,
    pub(crate) took: Duration,
    /// None: no answer until the publisher gave up.
    pub(crate) text: Option<String>,
}

/// What a gateway said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Green,
    /// It reaches the log, and the last events could not be stored.
    NotWritable,
    /// It is not in touch with the log.
    Red,
    Unreachable,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) sent: u64,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// The places of atomic batches.
    pub(crate) batches: Vec<Vec<Place>>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) refusals: Vec<Refusal>,
    /// By gateway.
    pub(crate) health: HashMap<usize, Vec<(Moment, Health)>>,
    /// Who leads the stream, as far as anybody says.
    pub(crate) leaders: Vec<(Moment, Option<String>)>,
    /// Polls that were answered while the gateway said before and after that it was not ready.
    pub(crate) served_while_red: u64,
}

/// What all clients of a run share.
pub(crate) struct Record {
    began: Instant,
    history: Mutex<History>,
    publishers_stop: AtomicBool,
    /// Where the log has ended; 0 before.
    end: AtomicU64,
    end_epoch: Mutex<String>,
}

impl Record {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Record {
            began: Instant::now(),
            history: Mutex::default(),
            publishers_stop: AtomicBool::new(false),
            end: AtomicU64::new(0),
            end_epoch: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("the history")
    }

    pub(crate) fn stop_publishers(&self) {
        self.publishers_stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.publishers_stop.load(Ordering::SeqCst)
    }

    /// Readers end here.
    pub(crate) fn end_at(&self, end: &Place) {
        self.end_epoch.lock().expect("it").clone_from(&end.epoch);
        self.end.store(end.vid, Ordering::SeqCst);
    }

    pub(crate) fn is_end(&self, place: &Place) -> bool {
        let end = self.end.load(Ordering::SeqCst);
        end > 0 && place.vid >= end && *self.end_epoch.lock().expect("it") == place.epoch
    }
}

impl History {
    /// Begins a reading; its number.
    pub(crate) fn begin(&mut self, stays_at: Option<usize>) -> usize {
        self.readings.push(Reading {
            stays_at,
            told: Vec::new(),
        });
        self.readings.len() - 1
    }
}

/// What a step says, and the cursor that the reader has from then on.
pub(crate) fn what_of(step: Step) -> Option<(What, Option<String>)> {
    let through = |cursor: String| (What::Through(Place::of(&cursor)), Some(cursor));
    match step {
        Step::Hello { .. } => None,
        Step::Event(seen, cursor) => {
            let what = What::Event(Place::of(&cursor), name_of(&seen));
            Some((what, Some(cursor)))
        }
        Step::CaughtUp(cursor) | Step::Progress(cursor) => Some(through(cursor)),
        Step::Gap(gap) => Some((What::Gap(gap), None)),
        Step::Closing => Some((What::Closing, None)),
    }
}

fn name_of(seen: &Seen) -> String {
    if !seen.id.is_empty() {
        return seen.id.clone();
    }
    match &seen.data {
        Data::Json(text) | Data::Text(text) => text.clone(),
        Data::Bytes(bytes) => format!("{bytes:?}"),
    }
}
