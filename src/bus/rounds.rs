//! When the readers of one filter are notified: the time between two rounds.
//!
//! A write to a socket costs the kernel 5 to 10 µs however little it carries, so what costs is the
//! number of writes. While cores are free, each event is written at once. While they are short,
//! rounds wait, so that each write carries several events. Invariants:
//! - a round does not begin before the writes of the last one are out, or the longest spacing is
//!   over: readers that cannot take their events hold nobody up for longer;
//! - the busier the machine, and the more commits there are to report, the later the next round, up
//!   to the longest spacing;
//! - on a busy machine the readers of a round are spread over its time, so that nobody waits for
//!   the writes to all others.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::waiter::CHUNK;
use crate::limits;

/// When everybody is notified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    pub(super) begin: Instant,
    /// Over which time its readers are notified; zero for all at once.
    over: Duration,
    chunks: u32,
}

impl Round {
    fn is_at_once(self) -> bool {
        self.over.is_zero()
    }

    /// Has its time come?
    pub(super) fn is_due(self, now: Instant) -> bool {
        self.begin <= now
    }

    /// The time between two chunks of readers.
    pub(super) fn pace(self) -> Duration {
        self.over / self.chunks
    }

    fn at_once(begin: Instant) -> Self {
        Round {
            begin,
            over: Duration::ZERO,
            chunks: 1,
        }
    }

    /// The round after this one, with this time between the two.
    fn followed_by(self, now: Instant, spacing: &Spacing, chunks: u32) -> Round {
        // After a quiet time nobody has anything to write.
        if self.begin + spacing.total <= now {
            return Round::at_once(now);
        }
        if !spacing.is_spread {
            return Round::at_once(self.begin + spacing.total);
        }

        // A round that was not spread has notified the last chunk with the first: the next time of
        // that one is a spacing later.
        let over = spacing.total;
        let space = if self.is_at_once() {
            over / chunks
        } else {
            over
        };
        Round {
            begin: now.max(self.begin + space),
            over,
            chunks,
        }
    }
}

/// The time from one round to the next.
#[derive(Debug, PartialEq)]
struct Spacing {
    total: Duration,
    /// The readers are notified all over that time, not at its begin.
    is_spread: bool,
}

impl Spacing {
    /// For so many readers, whose writes took so long the last time.
    fn new(readers: usize, writing: Duration, demand: Demand) -> Self {
        let longest = longest_spacing(readers);
        let shortest = writing.min(longest);
        let written_permille = shortest.as_micros() * 1000 / longest.as_micros();
        let written_permille = u32::try_from(written_permille).expect("it is 1,000 at most");
        let held_back = demand.held_back_permille(written_permille);
        Spacing {
            total: (longest * held_back + shortest * (1000 - held_back)) / 1000,
            is_spread: held_back > 0,
        }
    }
}

/// What decides how far rounds are held back.
#[derive(Debug, Clone, Copy)]
struct Demand {
    /// How much of the machine's cores is busy.
    busy_permille: u32,
    /// Commits to report in the time of the longest spacing, in thousandths.
    commits_permille: u32,
}

impl Demand {
    /// 0 where each event is written at once, 1,000 where rounds wait as long as they may; the
    /// writes of a round take this part of that.
    fn held_back_permille(self, written_permille: u32) -> u32 {
        let by_load = part_permille(self.busy_permille, self.held_back_busy_permille());
        by_load.max(self.held_back_by_commits(written_permille))
    }

    /// The same by commits that come so fast that each write carries many anyway: quicker rounds
    /// would bring readers little, and take from publishers the cores that they need. Where a round
    /// is written before the next commit comes, they take little.
    fn held_back_by_commits(self, written_permille: u32) -> u32 {
        let while_written = u64::from(self.commits_permille) * u64::from(written_permille) / 1000;
        let while_written = u32::try_from(while_written).unwrap_or(u32::MAX);
        let by_commits = part_permille(self.commits_permille, limits::HELD_BACK_COMMITS_PERMILLE);
        by_commits.min(part_permille(
            while_written,
            limits::COMMITS_WHILE_WRITTEN_PERMILLE,
        ))
    }

    /// From which load on rounds wait, and from which as long as they may. A round that would
    /// gather hardly more than one commit makes its events late for few writes less: it waits only
    /// on a busier machine.
    fn held_back_busy_permille(self) -> RangeInclusive<u32> {
        let gathered = part_permille(self.commits_permille, limits::GATHERED_COMMITS_PERMILLE);
        let later = limits::HELD_BACK_LATER_PERMILLE * (1000 - gathered) / 1000;
        let (begin, end) = limits::HELD_BACK_BUSY_PERMILLE.into_inner();
        begin + later..=end + later
    }
}

/// Where a value is on the way from the begin of a range to its end.
fn part_permille(value: u32, range: RangeInclusive<u32>) -> u32 {
    let (begin, end) = range.into_inner();
    (value.clamp(begin, end) - begin) * 1000 / (end - begin)
}

fn longest_spacing(readers: usize) -> Duration {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    limits::ROUND_SPACING_PER_READER
        .saturating_mul(readers)
        .clamp(limits::MIN_ROUND_SPACING, limits::MAX_ROUND_SPACING)
}

fn chunks(readers: usize) -> u32 {
    let chunks = u32::try_from(readers.div_ceil(CHUNK));
    chunks.unwrap_or(u32::MAX).max(1)
}

/// The rounds of one group, one after the other.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Readers that were notified and do not wait again yet.
    writing: AtomicU32,
    /// So many of these do not hold up the next round: they were late before this one, or are few.
    stragglers: AtomicU32,
    /// Some readers have yet to be notified in this round.
    is_walking: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Round>,
    /// When the last chunk of the last round was notified, until its writes are out.
    notified_at: Option<Instant>,
    /// Chunks of the last round that were notified: fewer than its readers would make where they
    /// share connections.
    notified_chunks: u32,
    /// How long the writes of a whole round took.
    writing_takes: Duration,
    /// Commits to report in the time of the longest spacing, in thousandths, as of the last rounds.
    commits_permille: u32,
    /// Whoever waits for the writes.
    waker: Option<Waker>,
}

impl Rounds {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next round begins, for so many readers.
    pub(super) fn next(&self, now: Instant, readers: usize, busy_permille: u32) -> Round {
        let state = self.state();
        let Some(last) = state.last else {
            return Round::at_once(now);
        };
        let demand = Demand {
            busy_permille,
            commits_permille: state.commits_permille,
        };
        let spacing = Spacing::new(readers, state.writing_takes, demand);
        last.followed_by(now, &spacing, chunks(readers))
    }

    /// Notes that a round to few readers begins, which are notified at once. It is over with that.
    pub(super) fn begin_to_few(&self, round: Round, commits: u32) {
        self.state().begin(round, limits::FEW_READERS, commits);
    }

    /// Notes that a round to so many readers begins, which reports so many commits.
    pub(super) fn begin(&self, round: Round, readers: usize, commits: u32) {
        self.is_walking.store(true, Ordering::SeqCst);
        let few = u32::try_from(readers / limits::STRAGGLERS_ONE_IN).unwrap_or(u32::MAX);
        let late = self.writing.load(Ordering::SeqCst);
        self.stragglers
            .store(late.saturating_add(few), Ordering::SeqCst);
        self.state().begin(round, readers, commits);
    }

    /// Notes that so many of its readers are about to be notified.
    pub(super) fn notifies(&self, readers: usize) {
        let readers = u32::try_from(readers).unwrap_or(u32::MAX);
        self.writing.fetch_add(readers, Ordering::SeqCst);
        let mut state = self.state();
        state.notified_at = Some(Instant::now());
        state.notified_chunks += 1;
    }

    /// Notes that one of them waits again, or has left.
    pub(super) fn has_written(&self) {
        let left = self.writing.fetch_sub(1, Ordering::SeqCst) - 1;
        // The one that makes the round written out sees to the rest.
        if left == self.stragglers.load(Ordering::SeqCst) {
            self.end_if_written();
        }
    }

    /// Notes that all readers of the round have been notified.
    pub(super) fn all_notified(&self) {
        self.is_walking.store(false, Ordering::SeqCst);
        self.end_if_written();
    }

    fn is_written(&self) -> bool {
        !self.is_walking.load(Ordering::SeqCst)
            && self.writing.load(Ordering::SeqCst) <= self.stragglers.load(Ordering::SeqCst)
    }

    fn end_if_written(&self) {
        let mut state = self.state();
        if !self.is_written() {
            return;
        }
        state.note_written();
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits until the writes of the last round are out, or for the longest spacing.
    pub(super) async fn written(&self, readers: usize) {
        let written = std::future::poll_fn(|context| {
            let mut state = self.state();
            if self.is_written() {
                return Poll::Ready(());
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        });
        let _ = timeout(longest_spacing(readers), written).await;
    }
}

impl State {
    fn begin(&mut self, round: Round, readers: usize, commits: u32) {
        let last = self.last.replace(round);
        (self.notified_at, self.notified_chunks) = (None, 0);

        let since = last.map_or(Duration::MAX, |last| round.begin - last.begin);
        let spacings = longest_spacing(readers).as_micros() * u128::from(commits) * 1000;
        let now_permille = spacings / since.as_micros().max(1);
        // A mean with the rounds before: commits come in bursts.
        self.commits_permille = self
            .commits_permille
            .midpoint(u32::try_from(now_permille).unwrap_or(u32::MAX));
    }

    /// Takes the time of the writes.
    fn note_written(&mut self) {
        let (Some(last), Some(notified_at)) = (self.last, self.notified_at.take()) else {
            return;
        };
        // Where the readers were spread, only the writes of the last chunk can be timed.
        self.writing_takes = if last.is_at_once() {
            last.begin.elapsed()
        } else {
            notified_at.elapsed() * self.notified_chunks
        };
    }
}
