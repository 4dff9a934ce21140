//! The requests of one connection that are being answered, counted.
//!
//! A connection of HTTP/2 that has none is idle; over HTTP/1.1 the next one waits until there is
//! none. Invariant: a request counts from when it is handed to the routes until its answer's body
//! is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// How often an idle connection is looked at while it is kept.
const LOOKS: u32 = 8;

/// How many are being answered, and how many have begun.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    begun: AtomicUsize,
}

/// A request, for as long as this lives.
pub(super) struct OneInFlight(InFlight);

impl Drop for OneInFlight {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// A request begins.
    pub(super) fn begin(&self) -> OneInFlight {
        // Relaxed: both are looked at by the connection's own task.
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        OneInFlight(self.clone())
    }

    /// Is none being answered?
    pub(super) fn is_none(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    /// Ready once a request has begun. It wakes nobody: it is polled behind the connection, whose
    /// task is the one that begins them.
    pub(super) async fn first(&self) {
        std::future::poll_fn(|_| match self.begun() {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Ready when there has been none for that long, and up to an eighth of it longer.
    pub(super) async fn idle(&self, timeout: Duration) {
        let (mut begun, mut idle_since) = (0, Instant::now());
        loop {
            // Looked at now and then: a timer that each request resets would cost each of them.
            sleep(timeout / LOOKS).await;
            let has_begun = self.begun();
            if !self.is_none() || has_begun != begun {
                // One is open, or came and went since the last look.
                (begun, idle_since) = (has_begun, Instant::now());
            } else if idle_since.elapsed() >= timeout {
                return;
            }
        }
    }
}

/// The body of an answer, with the request that it is for.
pub(super) struct InFlightBody<B> {
    body: B,
    _one: OneInFlight,
}

impl<B> InFlightBody<B> {
    pub(super) fn new(body: B, one: OneInFlight) -> Self {
        InFlightBody { body, _one: one }
    }
}

impl<B: HttpBody + Unpin> HttpBody for InFlightBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_it_has_had_no_request_for_that_long() {
        let (minute, in_flight) = (Duration::from_secs(60), InFlight::default());
        let begun = Instant::now();
        let busy = async {
            sleep(minute / 2).await;
            let open = in_flight.begin();
            sleep(3 * minute).await;
            drop(open);
            sleep(minute / 2).await;
            drop(in_flight.begin());
        };
        tokio::join!(in_flight.idle(minute), busy);
        let idle_since = begun + 4 * minute;
        let idle_for = idle_since.elapsed();
        assert!(idle_for >= minute && idle_for <= minute + minute / 4);
    }
}
