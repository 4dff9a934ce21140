//! Waiters that are woken while others come and go.

use std::task::{Context, Wake};

use super::*;

#[derive(Default)]
struct Counter(AtomicU32);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waiter that somebody waits with, and how often that one was woken.
fn waiting() -> (Arc<Waiter>, Arc<Counter>) {
    let (waiter, counter) = (Arc::new(Waiter::new(0, None)), Arc::new(Counter::default()));
    let waker = Waker::from(counter.clone());
    assert!(
        std::pin::pin!(waiter.woken())
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    (waiter, counter)
}

/// Wakes the next chunk; how many are left.
fn wake_chunk(set: &WaiterSet<OF_GROUP>, walk: &mut Walk) -> usize {
    let wakers = set.take_chunk(walk, Waiter::take_waker);
    wakers.into_iter().for_each(Waker::wake);
    walk.end
}

#[test]
fn who_leaves_during_a_walk_hides_nobody_from_it() {
    for leaver in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1] {
        let set = WaiterSet::<OF_GROUP>::default();
        let waiting: Vec<_> = (0..3 * CHUNK).map(|_| waiting()).collect();
        for (waiter, _) in &waiting {
            set.join(waiter.clone());
        }
        let mut walk = Walk::default();
        wake_chunk(&set, &mut walk);
        set.leave(&waiting[leaver].0);
        while walk.end > 0 {
            wake_chunk(&set, &mut walk);
        }
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
        assert_eq!((set.len(), stayed.count()), (3 * CHUNK - 1, 3 * CHUNK - 1));
    }
}

#[test]
fn waiters_that_share_a_connection_are_woken_in_larger_chunks() {
    let set = WaiterSet::<OF_GROUP>::default();
    for (sharing, alone) in [
        (WEIGHT_OF_OWN_CONNECTION * CHUNK, 0),
        (WEIGHT_OF_OWN_CONNECTION * 10, CHUNK - 10),
        (3, CHUNK - 1),
    ] {
        let waiters: Vec<_> = (0..sharing + alone)
            .map(|_| Arc::new(Waiter::new(0, None)))
            .collect();
        for waiter in &waiters[..sharing] {
            waiter.set_shares_connection();
        }
        for waiter in waiters {
            set.join(waiter);
        }
        assert_eq!(
            wake_chunk(&set, &mut Walk::default()),
            0,
            "{sharing} and {alone} are one chunk"
        );
        set.join(Arc::new(Waiter::new(0, None)));
        assert_ne!(
            wake_chunk(&set, &mut Walk::default()),
            0,
            "and one more are not"
        );
        *set.waiters() = Vec::new();
    }
}

#[test]
fn a_wake_up_before_the_wait_is_remembered() {
    let set = WaiterSet::<OF_ALL>::default();
    let waiter = Arc::new(Waiter::new(0, None));
    set.join(waiter.clone());
    set.wake_at_once();
    let mut context = Context::from_waker(Waker::noop());
    assert!(std::pin::pin!(waiter.woken()).poll(&mut context).is_ready());
    waiter.rearm();
    assert!(
        std::pin::pin!(waiter.woken())
            .poll(&mut context)
            .is_pending()
    );
}
