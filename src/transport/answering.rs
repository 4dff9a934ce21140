//! A request that is being answered, from when it has been read until its answer is there.
//!
//! Invariants:
//! - it is kept for as long as a stream of HTTP/2 lives, or a poll waits, so it is a few words:
//!   what a request needs while it is checked and routed has a box, which is gone before a poll
//!   waits. A waiting poll took 3,700 bytes more without, a waiting gRPC stream 1,250;
//! - that box is made no earlier than the answer is asked for, and the request's is freed there: a
//!   thousand requests that come at once would leave as many holes otherwise.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use axum::http::Request;
use axum::response::Response;

use super::connection_info::ConnectionInfo;
use super::router::{Begun, RouteTable, WaitingPoll};
use super::routes::ListenerRules;

/// A request's answer, as it comes. It cannot fail: an error is an answer.
pub(crate) struct Answering<B> {
    table: Arc<RouteTable>,
    stage: Stage<B>,
}

enum Stage<B> {
    New(Box<Request<B>>, Arc<ConnectionInfo>, ListenerRules),
    Begins(Pin<Box<dyn Future<Output = Result<Begun, Infallible>> + Send>>),
    Waits(WaitingPoll),
    Ended,
}

impl<B> Answering<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        table: Arc<RouteTable>,
        request: Box<Request<B>>,
        connection: Arc<ConnectionInfo>,
        listener: ListenerRules,
    ) -> Self {
        let stage = Stage::New(request, connection, listener);
        Answering { table, stage }
    }

    fn begin(
        &self,
        request: Box<Request<B>>,
        connection: Arc<ConnectionInfo>,
        listener: ListenerRules,
    ) -> Stage<B> {
        let (table, request) = (self.table.clone(), unboxed(request));
        Stage::Begins(Box::pin(async move {
            table.begin(request, &connection, listener).await
        }))
    }
}

impl<B> Future for Answering<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let this = &mut *self;
            let begun = match &mut this.stage {
                Stage::New(..) => None,
                Stage::Begins(begins) => Some(ready!(begins.as_mut().poll(context))?),
                Stage::Waits(poll) => {
                    let waited = ready!(poll.waiting.as_mut().poll(context));
                    let answer = this.table.end_wait(waited, poll);
                    this.stage = Stage::Ended;
                    return Poll::Ready(Ok(answer));
                }
                Stage::Ended => unreachable!("a future is not polled once it is ready"),
            };
            // What is done with is gone before the next stage begins.
            self.stage = match (begun, std::mem::replace(&mut self.stage, Stage::Ended)) {
                (Some(Begun::Answered(answer)), _) => return Poll::Ready(Ok(answer)),
                (Some(Begun::Waits(poll)), _) => Stage::Waits(poll),
                (None, Stage::New(request, connection, listener)) => {
                    self.begin(request, connection, listener)
                }
                (None, other) => other,
            };
        }
    }
}

/// Takes out what is in a box, and frees it.
#[expect(
    clippy::boxed_local,
    reason = "a box that is only moved out of lives on until its scope ends"
)]
fn unboxed<T>(boxed: Box<T>) -> T {
    *boxed
}
