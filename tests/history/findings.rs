//! What a check found, and what the run was, as a table.

use std::fmt;

use crate::record::{Done, History, What};

/// All have to be zero; numbered in this order (history §2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged or seen by somebody, and never shown to a reader who passed it by, without a
    /// gap, though it was still there; or never shown to anybody.
    pub(crate) lost: usize,
    /// Shown twice to one reader, or on the log twice under one id.
    pub(crate) repeated: usize,
    /// Shown at or before a position that had been reported, or a position that fell.
    pub(crate) reordered: usize,
    /// Not what was sent, not what others saw, at another vid than acknowledged, or of another
    /// epoch.
    pub(crate) changed: usize,
    /// Vids of two events.
    pub(crate) double_vid: usize,
    /// Events that nobody sent, or that the filter should have kept away.
    pub(crate) made_up: usize,
    /// Gone when a reader passed it by, and not reported.
    pub(crate) gaps_not_reported: usize,
    /// Events of a reported gap that were shown anyway or still there; gaps with wrong bounds or
    /// for a wrong reason.
    pub(crate) gaps_reported_falsely: usize,
    /// What was acknowledged or seen before something else was sent or asked for, and yet comes
    /// after it.
    pub(crate) out_of_time: usize,
    /// Batches with another event in between, or not in their order.
    pub(crate) split_batches: usize,
    /// Times that are before the time of the vid before.
    pub(crate) times_fell: usize,
    /// Times that are not what a clock which does not jump had then.
    pub(crate) wrong_times: usize,
    /// Events that retention took though they were neither old nor too many.
    pub(crate) trimmed_early: usize,
    /// Answers that are neither the contract's for the request nor a broken connection's.
    pub(crate) wrong_refusals: usize,
    /// Panics of the gateway.
    pub(crate) panics: usize,
}

impl Findings {
    pub(crate) fn rows(&self) -> [(&'static str, usize); 15] {
        [
            ("lost", self.lost),
            ("repeated", self.repeated),
            ("reordered", self.reordered),
            ("changed", self.changed),
            ("double vid", self.double_vid),
            ("made up", self.made_up),
            ("gaps never reported", self.gaps_not_reported),
            ("gaps reported falsely", self.gaps_reported_falsely),
            ("out of time", self.out_of_time),
            ("split batches", self.split_batches),
            ("times that fell", self.times_fell),
            ("wrong times", self.wrong_times),
            ("trimmed early", self.trimmed_early),
            ("wrong refusals", self.wrong_refusals),
            ("panics", self.panics),
        ]
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) written: usize,
    pub(crate) acknowledged: usize,
    pub(crate) again: usize,
    pub(crate) delivered: usize,
    pub(crate) gaps: usize,
    pub(crate) readings: usize,
}

impl Totals {
    pub(crate) fn of(history: &History) -> Self {
        let count = |wanted: fn(&What) -> bool| {
            history
                .readings
                .iter()
                .flat_map(|r| &r.received)
                .filter(|(_, what)| wanted(what))
                .count()
        };
        let ids: std::collections::HashSet<&str> =
            history.acknowledged.iter().map(|a| a.id.as_str()).collect();
        Totals {
            written: history.sent.len(),
            acknowledged: ids.len(),
            again: history.acknowledged.len() - ids.len(),
            delivered: count(|what| matches!(what, What::Event(_))),
            gaps: count(|what| matches!(what, What::Gap(_))),
            readings: history.readings.len(),
        }
    }
}

pub(crate) struct Report<'a>(pub(crate) Totals, pub(crate) Done, pub(crate) &'a Findings);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report(totals, done, findings) = self;
        let run = [
            ("events written", totals.written),
            ("acknowledged", totals.acknowledged),
            ("acknowledged again", totals.again),
            ("delivered", totals.delivered),
            ("readings", totals.readings),
            ("gaps reported", totals.gaps),
            ("of them in mid-stream", done.gaps_in_streams as usize),
        ];
        let errors = [
            ("restarts after SIGKILL", done.kills),
            ("restarts after SIGTERM", done.ends),
            ("resumes", done.resumes),
            ("connections cut", done.cuts),
            ("half-open connections", done.silences),
            ("stalled reads", done.stalls),
            ("clock jumps", done.jumps),
            ("clock jumps of years", done.jumps_of_years),
            ("outside reads", done.outside_reads),
            ("outside write locks", done.outside_locks),
            ("hang-ups in cold reads", done.hang_ups),
        ];
        writeln!(f, "| what was done | |\n|---|---:|")?;
        for (name, count) in run
            .into_iter()
            .chain(errors.map(|(name, count)| (name, count as usize)))
        {
            writeln!(f, "| {name:<22} | {count:>9} |")?;
        }
        writeln!(f, "\n| what was found | |\n|---|---:|")?;
        for (name, count) in findings.rows() {
            writeln!(f, "| {name:<22} | {count:>9} |")?;
        }
        Ok(())
    }
}
