//! Where one waiting subscription is woken, and sets of such waiters.
//!
//! Invariants:
//! - a wake-up is never lost: it is remembered until the subscription forgets it with
//!   [`Waiter::rearm`];
//! - wakers are called with no lock held, a chunk at a time;
//! - whoever is in a set from a walk's beginning to its end is met by it, whoever else joins or
//!   leaves meanwhile;
//! - a set has no vacancies: a walk costs as much as there are waiters in it now.

pub(super) mod reader;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::{Instant, sleep_until};

use super::group::FilterGroup;
use super::readers::ReaderConnection;
use super::rounds::Rounds;
use crate::caller::{Credential, wall_clock_s};
use crate::metrics::Transport;

/// Waiters that are woken together. Fewer would wake a sleeping worker thread for each few of them,
/// which costs as much as their writes; many more would let others wait.
pub(super) const CHUNK: usize = 256;

/// As many waiters that share a connection count as one that does not. Streams of one connection
/// that are woken together share its writes: in chunks of 256 each of ten connections with 100
/// streams wrote four times as often, and a delivery cost a third more.
const WEIGHT_OF_OWN_CONNECTION: usize = 4;

/// What a chunk may weigh.
const CHUNK_WEIGHT: usize = CHUNK * WEIGHT_OF_OWN_CONNECTION;

/// What a subscription shares with those who wake it. There is one for each idle reader, so its
/// size counts; see the assertion below.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// Held for a few instructions, by the subscription or by whoever wakes it.
    waker: Mutex<Option<Waker>>,
    /// Changed and looked at only with the waker locked. It stands beside it, because within the
    /// lock it would take eight bytes.
    is_woken: AtomicBool,
    /// When the subscription last yielded something, in ticks of the heartbeat.
    stepped_at: AtomicU32,
    /// Its index in each of the two sets that it is in.
    indices: [AtomicU32; 2],
    /// Its connection serves other subscriptions as well, and they are written together.
    shares_connection: AtomicBool,
    /// What it is served on, where that can end.
    credential: Option<Arc<Credential>>,
    /// The second of the wall clock in which that expires.
    expires_s: u32,
    /// The gateway ends, and it is this one's turn.
    is_told_to_end: AtomicBool,
    /// An operator has cut it.
    is_cut: AtomicBool,
    /// It was notified in a round, and has not reported back to that since.
    is_in_round: AtomicBool,
    /// Of no other subscription that is open.
    pub(super) number: u32,
    /// The second of the wall clock in which it was opened.
    pub(super) opened_s: u32,
    /// Everything that matches up to here has been yielded.
    position: AtomicU64,
    /// None until it is registered. Each is held by the other until the waiter leaves the group.
    pub(super) group: Option<Arc<FilterGroup>>,
    transport: Option<Transport>,
    connection: Option<Arc<dyn ReaderConnection>>,
}

const _: () = assert!(
    size_of::<Waiter>() <= 96,
    "each idle reader has a waiter: docs/performance.md, memory per idle reader"
);

impl Waiter {
    /// A waiter of somebody with this credential, if with any.
    pub(super) fn new(now_ticks: u32, credential: Option<Arc<Credential>>) -> Self {
        let expires_s = credential.as_ref().map(|one| one.expires_s());
        Waiter {
            stepped_at: now_ticks.into(),
            expires_s: expires_s.unwrap_or(u32::MAX),
            credential,
            opened_s: wall_clock_s(),
            ..Waiter::default()
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets earlier wake-ups. What is read after this call sees everything that caused them.
    pub(super) fn rearm(&self) {
        let _locked = self.waker();
        self.is_woken.store(false, Ordering::Relaxed);
    }

    /// Ready after a wake-up since the last [`Waiter::rearm`].
    pub(super) fn woken(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            let mut waker = self.waker();
            if self.is_woken.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            // The same task mostly waits again: its waker is kept where it can be.
            match &mut *waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }

    fn take_waker(&self) -> Option<Waker> {
        let mut waker = self.waker();
        // Also where nobody waits now: the next wait ends at once.
        self.is_woken.store(true, Ordering::Relaxed);
        waker.take()
    }

    /// The same, for a round that counts those whom it notifies.
    fn take_waker_in_round(&self) -> Option<Waker> {
        let mut waker = self.waker();
        self.is_woken.store(true, Ordering::Relaxed);
        let taken = waker.take();
        // With the waker locked: it may report back as soon as that is free.
        self.is_in_round.store(taken.is_some(), Ordering::Relaxed);
        taken
    }

    /// Has it been notified in a round since the last call?
    pub(super) fn leaves_round(&self) -> bool {
        // Mostly it has not been: reading is cheaper than changing.
        self.is_in_round.load(Ordering::Relaxed) && self.is_in_round.swap(false, Ordering::Relaxed)
    }

    /// Can its credential end?
    pub(super) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// Has its credential expired by this second of the wall clock?
    pub(super) fn has_expired(&self, now_s: u32) -> bool {
        self.expires_s <= now_s
    }

    /// Says that it is to end, and gives whom to wake for that.
    fn tell_to_end(&self) -> Option<Waker> {
        // First: whoever is woken looks at it.
        self.is_told_to_end.store(true, Ordering::Release);
        self.take_waker()
    }

    /// Is it to end?
    pub(super) fn is_told_to_end(&self) -> bool {
        self.is_told_to_end.load(Ordering::Acquire)
    }

    /// Notes that the subscription has yielded something.
    pub(super) fn stepped(&self, now_ticks: u32) {
        self.stepped_at.store(now_ticks, Ordering::Relaxed);
    }

    /// How long nothing has been yielded.
    pub(super) fn quiet_ticks(&self, now_ticks: u32) -> u32 {
        now_ticks.wrapping_sub(self.stepped_at.load(Ordering::Relaxed))
    }

    /// Its connection serves other subscriptions as well.
    pub(super) fn set_shares_connection(&self) {
        self.shares_connection.store(true, Ordering::Relaxed);
    }

    /// What it weighs in a chunk.
    fn weight(&self) -> usize {
        if self.shares_connection.load(Ordering::Relaxed) {
            1
        } else {
            WEIGHT_OF_OWN_CONNECTION
        }
    }
}

/// The set of one filter's subscriptions.
pub(super) const OF_GROUP: usize = 0;
/// The set of all subscriptions.
pub(super) const OF_ALL: usize = 1;

/// Waiters in no order. Each knows its index, so that it joins and leaves at once, however many
/// there are. A slab would need no such index, but twice the memory, and once many have left, each
/// walk would pass over the vacancies that they leave.
#[derive(Debug, Default)]
pub(super) struct WaiterSet<const WHICH: usize>(Mutex<Vec<Arc<Waiter>>>);

impl<const WHICH: usize> WaiterSet<WHICH> {
    fn waiters(&self) -> MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.waiters().len()
    }

    pub(super) fn join(&self, waiter: Arc<Waiter>) {
        let mut waiters = self.waiters();
        waiter.set_index::<WHICH>(waiters.len());
        waiters.push(waiter);
    }

    /// Returns how many are left.
    pub(super) fn leave(&self, waiter: &Waiter) -> usize {
        let mut waiters = self.waiters();
        let index = waiter.index::<WHICH>();
        waiters.swap_remove(index);

        // The last one has taken its place.
        if let Some(moved) = waiters.get(index) {
            moved.set_index::<WHICH>(index);
        }
        waiters.len()
    }

    /// Wakes everybody who is wanted. Between two chunks others run, and the rest of `pace` is
    /// waited for.
    pub(super) async fn wake(&self, wanted: impl Fn(&Waiter) -> bool, pace: Duration) {
        let take = |waiter: &Waiter| wanted(waiter).then(|| waiter.take_waker()).flatten();
        self.wake_in_chunks(pace, take, |_| {}).await;
    }

    /// Wakes everybody in a round, which counts them. Returns how many.
    pub(super) async fn wake_in_round(&self, rounds: &Rounds, pace: Duration) -> usize {
        let notifies = |readers| rounds.notifies(readers);
        self.wake_in_chunks(pace, Waiter::take_waker_in_round, notifies)
            .await
    }

    /// Wakes everybody at one go: few, or at the end. Returns how many.
    pub(super) fn wake_at_once(&self) -> usize {
        let (mut walk, mut woken) = (Walk::default(), 0);
        while walk.end > 0 {
            let wakers = self.take_chunk(&mut walk, Waiter::take_waker);
            woken += wakers.len();
            wakers.into_iter().for_each(Waker::wake);
        }
        woken
    }

    async fn wake_in_chunks(
        &self,
        pace: Duration,
        take: impl Fn(&Waiter) -> Option<Waker>,
        before_waking: impl Fn(usize),
    ) -> usize {
        let (mut walk, mut next_chunk) = (Walk::default(), Instant::now());
        let mut woken = 0;
        loop {
            let wakers = self.take_chunk(&mut walk, &take);
            let has_woken = !wakers.is_empty();
            woken += wakers.len();
            before_waking(wakers.len());
            wakers.into_iter().for_each(Waker::wake);
            if walk.end == 0 {
                return woken;
            }

            // By the clock, so that a slow chunk does not delay all that follow.
            next_chunk += pace;
            if !pace.is_zero() {
                sleep_until(next_chunk).await;
            } else if has_woken {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Tells some at random to end, a chunk at most, so that so many are left that have not been
    /// told. Gives how many are.
    pub(super) fn end_all_but(&self, walk: &mut Walk, left: usize) -> usize {
        let mut waiters = self.waiters();
        let mut end = walk.end.min(waiters.len());
        let last = left.max(end.saturating_sub(CHUNK));
        let mut wakers = Wakers::new();

        // Whoever is picked stands behind those that are left from here on.
        while end > last {
            let picked = fastrand::usize(..end);
            end -= 1;
            waiters.swap(picked, end);
            waiters[picked].set_index::<WHICH>(picked);
            waiters[end].set_index::<WHICH>(end);
            wakers.extend(waiters[end].tell_to_end());
        }

        // As in a walk that wakes.
        walk.end = end;
        drop(waiters);
        wakers.into_iter().for_each(Waker::wake);
        end
    }

    /// The next chunk of all, to look at with nothing locked.
    pub(super) fn next_chunk(&self, walk: &mut Walk) -> Vec<Arc<Waiter>> {
        let waiters = self.waiters();
        let end = walk.end.min(waiters.len());
        walk.end = begin_of_last_chunk(&waiters[..end]);
        waiters[walk.end..end].to_vec()
    }

    /// The wakers of the next chunk of those who wait. They are called with no lock held: a waker
    /// may run any code, which may join or leave.
    fn take_chunk(&self, walk: &mut Walk, take: impl Fn(&Waiter) -> Option<Waker>) -> Wakers {
        let waiters = self.waiters();
        // From the back; some may have left since the last chunk.
        let end = walk.end.min(waiters.len());
        walk.end = begin_of_last_chunk(&waiters[..end]);
        let chunk = waiters[walk.end..end].iter();
        chunk.filter_map(|waiter| take(waiter)).collect()
    }
}

impl Waiter {
    fn index<const WHICH: usize>(&self) -> usize {
        self.indices[WHICH].load(Ordering::Relaxed) as usize
    }

    fn set_index<const WHICH: usize>(&self, index: usize) {
        let index = u32::try_from(index).expect("limits.max_subscribers is far below 4 billion");
        self.indices[WHICH].store(index, Ordering::Relaxed);
    }
}

/// Where the last chunk of these begins.
fn begin_of_last_chunk(waiters: &[Arc<Waiter>]) -> usize {
    // Each waiter has its own weight, so where the chunk begins has to be counted out.
    let mut capacity = CHUNK_WEIGHT;
    let fits = |waiter: &&Arc<Waiter>| {
        let weight = waiter.weight();
        let fits = weight <= capacity;
        capacity = capacity.saturating_sub(weight);
        fits
    };
    waiters.len() - waiters.iter().rev().take_while(fits).count()
}

/// Those of one chunk; mostly few wait.
type Wakers = SmallVec<[Waker; 8]>;

/// How far a walk has come. It goes from the back to the front: whoever leaves meanwhile is
/// replaced by the last one, which has been met already.
pub(super) struct Walk {
    end: usize,
}

impl Walk {
    pub(super) fn is_over(&self) -> bool {
        self.end == 0
    }
}

impl Default for Walk {
    fn default() -> Self {
        Walk { end: usize::MAX }
    }
}
