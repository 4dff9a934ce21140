//! What wakes the task of a stream.
//!
//! h2 wakes whoever sends as soon as a stream may send more, also where that is so because the
//! stream's own poll has just asked for it. Each message would so be followed by a second poll,
//! which finds nothing: a tenth of what a message costs. Invariants:
//! - a stream that its own poll wakes is polled again unless its body was asked for more after
//!   that: whoever asks the body has seen to all the rest;
//! - any other wake-up is the task's.

use std::cell::Cell;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, AtomicWaker, waker_ref};

use super::flow::Flow;

thread_local! {
    /// The stream that this thread polls just now.
    static POLLED: Cell<*const Flow> = const { Cell::new(ptr::null()) };
}

/// How a stream's task is woken.
#[derive(Default)]
pub(super) struct StreamWakes {
    task: AtomicWaker,
    /// By its own poll, since the body was last asked for more.
    is_woken_by_itself: AtomicBool,
}

impl StreamWakes {
    /// The body is asked for more.
    pub(super) fn note_body_asked(&self) {
        self.is_woken_by_itself.store(false, Ordering::Relaxed);
    }
}

impl ArcWake for Flow {
    fn wake_by_ref(flow: &Arc<Self>) {
        if POLLED.get() == Arc::as_ptr(flow) {
            flow.wakes.is_woken_by_itself.store(true, Ordering::Relaxed);
        } else {
            flow.wakes.task.wake();
        }
    }
}

/// Polls a stream. Whoever is to wake it wakes its flow.
pub(super) fn poll_stream<F: Future>(
    flow: &Arc<Flow>,
    stream: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<F::Output> {
    let wakes = &flow.wakes;
    // First: whoever wakes it from now on has another poll follow this one.
    wakes.task.register(context.waker());
    wakes.is_woken_by_itself.store(false, Ordering::Relaxed);

    let polled = {
        let _until_polled = Polled::begin(flow);
        stream.poll(&mut Context::from_waker(&waker_ref(flow)))
    };
    if polled.is_pending() && wakes.is_woken_by_itself.load(Ordering::Relaxed) {
        context.waker().wake_by_ref();
    }
    polled
}

/// Marks the stream that is polled, until it is dropped, also by a panic.
struct Polled(*const Flow);

impl Polled {
    fn begin(flow: &Arc<Flow>) -> Self {
        Polled(POLLED.replace(Arc::as_ptr(flow)))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        POLLED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::memory::MemoryBudget;
    use crate::server::streams::flow::FlowLimits;
    use crate::transport::{ConnectionInfo, PeerAddress};

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Task(AtomicU32);

    impl ArcWake for Task {
        fn wake_by_ref(task: &Arc<Self>) {
            task.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flow() -> Arc<Flow> {
        Arc::new(Flow::new(Arc::new(FlowLimits {
            memory: MemoryBudget::new(1),
            write_timeout: Duration::MAX,
            connection: Arc::new(ConnectionInfo::plain(PeerAddress::Local)),
        })))
    }

    /// How often the task of a stream is woken by one poll of it, and by a wake-up after that.
    fn woken(poll: impl Fn(&Flow, &Waker)) -> (u32, u32) {
        let (flow, task) = (flow(), Arc::<Task>::default());
        let stream = std::pin::pin!(std::future::poll_fn(|context: &mut Context<'_>| {
            poll(&flow, context.waker());
            Poll::<()>::Pending
        }));
        let polled = poll_stream(&flow, stream, &mut Context::from_waker(&waker_ref(&task)));
        assert!(polled.is_pending());

        let by_poll = task.0.swap(0, Ordering::Relaxed);
        ArcWake::wake_by_ref(&flow);
        (by_poll, task.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_stream_that_has_only_woken_itself_is_not_polled_again() {
        let capacity_then_body = |flow: &Flow, waker: &Waker| {
            waker.wake_by_ref();
            flow.note_asked();
        };
        assert_eq!(woken(capacity_then_body), (0, 1));
    }

    #[test]
    fn what_comes_after_the_body_was_asked_is_seen_by_another_poll() {
        let body_then_capacity = |flow: &Flow, waker: &Waker| {
            flow.note_asked();
            waker.wake_by_ref();
        };
        assert_eq!(woken(body_then_capacity), (1, 1));
        assert_eq!(woken(|_, waker| waker.wake_by_ref()), (1, 1));
    }

    #[test]
    fn a_wake_up_by_another_thread_while_it_is_polled_is_never_lost() {
        let by_another_thread = |flow: &Flow, waker: &Waker| {
            let waker = waker.clone();
            std::thread::spawn(move || waker.wake())
                .join()
                .expect("a wake-up");
            flow.note_asked();
        };
        // The second one finds a poll due already.
        assert_eq!(woken(by_another_thread), (1, 0));
    }
}
