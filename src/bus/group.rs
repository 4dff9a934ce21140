//! All subscriptions with one filter: the newest matching vids, and notification pacing.
//!
//! Invariants:
//! - the marks cover every matching event after `known_from`; before it anything may match;
//! - who is notified reads everything that was visible when its round was asked for;
//! - the first event after a quiet time reaches all at once; rounds that follow closely are spaced
//!   and spread, and nobody is notified later than the spacing after the event.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::waiter::{CHUNK, OF_GROUP, WaiterSet};
use crate::cursor::Vid;
use crate::limits;
use crate::topic::Filter;

/// Newest matches that a group remembers.
const MARKS: usize = 16;

#[derive(Debug)]
pub(super) struct FilterGroup {
    /// No two groups of one bus have the same, at any time.
    pub(super) number: u64,
    pub(super) filter: Filter,
    pub(super) waiters: WaiterSet<OF_GROUP>,
    marks: Mutex<Marks>,
    /// A round has been asked for and has not begun.
    is_round_due: AtomicBool,
    last_round: Mutex<Option<Round>>,
}

/// When everybody is notified.
#[derive(Debug, Clone, Copy)]
struct Round {
    begin: Instant,
    /// Between two chunks; zero after a quiet time.
    pace: Duration,
}

impl Round {
    fn at_once(begin: Instant) -> Self {
        Round {
            begin,
            pace: Duration::ZERO,
        }
    }

    fn is_at_once(self) -> bool {
        self.pace.is_zero()
    }

    /// The round after this one, for so many readers.
    ///
    /// A write to a socket costs the kernel 5 to 10 µs however little it carries, so what costs is
    /// the number of writes. Rounds to many are spaced, so that under load each write carries
    /// several events, and their chunks are spread over the space, so that nobody waits for the
    /// writes to all others: with 1,000 readers and 200 events/s a write carries 5.
    fn after(last: Option<Round>, now: Instant, readers: usize) -> Round {
        let spacing = spacing(readers);
        // After a quiet time nobody has anything to write, so all are notified at once.
        match last.filter(|last| last.begin + spacing > now) {
            Some(last) => last.followed_closely(now, spacing, chunks(readers)),
            None => Round::at_once(now),
        }
    }

    fn followed_closely(self, now: Instant, spacing: Duration, chunks: u32) -> Round {
        let pace = spacing / chunks;
        // A round that was not spread has notified the last chunk with the first: the next time of
        // that one is a spacing later.
        let space = if self.is_at_once() { pace } else { spacing };
        Round {
            begin: now.max(self.begin + space),
            pace,
        }
    }
}

fn spacing(readers: usize) -> Duration {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    limits::ROUND_SPACING_PER_READER
        .saturating_mul(readers)
        .clamp(limits::MIN_ROUND_SPACING, limits::MAX_ROUND_SPACING)
}

fn chunks(readers: usize) -> u32 {
    let chunks = u32::try_from(readers.div_ceil(CHUNK));
    chunks.unwrap_or(u32::MAX).max(1)
}

#[derive(Debug)]
struct Marks {
    known_from: Vid,
    newest: VecDeque<Vid>,
    /// Whoever makes events visible has this group on the list of those to notify.
    is_listed: bool,
}

impl Marks {
    fn new(known_from: Vid) -> Self {
        Marks {
            known_from,
            newest: VecDeque::new(),
            is_listed: false,
        }
    }

    /// Adds a match. One older than others comes when events of several topics are marked topic by
    /// topic, and one twice when two of the filter's patterns match it.
    fn add(&mut self, vid: Vid) {
        // Sorted, so that the next match of any position is found by halves.
        let at = self.newest.partition_point(|marked| *marked < vid);
        if vid <= self.known_from || self.newest.get(at) == Some(&vid) {
            return;
        }
        self.newest.insert(at, vid);
        // What lies before the oldest mark is not known any more.
        if self.newest.len() > MARKS {
            self.known_from = self.newest.pop_front().unwrap_or(self.known_from);
        }
    }
}

impl FilterGroup {
    /// A group that does not know what matches up to here.
    pub(super) fn new(number: u64, filter: Filter, known_from: Vid) -> Self {
        FilterGroup {
            number,
            filter,
            waiters: WaiterSet::default(),
            marks: Mutex::new(Marks::new(known_from)),
            is_round_due: AtomicBool::new(false),
            last_round: Mutex::new(None),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first vid after this position that may match; `Vid::MAX` when none does yet.
    pub(super) fn next_match(&self, position: Vid) -> Vid {
        let marks = self.marks();
        // Nothing is known so far back: the next vid may match.
        if position < marks.known_from {
            return position + 1;
        }
        let at = marks.newest.partition_point(|vid| *vid <= position);
        marks.newest.get(at).copied().unwrap_or(Vid::MAX)
    }

    /// Takes note of matching events, in vid order. True when the group is new on the list of those
    /// to notify.
    pub(super) fn mark(&self, vids: &[Vid]) -> bool {
        let mut marks = self.marks();
        // Of those before the newest few only the last is needed: what is known begins behind it.
        for vid in &vids[vids.len().saturating_sub(MARKS + 1)..] {
            marks.add(*vid);
        }
        !std::mem::replace(&mut marks.is_listed, true)
    }

    /// Anything up to this vid may match.
    pub(super) fn forget_marks(&self, known_from: Vid) {
        let mut marks = self.marks();
        marks.known_from = known_from;
        marks.newest.clear();
    }

    /// Notifies everybody that there is something to read, which has to be visible by now.
    pub(super) fn notify(self: Arc<Self>) {
        self.marks().is_listed = false;
        // A round that has yet to begin covers this as well.
        if self.is_round_due.swap(true, Ordering::SeqCst) {
            return;
        }
        // Few readers are woken here, without the cost of a task.
        let round = self.next_round();
        if round.is_at_once() && self.waiters.len() <= limits::FEW_READERS {
            self.begin(round);
            self.waiters.wake_at_once();
        } else {
            tokio::spawn(async move { self.notify_later(round).await });
        }
    }

    async fn notify_later(&self, round: Round) {
        sleep_until(round.begin).await;
        self.begin(round);
        self.waiters.wake(|_| true, round.pace).await;
    }

    fn last_round(&self) -> MutexGuard<'_, Option<Round>> {
        self.last_round
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_round(&self) -> Round {
        Round::after(*self.last_round(), Instant::now(), self.waiters.len())
    }

    /// From here on, who has something to report has to ask for another round.
    fn begin(&self, round: Round) {
        *self.last_round() = Some(round);
        self.is_round_due.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A match is not passed over, and of the newest ones each is known.
    fn assert_finds(group: &FilterGroup, vids: &[Vid]) {
        let last = vids[vids.len() - 1];
        for position in 10..=last {
            let next = vids.iter().copied().find(|vid| *vid > position);
            let (found, next) = (group.next_match(position), next.unwrap_or(Vid::MAX));
            assert!(
                position < found && found <= next,
                "{found} after {position}, not {next}"
            );
            let is_new = position >= vids[vids.len().saturating_sub(MARKS + 1)];
            assert!(
                !is_new || found == next,
                "{found} after {position}, not {next}"
            );
        }
    }

    #[test]
    fn a_match_is_never_passed_over() {
        let group = FilterGroup::new(0, Filter::all(), 10);
        assert_eq!((group.next_match(3), group.next_match(10)), (4, Vid::MAX));
        let vids: Vec<Vid> = (1..=40).map(|n| 10 + n * 5).collect();
        for (index, &vid) in vids.iter().enumerate() {
            assert_eq!(
                (group.mark(&[vid]), group.mark(&[vid])),
                (index == 0, false)
            );
            assert_finds(&group, &vids[..=index]);
        }
    }

    #[test]
    fn matches_of_several_topics_are_found_in_any_order() {
        for (count, topics) in [(3, 2), (MARKS as Vid, 3), (40, 1), (40, 3), (200, 7)] {
            let group = FilterGroup::new(0, Filter::all(), 10);
            let vids: Vec<Vid> = (1..=count).map(|n| 10 + n * 5).collect();
            for topic in (0..topics).rev() {
                let of_topic = vids.iter().filter(|vid| **vid / 5 % topics == topic);
                group.mark(&of_topic.copied().collect::<Vec<Vid>>());
            }
            assert_finds(&group, &vids);
        }
    }

    #[test]
    fn rounds_to_many_are_spaced_and_never_for_long() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        for readers in [100_usize, 1000, 10_000, 10_000_000] {
            let chunks = readers.div_ceil(CHUNK);
            let at_once = Round::after(None, begin, readers);
            assert_eq!((at_once.begin, at_once.pace), (begin, Duration::ZERO));
            let (mut last, mut notified) = (at_once, vec![begin; chunks]);
            for _ in 0..3 {
                let round = Round::after(Some(last), last.begin, readers);
                for (chunk, notified) in (0..).zip(&mut notified) {
                    let now = round.begin + round.pace * chunk;
                    assert!(now > *notified);
                    assert!(now - *notified <= limits::MAX_ROUND_SPACING + ms(1));
                    *notified = now;
                }
                last = round;
            }
            let quiet = Round::after(Some(last), last.begin + spacing(readers), readers);
            assert_eq!(quiet.pace, Duration::ZERO);
        }
    }
}
