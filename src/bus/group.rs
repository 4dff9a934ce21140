//! All subscriptions with one filter: the newest matching vids, and who is notified of them.
//!
//! Invariants:
//! - the marks cover every matching event after `known_from`; before it anything may match;
//! - who is notified reads everything that was visible when its round was asked for;
//! - the first event after a quiet time reaches all at once; when the next rounds begin is in
//!   `bus/rounds.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::load::LoadMeter;
use super::rounds::{Round, Rounds};
use super::waiter::{OF_GROUP, WaiterSet};
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
    /// How often a round was asked for that has not begun.
    asked_for: AtomicU32,
    pub(super) rounds: Rounds,
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
        // Sorted: a reader looks for its next match from the newest backwards.
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
            asked_for: AtomicU32::new(0),
            rounds: Rounds::default(),
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
        // From the newest: whoever reads live is one or two behind it.
        let later = marks.newest.iter().rev().take_while(|vid| **vid > position);
        later.last().copied().unwrap_or(Vid::MAX)
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
    pub(super) fn notify(self: Arc<Self>, load: &Arc<LoadMeter>) {
        self.marks().is_listed = false;
        // A round that has yet to begin covers this as well.
        if self.asked_for.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        load.round_begins();

        // Few readers are woken here, without the cost of a task.
        let readers = self.waiters.len();
        if readers <= limits::FEW_READERS {
            let now = Instant::now();
            let round = self.rounds.next(now, readers, load.busy_permille());
            if round.is_due(now) {
                return self.notify_few(round, load);
            }
        }
        let load = load.clone();
        tokio::spawn(async move { self.notify_later(&load).await });
    }

    fn notify_few(&self, round: Round, load: &LoadMeter) {
        let asked_for = self.asked_for.swap(0, Ordering::SeqCst);
        self.rounds.begin_to_few(round, asked_for);
        load.note_woken(self.waiters.wake_at_once());
    }

    async fn notify_later(&self, load: &LoadMeter) {
        self.rounds.written(self.waiters.len()).await;
        let (readers, busy_permille) = (self.waiters.len(), load.busy_permille());
        let round = self.rounds.next(Instant::now(), readers, busy_permille);
        // A timer waits for the end of a millisecond, even if its time has come.
        if !round.is_due(Instant::now()) {
            sleep_until(round.begin).await;
        }

        // From here on, who has something to report has to ask for another round.
        let asked_for = self.asked_for.swap(0, Ordering::SeqCst);
        self.rounds.begin(round, readers, asked_for);
        let waking = self.waiters.wake_in_round(&self.rounds, round.pace());
        load.note_woken(waking.await);
        self.rounds.all_notified();
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
}
