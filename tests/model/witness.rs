//! What one reader received, held against all that a shared log ever had.
//!
//! Invariants that it checks, epoch by epoch:
//! - an event is the one that the log has under that vid, and its vid is above the last position;
//! - a position never passes an event that matches, unless a gap says so;
//! - a gap is reported only of what is gone: `expired` below the oldest retained vid, `reset` for
//!   another epoch, and `ahead` never, as each cursor is one of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use vidette::event::Event;

use crate::common::read::{Gap, Seen, Step, Transport};
use crate::common::shared_log::{Era, SharedLog};
use crate::common::steps::vid_of;
use crate::log::matches;

/// The topic of the last event of a script, which every filter here matches.
pub const LAST_TOPIC: &str = "a.last";

type Checked = Result<(), String>;

pub struct Witness {
    log: SharedLog,
    pub via: Transport,
    patterns: &'static [&'static str],
    at: Position,
    /// The last cursor that came, to resume from.
    pub cursor: Option<String>,
    pub has_seen_the_last: bool,
    /// The last steps, to be shown when one is wrong.
    recent: VecDeque<String>,
}

/// Steps that are shown.
const RECENT: usize = 8;

/// How far a reader has come.
#[derive(Debug, Clone, Default)]
struct Position {
    /// None before anything has been read.
    epoch: Option<String>,
    vid: u64,
    /// Everything retained is wanted and nothing has been read yet, so that trimming is no gap.
    is_fresh: bool,
}

impl Position {
    fn start() -> Self {
        Position {
            is_fresh: true,
            ..Position::default()
        }
    }

    fn of_cursor(cursor: &str) -> Self {
        Position {
            epoch: Some(epoch_of(cursor).to_owned()),
            vid: vid_of(cursor),
            is_fresh: false,
        }
    }
}

fn epoch_of(cursor: &str) -> &str {
    cursor.split_once('-').map_or("", |(_, epoch)| epoch)
}

impl Witness {
    pub fn new(log: SharedLog, via: Transport, patterns: &'static [&'static str]) -> Self {
        Witness {
            log,
            via,
            patterns,
            at: Position::start(),
            cursor: None,
            has_seen_the_last: false,
            recent: VecDeque::new(),
        }
    }

    pub fn topics(&self) -> Vec<String> {
        self.patterns.iter().map(ToString::to_string).collect()
    }

    /// Another subscription goes on from the last cursor.
    pub fn resumes(&mut self) {
        let cursor = self.cursor.as_deref();
        self.at = cursor.map_or_else(Position::start, Position::of_cursor);
        self.remember(format!("resumes after {:?}", self.cursor));
    }

    fn remember(&mut self, what: String) {
        self.recent.push_back(what);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    pub fn take(&mut self, step: &Step) -> Checked {
        let checked = match step {
            Step::Hello { .. } | Step::Closing => Ok(()),
            Step::Event(seen, cursor) => self.event(seen, cursor),
            Step::CaughtUp(cursor) | Step::Progress(cursor) => {
                self.moves_to(cursor, vid_of(cursor))
            }
            Step::Gap(gap) => self.gap(gap),
        };
        self.remember(format!("{step:?}"));
        checked.map_err(|why| {
            let Witness {
                via,
                at,
                patterns,
                recent,
                ..
            } = self;
            format!("{via:?} of {patterns:?} at {at:?}: {why}, after {recent:#?}")
        })
    }

    fn event(&mut self, seen: &Seen, cursor: &str) -> Checked {
        let era = self.era(epoch_of(cursor))?;
        let is_it = |event: &&Arc<Event>| event.vid == seen.vid;
        let event = era.events.iter().find(is_it);
        let event = event.ok_or("no event of the log has that vid")?;
        let id = event.sent.id.as_deref().unwrap_or_default();
        if (event.sent.topic.as_str(), id) != (&*seen.topic, &*seen.id) {
            return Err(format!("the log has {event:?} there"));
        }
        if !matches(self.patterns, &seen.topic) {
            return Err("it does not match".into());
        }
        if self.at.epoch.as_deref() == Some(&era.epoch) && seen.vid <= self.at.vid {
            return Err("it comes twice, or late".into());
        }
        self.moves_to(cursor, seen.vid - 1)?;
        self.at.vid = seen.vid;
        self.has_seen_the_last = seen.topic == LAST_TOPIC;
        Ok(())
    }

    /// Everything that matches up to this vid has come; the cursor is there or just behind.
    fn moves_to(&mut self, cursor: &str, through: u64) -> Checked {
        let epoch = epoch_of(cursor);
        let from = self.at.epoch.get_or_insert_with(|| epoch.to_owned());
        if from != epoch {
            return Err("another epoch, without a gap".into());
        }
        if through < self.at.vid {
            return Err("the position falls".into());
        }
        self.nothing_is_passed(self.at.vid, through)?;
        self.at.vid = through;
        self.at.is_fresh = false;
        self.cursor = Some(cursor.to_owned());
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Checked {
        let requested = vid_of(&gap.requested);
        let era = self.era(&gap.epoch)?;
        let of = epoch_of(&gap.requested);
        if self.at.epoch.get_or_insert_with(|| of.to_owned()) != of {
            return Err("it is of another epoch than the reader was in".into());
        }
        match gap.reason.as_str() {
            "expired" => {
                let is_gone = self
                    .first(&era.epoch)
                    .is_none_or(|first| gap.first <= first);
                if of != gap.epoch || requested + 1 >= gap.first || !is_gone {
                    return Err("nothing is gone there".into());
                }
                if requested < self.at.vid {
                    return Err("the position falls".into());
                }
                self.nothing_is_passed(self.at.vid, requested)?;
            }
            "reset" if of != gap.epoch => {}
            _ => return Err("no cursor of the reader can have that gap".into()),
        }
        self.at = Position {
            epoch: Some(gap.epoch.clone()),
            vid: gap.first - 1,
            is_fresh: gap.reason == "reset",
        };
        Ok(())
    }

    /// Is there nothing that matches after the one vid and up to the other?
    fn nothing_is_passed(&self, after: u64, through: u64) -> Checked {
        let epoch = self.at.epoch.as_deref().unwrap_or_default();
        let first = if self.at.is_fresh {
            self.first(epoch).unwrap_or(u64::MAX)
        } else {
            0
        };
        let era = self.era(epoch)?;
        let mut passed = era.events.iter().filter(|event| {
            let is_between = event.vid > after && event.vid <= through && event.vid >= first;
            is_between && matches(self.patterns, event.sent.topic.as_str())
        });
        match passed.next() {
            None => Ok(()),
            Some(event) => Err(format!("{} was lost without a gap", event.vid)),
        }
    }

    fn era(&self, epoch: &str) -> Result<Era, String> {
        let mut past = self.log.past().into_iter();
        let era = past.find(|era| era.epoch == epoch);
        era.ok_or(format!("the log never had the epoch {epoch}"))
    }

    /// The oldest retained vid of this epoch, if the log still has it.
    fn first(&self, epoch: &str) -> Option<u64> {
        let state = self.log.state();
        (state.lineage.epoch().as_str() == epoch).then_some(state.bounds.first)
    }
}
