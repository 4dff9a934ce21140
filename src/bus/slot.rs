//! Where one waiting subscription is woken, and crowds of them.
//!
//! Invariants:
//! - a wake-up is never lost: it is remembered until the subscription forgets it with
//!   [`Slot::rearm`];
//! - wakers are called with no lock held, a chunk at a time;
//! - whoever is in a crowd from a walk's beginning to its end is met by it, whoever else joins or
//!   leaves meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::{Instant, sleep_until};

/// Slots that are woken together. Fewer would wake a sleeping worker thread for each few of them,
/// which costs as much as their writes; many more would let others wait.
pub(super) const CHUNK: usize = 256;
/// So many light slots count as one. Streams of one connection that are woken together share its
/// writes: in chunks of 256 each of ten connections with 100 streams wrote four times as often, and
/// a delivery cost a third more.
const LIGHT: usize = 4;

/// What a subscription shares with those who wake it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Held for a few instructions, by the subscription or by a waker.
    state: Mutex<State>,
    /// When the subscription last yielded something, in ticks of the heartbeat.
    stepped_at: AtomicU32,
    /// Its place in each crowd that it is in.
    places: [AtomicU32; 2],
    /// Waking it leads to no write of its own.
    is_light: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    waker: Option<Waker>,
}

impl Slot {
    pub(super) fn new(now_ticks: u32) -> Arc<Self> {
        Arc::new(Slot {
            stepped_at: now_ticks.into(),
            ..Slot::default()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets earlier wake-ups. What is read after this call sees everything that caused them.
    pub(super) fn rearm(&self) {
        self.state().woken = false;
    }

    /// Ready after a wake-up since the last [`Slot::rearm`].
    pub(super) fn woken(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.woken {
                return Poll::Ready(());
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }

    fn take_waker(&self) -> Option<Waker> {
        let mut state = self.state();
        state.woken = true;
        state.waker.take()
    }

    /// Notes that the subscription has yielded something.
    pub(super) fn stepped(&self, now_ticks: u32) {
        self.stepped_at.store(now_ticks, Ordering::Relaxed);
    }

    /// Its subscription shares a connection with others.
    pub(super) fn make_light(&self) {
        self.is_light.store(true, Ordering::Relaxed);
    }

    /// What it counts in a chunk, of `CHUNK * LIGHT`.
    fn weight(&self) -> usize {
        if self.is_light.load(Ordering::Relaxed) {
            1
        } else {
            LIGHT
        }
    }

    /// How long nothing has been yielded.
    pub(super) fn quiet_ticks(&self, now_ticks: u32) -> u32 {
        now_ticks.wrapping_sub(self.stepped_at.load(Ordering::Relaxed))
    }
}

/// The crowd of one filter's subscriptions.
pub(super) const OF_GROUP: usize = 0;
/// The crowd of all.
pub(super) const OF_ALL: usize = 1;

/// Slots in no order. Each knows its place, so that it joins and leaves at once, however many there
/// are.
#[derive(Debug, Default)]
pub(super) struct Crowd<const WHICH: usize>(Mutex<Vec<Arc<Slot>>>);

impl<const WHICH: usize> Crowd<WHICH> {
    fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.slots().len()
    }

    pub(super) fn join(&self, slot: Arc<Slot>) {
        let mut slots = self.slots();
        slot.places[WHICH].store(place(slots.len()), Ordering::Relaxed);
        slots.push(slot);
    }

    /// Gives how many are left.
    pub(super) fn leave(&self, slot: &Slot) -> usize {
        let mut slots = self.slots();
        let at = slot.places[WHICH].load(Ordering::Relaxed);
        slots.swap_remove(at as usize);
        if let Some(moved) = slots.get(at as usize) {
            moved.places[WHICH].store(at, Ordering::Relaxed);
        }
        slots.len()
    }

    /// Wakes everybody who is to be woken. Between two chunks others run, and the rest of `pace` is
    /// waited for.
    pub(super) async fn wake(&self, wanted: impl Fn(&Slot) -> bool, pace: Duration) {
        let (mut walk, mut next_chunk) = (Walk::default(), Instant::now());
        while self.wake_chunk(&mut walk, &wanted) {
            next_chunk += pace;
            if !pace.is_zero() {
                sleep_until(next_chunk).await;
            } else if walk.has_woken {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The same at one go, for few, or at the end.
    pub(super) fn wake_at_once(&self) {
        let mut walk = Walk::default();
        while self.wake_chunk(&mut walk, &|_| true) {}
    }

    /// Wakes the next chunk; false when it was the last.
    fn wake_chunk(&self, walk: &mut Walk, wanted: &impl Fn(&Slot) -> bool) -> bool {
        let slots = self.slots();
        let end = walk.end.min(slots.len());
        walk.end = begin_of_chunk(&slots[..end]);
        let to_wake = slots[walk.end..end].iter().filter(|slot| wanted(slot));
        let wakers: SmallVec<[Waker; 8]> = to_wake.filter_map(|slot| slot.take_waker()).collect();
        drop(slots);
        walk.has_woken = !wakers.is_empty();
        wakers.into_iter().for_each(Waker::wake);
        walk.end > 0
    }
}

/// Where the last chunk of these begins.
fn begin_of_chunk(slots: &[Arc<Slot>]) -> usize {
    let mut room = CHUNK * LIGHT;
    let fits = |slot: &&Arc<Slot>| {
        let weight = slot.weight();
        let fits = weight <= room;
        room = room.saturating_sub(weight);
        fits
    };
    slots.len() - slots.iter().rev().take_while(fits).count()
}

/// How far a walk has come. It goes from the back to the front: what leaves meanwhile is replaced
/// by the last, which has been met already.
struct Walk {
    end: usize,
    has_woken: bool,
}

impl Default for Walk {
    fn default() -> Self {
        Walk {
            end: usize::MAX,
            has_woken: false,
        }
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("limits.max_subscribers is far below 4 billion")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A slot that somebody waits at, and how often that one was woken.
    fn waiting() -> (Arc<Slot>, Arc<Counter>) {
        let (slot, counter) = (Slot::new(0), Arc::new(Counter::default()));
        let waker = Waker::from(counter.clone());
        assert!(
            std::pin::pin!(slot.woken())
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        (slot, counter)
    }

    #[test]
    fn who_leaves_during_a_walk_hides_nobody_from_it() {
        for leaver in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1] {
            let crowd = Crowd::<OF_GROUP>::default();
            let waiting: Vec<_> = (0..3 * CHUNK).map(|_| waiting()).collect();
            for (slot, _) in &waiting {
                crowd.join(slot.clone());
            }
            let mut walk = Walk::default();
            assert!(crowd.wake_chunk(&mut walk, &|_| true));
            crowd.leave(&waiting[leaver].0);
            while crowd.wake_chunk(&mut walk, &|_| true) {}
            let stayed = waiting
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != leaver);
            assert!(
                stayed
                    .clone()
                    .all(|(_, (_, counter))| counter.0.load(Ordering::Relaxed) == 1),
                "{leaver}"
            );
            assert_eq!(
                (crowd.len(), stayed.count()),
                (3 * CHUNK - 1, 3 * CHUNK - 1)
            );
        }
    }

    #[test]
    fn light_slots_are_woken_in_larger_chunks() {
        let crowd = Crowd::<OF_GROUP>::default();
        for (light, heavy) in [(LIGHT * CHUNK, 0), (LIGHT * 10, CHUNK - 10), (3, CHUNK - 1)] {
            let slots: Vec<_> = (0..light + heavy).map(|_| Slot::new(0)).collect();
            for slot in &slots[..light] {
                slot.make_light();
            }
            for slot in slots {
                crowd.join(slot);
            }
            assert!(
                !crowd.wake_chunk(&mut Walk::default(), &|_| true),
                "{light} and {heavy} are one chunk"
            );
            crowd.join(Slot::new(0));
            assert!(
                crowd.wake_chunk(&mut Walk::default(), &|_| true),
                "and one more are not"
            );
            *crowd.slots() = Vec::new();
        }
    }

    #[test]
    fn a_wake_up_before_the_wait_is_remembered() {
        let crowd = Crowd::<OF_ALL>::default();
        let slot = Slot::new(0);
        crowd.join(slot.clone());
        crowd.wake_at_once();
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::pin::pin!(slot.woken()).poll(&mut context).is_ready());
        slot.rearm();
        assert!(std::pin::pin!(slot.woken()).poll(&mut context).is_pending());
    }
}
