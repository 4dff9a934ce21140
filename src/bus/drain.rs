//! The end of a bus, stream by stream (contract §2.6).
//!
//! Invariants:
//! - a bus only goes from one [`Stage`] to a later one;
//! - until its own turn comes, a stream goes on as if nothing ended: live events reach it, and what
//!   is published is taken;
//! - the turns are spread evenly over the given time, in random order, so that clients do not come
//!   back all at once, and none of those that came together;
//! - whoever comes after the turns were counted ends with the last of them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::closing::{Closing, ClosingReason};
use super::waiter::{OF_ALL, Waiter, WaiterSet, Walk};
use super::{Bus, Shared};
use crate::limits;

/// How far a bus is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Nobody else is to come here: it is not ready any more. Whoever comes is served.
    Leaving = 1,
    /// New subscriptions are refused.
    Draining = 2,
    /// All subscriptions end, and nothing is published any more.
    Closed = 3,
}

/// What the end needs to know, and who waits for it.
#[derive(Debug)]
pub(super) struct DrainState {
    /// The [`Stage`]; 0 until the end begins.
    stage: AtomicU8,
    /// For those who wait until the bus is closed.
    closed: Semaphore,
    /// Streams of publishers.
    publishers: WaiterSet<OF_ALL>,
    /// When the last turn comes.
    until: OnceLock<Instant>,
}

impl Default for DrainState {
    fn default() -> Self {
        DrainState {
            stage: AtomicU8::new(0),
            closed: Semaphore::new(0),
            publishers: WaiterSet::default(),
            until: OnceLock::new(),
        }
    }
}

impl Shared {
    /// Has the end come this far?
    pub(super) fn has_come_to(&self, stage: Stage) -> bool {
        self.drain.stage.load(Ordering::SeqCst) >= stage as u8
    }

    fn go_to(&self, stage: Stage) {
        self.drain.stage.fetch_max(stage as u8, Ordering::SeqCst);
    }
}

impl Bus {
    /// Is not ready any more, so that nobody else is sent here; everything is served meanwhile.
    pub fn leave(&self) {
        self.0.go_to(Stage::Leaving);
    }

    /// Refuses new subscriptions from here on. Those that are open go on, and so does publishing.
    pub fn begin_drain(&self) {
        self.0.go_to(Stage::Draining);
    }

    /// Ends the streams that are open, spread evenly over this time. Where there are none, or one,
    /// nothing is waited for.
    pub async fn end_streams(&self, over: Duration) {
        let _ = self.0.drain.until.set(Instant::now() + over);
        // Publishers beside readers: each kind comes back at a rate of its own.
        let (readers, publishers) = (&self.0.interest.everybody, &self.0.drain.publishers);
        tokio::join!(end_spread(readers, over), end_spread(publishers, over));
    }

    /// Streams of readers and publishers that are open.
    pub fn streams(&self) -> usize {
        self.subscribers() + self.0.drain.publishers.len()
    }

    /// The last word to a reader that has just come. If it has come to a gateway that ends, there
    /// may be no other: asked to come back as soon as one that was ended, it would be here again
    /// and again, and so would all others.
    pub fn closing_of_newcomer(&self, reason: ClosingReason) -> Closing {
        let mut closing = Closing::because(reason);
        if let (ClosingReason::Shutdown, Some(until)) = (reason, self.0.drain.until.get()) {
            let rest = until.saturating_duration_since(Instant::now());
            let spread_ms = rest.min(limits::DRAIN_NEWCOMERS_SPREAD).as_millis();
            closing.retry_ms += fastrand::u32(..=u32::try_from(spread_ms).unwrap_or(0));
        }
        closing
    }

    /// Ends all subscriptions that are left with `closing`, and refuses new ones, and new
    /// publishes.
    pub fn close(&self) {
        // Set before anybody is woken: whoever wakes up looks at it.
        self.0.go_to(Stage::Closed);
        self.0.drain.closed.close();
        self.0.interest.everybody.wake_at_once();
        self.0.drain.publishers.wake_at_once();
        // Nothing has changed, but those who wait for a vid look again.
        self.0.tail_watch.send_modify(|_| ());
    }

    /// Is nothing published any more?
    pub fn is_closing(&self) -> bool {
        self.0.has_come_to(Stage::Closed)
    }

    /// Ready once nothing is published any more.
    pub async fn closed(&self) {
        // The semaphore has no permits: this ends only when it is closed.
        let _ = self.0.drain.closed.acquire().await;
    }

    /// The end of a stream of a publisher that begins now.
    pub(super) fn stream_end(&self) -> StreamEnd {
        let waiter = Arc::new(Waiter::new(0, None));
        self.0.drain.publishers.join(waiter.clone());
        StreamEnd {
            bus: self.clone(),
            waiter,
        }
    }
}

/// When a stream of a publisher has to end for the gateway's sake. It has its turn among all such
/// streams for as long as this lives.
pub(super) struct StreamEnd {
    bus: Bus,
    waiter: Arc<Waiter>,
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        self.bus.0.drain.publishers.leave(&self.waiter);
    }
}

impl StreamEnd {
    /// Has it come?
    fn has_come(&self) -> bool {
        self.waiter.is_told_to_end() || self.bus.is_closing()
    }

    /// Ready once it has come.
    pub(super) async fn comes(&self) {
        loop {
            // Before it is looked at, so that no wake-up is missed.
            self.waiter.rearm();
            if self.has_come() {
                return;
            }
            self.waiter.woken().await;
        }
    }
}

/// Tells everybody of a set to end, spread evenly over this time.
async fn end_spread(set: &WaiterSet<OF_ALL>, over: Duration) {
    let (began, total) = (Instant::now(), set.len());
    let mut walk = Walk::default();
    loop {
        // By the clock, so that a slow step does not delay all that follow; those who leave by
        // themselves are not made up for.
        let due = due_after(began.elapsed(), over, total);
        let wanted = total - due;
        match set.end_all_but(&mut walk, wanted) {
            0 => return,
            left if left > wanted => tokio::task::yield_now().await,
            _ => sleep(limits::DRAIN_STEP).await,
        }
    }
}

/// How many of so many turns have come after this time: the first at once, and the others so that
/// as much time lies between any two as behind the last.
fn due_after(elapsed: Duration, over: Duration, total: usize) -> usize {
    if elapsed >= over {
        return total;
    }
    // In 128 bits nothing overflows, whatever was configured.
    let passed = elapsed.as_nanos() * total as u128 / over.as_nanos();
    let passed = usize::try_from(passed).unwrap_or(usize::MAX);
    passed.saturating_add(1).min(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(elapsed_ms: u64, total: usize) -> usize {
        due_after(Duration::from_millis(elapsed_ms), 10 * SECOND, total)
    }

    #[test]
    fn turns_are_spread_evenly_and_all_come_in_time() {
        assert_eq!([0, 1, 9_999, 10_000].map(|ms| due(ms, 0)), [0; 4]);
        assert_eq!(due(0, 1), 1, "a single one does not wait");
        assert_eq!([0, 4_999, 5_000, 9_999].map(|ms| due(ms, 2)), [1, 1, 2, 2]);
        let per_second: Vec<_> = (0..=10).map(|s| due(s * 1000, 10_000)).collect();
        assert_eq!(per_second[..3], [1, 1001, 2001]);
        assert_eq!(per_second[9..], [9001, 10_000]);
        assert_eq!(due_after(Duration::ZERO, Duration::ZERO, 7), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_is_ended_at_an_even_pace_in_random_order_and_each_once() {
        let set = WaiterSet::<OF_ALL>::default();
        let waiters: Vec<_> = (0..1000).map(|_| Arc::new(Waiter::new(0, None))).collect();
        for waiter in &waiters {
            set.join(waiter.clone());
        }
        let told = || waiters.iter().filter(|w| w.is_told_to_end()).count();
        let ending = end_spread(&set, 10 * SECOND);
        let mut ending = std::pin::pin!(ending);

        for second in 1..10 {
            let until = tokio::time::timeout(SECOND, &mut ending).await;
            assert!(until.is_err(), "{second}");
            let expected = 100 * second;
            assert!(told().abs_diff(expected) <= 5, "{} at {second}", told());
        }
        let first_half = waiters[..500].iter().filter(|w| w.is_told_to_end());
        let first_half = first_half.count();
        assert!(
            (400..500).contains(&first_half),
            "{first_half}: in no order"
        );
        ending.await;
        assert_eq!(told(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_by_itself_is_not_waited_for() {
        let set = WaiterSet::<OF_ALL>::default();
        let waiters: Vec<_> = (0..100).map(|_| Arc::new(Waiter::new(0, None))).collect();
        for waiter in &waiters {
            set.join(waiter.clone());
        }
        let (began, ending) = (Instant::now(), end_spread(&set, 10 * SECOND));
        let mut ending = std::pin::pin!(ending);
        let early = tokio::time::timeout(SECOND, &mut ending).await;
        assert!(early.is_err());
        for waiter in &waiters {
            set.leave(waiter);
        }
        ending.await;
        assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    }
}
