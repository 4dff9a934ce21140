//! What a subscription may yield next, by the contract and the list.
//!
//! A stream runs ahead of its reader: what comes was found in some state of the log since then, and
//! never in one before that of the last step. A long-poll is answered in the present state.

use crate::common::read::{Gap, Seen, Step};
use crate::common::steps::vid_of;
use crate::log::{Log, Place, Start, State, matches};

pub struct Expect {
    patterns: &'static [&'static str],
    /// Everything that matches up to here has come.
    position: u64,
    /// The first state of the log that the next step may come from.
    state: usize,
    snapshot_through: Option<u64>,
    /// Everything retained is wanted and nothing has come yet: what has been trimmed meanwhile is
    /// no gap.
    fresh: bool,
    live: bool,
    hello: bool,
    /// The gap that has to be reported first.
    gap: Option<Gap>,
    /// The last cursor that was sent.
    pub cursor: Option<String>,
}

type Checked = Result<(), String>;

impl Expect {
    pub fn new(log: &Log, patterns: &'static [&'static str], start: &Start) -> Self {
        let Place {
            position,
            gap,
            fresh,
            snapshot_through,
        } = log.place(start);
        let state = log.states.len() - 1;
        let (live, hello, cursor) = (false, true, None);
        Expect {
            patterns,
            position,
            state,
            snapshot_through,
            fresh,
            live,
            hello,
            gap,
            cursor,
        }
    }

    /// The same subscription goes on from this cursor, as a long-poll does.
    pub fn goes_on(&mut self, log: &Log, cursor: &str) {
        let Expect { live, hello, .. } = *self;
        let cursor = Some(cursor.to_owned());
        let start = Start::After(cursor.clone().unwrap_or_default());
        *self = Expect {
            live,
            hello,
            cursor,
            ..Self::new(log, self.patterns, &start)
        };
    }

    pub fn is_at_the_end(&self, log: &Log) -> bool {
        self.live && self.position == log.now().last
    }

    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    pub fn is_new(&self) -> bool {
        self.hello
    }

    pub fn step(&mut self, log: &mut Log, step: &Step) -> Checked {
        let checked = match step {
            Step::Hello { epoch, first, last } => self.hello(
                log,
                epoch,
                State {
                    first: *first,
                    last: *last,
                },
            ),
            _ if self.hello => Err("it is not the hello".into()),
            Step::Gap(gap) => self.reported_gap(log, gap),
            _ if self.gap.is_some() => Err(format!("it is not the gap {:?}", self.gap)),
            Step::Event(seen, cursor) => self.event(log, seen, cursor),
            Step::CaughtUp(cursor) => self.position(log, cursor, true),
            Step::Progress(cursor) => self.position(log, cursor, false),
            Step::Closing => Err("nobody closes".into()),
        };
        checked.map_err(|why| format!("{step:?}: {why}. {}", self.describe(log)))
    }

    pub fn describe(&self, log: &Log) -> String {
        let Expect {
            position,
            snapshot_through,
            live,
            ..
        } = self;
        let next = log.missed(self.patterns, *position, log.now().last);
        format!(
            "Position {position}, live {live}, snapshot {snapshot_through:?}, next match {next:?}, log {:?}",
            &log.states[self.state..]
        )
    }

    fn hello(&mut self, log: &Log, epoch: &str, reported: State) -> Checked {
        if !self.hello || epoch != log.epoch {
            return Err("it is another log, or there was a hello already".into());
        }
        // It is made when the stream is first read from, which may be a little later than the
        // request was taken.
        self.state = self.find(log, |state| *state == reported, "the log was not so")?;
        self.hello = false;
        Ok(())
    }

    fn event(&mut self, log: &mut Log, seen: &Seen, cursor: &str) -> Checked {
        log.compare(seen)?;
        if cursor != log.cursor(seen.vid)
            || !matches(self.patterns, &seen.topic)
            || seen.vid <= self.position
        {
            return Err("it has another cursor, or does not match, or comes late or twice".into());
        }
        let vid = seen.vid;
        let comes_next = |state: &State| {
            let is_there = state.first <= vid && vid <= state.last;
            let is_wanted = self.snapshot_through.is_none_or(|through| {
                vid > through
                    || log
                        .newest(self.patterns, *state, self.position, through)
                        .contains(&vid)
            });
            is_there && is_wanted && self.nothing_before(log, *state, vid - 1)
        };
        self.state = self.find(
            log,
            comes_next,
            "something else comes first, or it is not there",
        )?;
        self.moved(vid, cursor);
        self.fresh = false;
        Ok(())
    }

    fn position(&mut self, log: &Log, cursor: &str, is_end: bool) -> Checked {
        let vid = vid_of(cursor);
        if cursor != log.cursor(vid) || vid < self.position {
            return Err("that cursor lies behind".into());
        }
        if is_end && self.live {
            return Err("the live end was reported already".into());
        }
        let may_be_sent = |state: &State| {
            (if is_end {
                vid == state.last
            } else {
                vid <= state.last
            }) && self.nothing_before(log, *state, vid)
        };
        self.state = self.find(
            log,
            may_be_sent,
            "something was left out, or the log does not end there",
        )?;
        self.live |= is_end;
        self.moved(vid, cursor);
        Ok(())
    }

    /// Is there nothing to come after the position and up to this vid, when the log is in that
    /// state?
    fn nothing_before(&self, log: &Log, state: State, through: u64) -> bool {
        let mut position = if self.fresh {
            self.position.max(state.first - 1)
        } else {
            self.position
        };
        if let Some(snapshot) = self.snapshot_through {
            if !log
                .newest(self.patterns, state, position, snapshot.min(through))
                .is_empty()
            {
                return false;
            }
            position = position.max(snapshot);
        }
        log.missed(self.patterns, position, through).is_none()
    }

    fn reported_gap(&mut self, log: &Log, gap: &Gap) -> Checked {
        if let Some(expected) = self.gap.take() {
            self.live = false;
            return if expected == *gap {
                Ok(())
            } else {
                Err(format!("expected {expected:?}"))
            };
        }
        let requested = vid_of(&gap.requested);
        if gap.reason != "expired"
            || gap.requested != log.cursor(requested)
            || gap.epoch != log.epoch
        {
            return Err("only events of this log can be gone by now".into());
        }
        let may_be_sent = |state: &State| {
            (gap.first, gap.last) == (state.first, state.last)
                && requested >= self.position
                && requested + 1 < gap.first
                && self.nothing_before(log, *state, requested)
        };
        self.state = self.find(
            log,
            may_be_sent,
            "nothing is gone, or something else, or what is still there was left out",
        )?;
        (self.position, self.snapshot_through, self.fresh, self.live) =
            (gap.first - 1, None, false, false);
        Ok(())
    }

    /// Finds the first state from which on this is right.
    fn find(
        &self,
        log: &Log,
        is_right: impl Fn(&State) -> bool,
        or_else: &str,
    ) -> Result<usize, String> {
        let found = log.states[self.state..].iter().position(is_right);
        Ok(self.state + found.ok_or(or_else)?)
    }

    fn moved(&mut self, vid: u64, cursor: &str) {
        self.position = vid;
        self.cursor = Some(cursor.to_owned());
        self.fresh = false;
        self.snapshot_through = self.snapshot_through.filter(|through| *through > vid);
    }

    /// A long-poll's answer has this cursor; one that has not come to the end is no live end.
    pub fn answered(&mut self, log: &Log, cursor: &str) -> Checked {
        let checked = self.position(log, cursor, false);
        self.live &= self.position == log.now().last;
        checked.map_err(|why| {
            format!(
                "the answer's cursor {cursor}: {why}. {}",
                self.describe(log)
            )
        })
    }
}
