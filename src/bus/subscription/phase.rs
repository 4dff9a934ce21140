//! How far a subscription has come on its way to the live end.
//!
//! Invariant: `hello` is the first step, a gap that was found on opening is the second, and nothing
//! comes after the end.

use crate::cursor::{Gap, Vid};

/// What a subscription yields next, and how it reads.
#[derive(Debug)]
pub(super) struct Phase {
    stage: Stage,
    mode: ReadMode,
}

#[derive(Debug)]
enum Stage {
    /// `hello` is due, and then this gap.
    Hello(Option<Box<Gap>>),
    /// A gap is due that was found on opening.
    Gap(Box<Gap>),
    Reading,
    Ended,
}

/// How the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bus) enum ReadMode {
    /// Up to this vid only the newest event of each topic is wanted.
    Snapshot { through: Vid },
    /// Nothing has been read yet, and everything retained is wanted: trimming is no gap then.
    FromEarliest,
    /// On the way to the live end.
    CatchingUp,
    /// The live end has been reported, and not been lost since.
    Live,
}

/// What is yielded before anything is read.
pub(super) enum Opening {
    Hello,
    Gap(Box<Gap>),
    Done,
}

impl Phase {
    pub(super) fn opening(gap: Option<Gap>, mode: ReadMode) -> Self {
        Phase {
            stage: Stage::Hello(gap.map(Box::new)),
            mode,
        }
    }

    /// What is yielded next before anything is read; it is not asked for twice.
    pub(super) fn next_opening(&mut self) -> Opening {
        match std::mem::replace(&mut self.stage, Stage::Reading) {
            // The gap comes with the next call.
            Stage::Hello(gap) => {
                self.stage = gap.map_or(Stage::Reading, Stage::Gap);
                Opening::Hello
            }
            Stage::Gap(gap) => Opening::Gap(gap),
            // Nothing is due, and nothing has changed.
            read_or_ended => {
                self.stage = read_or_ended;
                Opening::Done
            }
        }
    }

    /// Passes over `hello`. True when it was due.
    pub(super) fn skip_hello(&mut self) -> bool {
        let is_due = matches!(self.stage, Stage::Hello(_));
        // It is the first of all.
        if is_due {
            self.next_opening();
        }
        is_due
    }

    pub(super) fn end(&mut self) {
        self.stage = Stage::Ended;
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    pub(super) fn is_live(&self) -> bool {
        self.mode == ReadMode::Live
    }

    pub(super) fn is_from_earliest(&self) -> bool {
        self.mode == ReadMode::FromEarliest
    }

    /// The end of the snapshot, while it is read.
    pub(super) fn snapshot_through(&self) -> Option<Vid> {
        match self.mode {
            ReadMode::Snapshot { through } => Some(through),
            ReadMode::FromEarliest | ReadMode::CatchingUp | ReadMode::Live => None,
        }
    }

    /// A page has been read, up to the visible end of the log or not.
    pub(super) fn has_read(&mut self, to_the_end: bool) {
        // Live stays live as long as each page reaches the end.
        if !(to_the_end && self.is_live()) {
            self.mode = ReadMode::CatchingUp;
        }
    }

    /// The live end has been reached. True when that is to be reported.
    pub(super) fn reach_live(&mut self) -> bool {
        let before = std::mem::replace(&mut self.mode, ReadMode::Live);
        before != ReadMode::Live
    }

    /// Events are missing, or the snapshot is complete: the way to the live end begins anew.
    pub(super) fn catch_up(&mut self) {
        self.mode = ReadMode::CatchingUp;
    }

    /// Everything that is retained is wanted from here on.
    pub(super) fn begin_anew(&mut self) {
        self.mode = ReadMode::FromEarliest;
    }
}
