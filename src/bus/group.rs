//! All subscriptions with one filter: what of the log they match, and when they are told.
//!
//! Invariants:
//! - the marks cover every matching event after `known_from`; before it anything may match;
//! - who is told reads everything that was visible when its round was asked for;
//! - the first event after a quiet time is told at once; rounds that follow it closely are spaced.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::slot::{Crowd, OF_GROUP};
use crate::cursor::Vid;
use crate::limits;
use crate::topic::Filter;

/// Newest matches that a group remembers.
const MARKS: usize = 16;

#[derive(Debug)]
pub(super) struct Group {
    /// No two groups of one bus have the same, at any time.
    pub(super) number: u64,
    pub(super) filter: Filter,
    pub(super) crowd: Crowd<OF_GROUP>,
    marks: Mutex<Marks>,
    /// A round has been asked for and has not begun.
    is_round_due: AtomicBool,
    last_round: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Marks {
    known_from: Vid,
    newest: VecDeque<Vid>,
    /// The sequencer has this group on its list of those to tell.
    is_listed: bool,
}

impl Group {
    /// A group that has not looked at what is on the log up to here.
    pub(super) fn new(number: u64, filter: Filter, known_from: Vid) -> Self {
        Group {
            number,
            filter,
            crowd: Crowd::default(),
            marks: Mutex::new(Marks { known_from, newest: VecDeque::new(), is_listed: false }),
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
        if position < marks.known_from {
            return position + 1;
        }
        let at = marks.newest.partition_point(|vid| *vid <= position);
        marks.newest.get(at).copied().unwrap_or(Vid::MAX)
    }

    /// Takes note of a matching event. True when the group is new on the list of those to tell.
    pub(super) fn mark(&self, vid: Vid) -> bool {
        let mut marks = self.marks();
        if marks.newest.back() == Some(&vid) {
            return false; // two of the filter's patterns take it in
        }
        if marks.newest.len() == MARKS {
            marks.known_from = marks.newest.pop_front().unwrap_or(marks.known_from);
        }
        marks.newest.push_back(vid);
        !std::mem::replace(&mut marks.is_listed, true)
    }

    /// Tells everybody that there is something to read, which has to be visible by now.
    pub(super) fn tell(self: Arc<Self>) {
        self.marks().is_listed = false;
        if self.is_round_due.swap(true, Ordering::SeqCst) {
            return; // the round to come tells this, too
        }
        if self.crowd.len() <= limits::FEW_READERS {
            self.is_round_due.store(false, Ordering::SeqCst);
            self.crowd.wake_at_once();
        } else {
            tokio::spawn(async move { self.round().await });
        }
    }

    async fn round(&self) {
        let spacing = spacing(self.crowd.len());
        let last_round = *self.last_round.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last_round) = last_round {
            sleep_until(last_round + spacing).await;
        }
        *self.last_round.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.is_round_due.store(false, Ordering::SeqCst);
        self.crowd.wake(|_| true).await;
    }
}

/// A write to a socket costs the kernel 5 to 10 µs however little it carries, so what costs is the number of writes:
/// rounds to very many readers are spaced, so that under load each of their writes carries several events.
fn spacing(readers: usize) -> Duration {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    limits::ROUND_SPACING_PER_READER.saturating_mul(readers).min(limits::MAX_ROUND_SPACING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_never_passed_over() {
        let group = Group::new(0, Filter::all(), 10);
        assert_eq!((group.next_match(3), group.next_match(10)), (4, Vid::MAX));
        let vids: Vec<Vid> = (1..=40).map(|n| 10 + n * 5).collect();
        for (index, &vid) in vids.iter().enumerate() {
            assert_eq!((group.mark(vid), group.mark(vid)), (index == 0, false));
            for position in 10..=vid {
                let next = vids[..=index].iter().copied().find(|v| *v > position).unwrap_or(Vid::MAX);
                assert!(group.next_match(position) <= next, "{position} of {vid}");
                assert!(group.next_match(position) > position);
            }
        }
        assert_eq!(group.next_match(195), 200, "of the newest ones each is known");
    }

    #[test]
    fn rounds_to_many_are_spaced_and_never_for_long() {
        assert!(spacing(1000) > spacing(100));
        assert_eq!(spacing(10_000_000), limits::MAX_ROUND_SPACING);
    }
}
