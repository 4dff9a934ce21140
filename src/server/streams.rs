//! Streams of HTTP/2 whose peers take nothing.
//!
//! A connection may be well, and a stream of it not: its peer gives it no window. hyper asks a body
//! for its next piece only when there is a window, so a body does not notice; and the last piece of
//! an answer lies in h2 when nobody drives the stream any more. So an answer's body notes here what
//! it has handed out and what has been taken, and the stream's task looks at that.
//!
//! Invariants:
//! - a stream that has something on its way, and takes none of it for the write timeout, is reset;
//!   its neighbours are not;
//! - what is handed out is at most [`PIECE_BYTES`] at once, so that a slow peer is seen to take
//!   some;
//! - an answer ends only after its larger pieces have been taken: until then somebody looks;
//! - a stream with nothing on its way has no timer.

mod flow;
mod wakes;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::memory::{MemoryBudget, MemoryKind};
use crate::transport::ConnectionInfo;
use flow::{Flow, FlowLimits};
use wakes::poll_stream;

/// Bytes that are handed out at once: a frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer's body that notes what it hands out.
pub(super) struct FlowingBody {
    body: Body,
    flow: Arc<Flow>,
    /// Boxed to keep a stream that waits for events small.
    left: Option<Box<LeftOver>>,
}

/// What the body has given, and is not handed out yet.
enum LeftOver {
    /// The rest of a piece that is handed out in parts.
    Piece(Bytes),
    /// The end, which waits until all is taken.
    End(Option<HeaderMap>),
}

impl LeftOver {
    /// Is it the end, with nothing before it?
    fn is_end(&self) -> bool {
        matches!(self, LeftOver::End(None))
    }
}

impl FlowingBody {
    /// What comes next.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Result<LeftOver, axum::Error>> {
        match self.left.take() {
            Some(left) => Poll::Ready(Ok(*left)),
            None => self.poll_body(context),
        }
    }

    /// What comes next of the body itself.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<LeftOver, axum::Error>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?;
            let Some(frame) = frame else {
                return Poll::Ready(Ok(LeftOver::End(None)));
            };
            match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Ok(LeftOver::Piece(piece))),
                // Trailers are the last frame.
                Err(frame) => return Poll::Ready(Ok(LeftOver::End(frame.into_trailers().ok()))),
            }
        }
    }

    /// Hands out a piece, or its first part.
    fn hand_out(&mut self, mut piece: Bytes) -> Frame<Bytes> {
        // A slow peer is seen to take a part where it would seem to take nothing of the whole.
        let part = piece.split_to(piece.len().min(PIECE_BYTES));
        self.left = (!piece.is_empty()).then(|| Box::new(LeftOver::Piece(piece)));
        Frame::data(self.flow.hand_out(part))
    }

    /// Ends the body once all is taken.
    fn poll_end(
        &mut self,
        trailers: Option<HeaderMap>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The stream's task ends with it, and would look no more at what the peer takes.
        if self.flow.poll_all_taken().is_pending() {
            self.left = Some(Box::new(LeftOver::End(trailers)));
            return Poll::Pending;
        }
        self.left = Some(Box::new(LeftOver::End(None)));
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl HttpBody for FlowingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.flow.note_asked();

        if this.flow.limits().memory.is_used_up(MemoryKind::Answer) {
            // One piece after the other, instead of as many as h2 buffers.
            ready!(this.flow.poll_all_taken());
        }
        match ready!(this.poll_left(context))? {
            LeftOver::Piece(piece) => Poll::Ready(Some(Ok(this.hand_out(piece)))),
            LeftOver::End(trailers) => this.poll_end(trailers),
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_ended = match self.left.as_deref() {
            None => self.body.is_end_stream(),
            Some(left) => left.is_end(),
        };
        has_ended && !self.flow.has_pieces()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint() // asked for before anything is handed out
    }
}

/// Runs the streams of a connection, each with an eye on what its peer takes.
#[derive(Clone)]
pub(super) struct Streams {
    limits: Arc<FlowLimits>,
    /// The flow of the request that has just been answered by the service: hyper hands its stream
    /// to the executor next, on the same task.
    newest: Arc<Mutex<Option<Arc<Flow>>>>,
}

impl Streams {
    pub(super) fn new(
        memory: &MemoryBudget,
        write_timeout: Duration,
        connection: &Arc<ConnectionInfo>,
    ) -> Self {
        let limits = FlowLimits {
            memory: memory.clone(),
            write_timeout,
            connection: connection.clone(),
        };
        Streams {
            limits: Arc::new(limits),
            newest: Arc::default(),
        }
    }

    /// Begins a stream: what makes its answer's body one that is watched.
    pub(super) fn begin(&self) -> impl FnOnce(Body) -> FlowingBody + Send + use<> {
        let flow = Arc::new(Flow::new(self.limits.clone()));
        // Until hyper hands over the stream that it belongs to.
        *self.newest() = Some(flow.clone());
        move |body| {
            flow.begin(body.is_end_stream());
            FlowingBody {
                body,
                flow,
                left: None,
            }
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<Arc<Flow>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let flow = self.newest().take();
        tokio::spawn(WatchedStream {
            stream,
            flow,
            stalled: None,
        });
    }
}

pin_project! {
    /// A stream that is reset, by being dropped, when its peer takes nothing.
    struct WatchedStream<F> {
        #[pin]
        stream: F,
        flow: Option<Arc<Flow>>,
        stalled: Option<Pin<Box<StallTimer>>>,
    }
}

pin_project! {
    /// Runs while something is on its way.
    struct StallTimer {
        taken_before: u32,
        #[pin]
        timer: Sleep,
    }
}

impl StallTimer {
    fn begin(flow: &Flow) -> Pin<Box<Self>> {
        Box::pin(StallTimer {
            taken_before: flow.taken(),
            timer: sleep(flow.limits().write_timeout),
        })
    }
}

impl<F: Future<Output = ()>> Future for WatchedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let polled = match this.flow.as_ref() {
            Some(flow) => poll_stream(flow, this.stream, context),
            None => this.stream.poll(context),
        };
        if polled.is_ready() {
            return Poll::Ready(());
        }
        // Without anything on its way it may wait for events for ever.
        let Some(flow) = this.flow.as_deref().filter(|flow| flow.is_waiting()) else {
            *this.stalled = None;
            return Poll::Pending;
        };
        poll_stalled(flow, this.stalled, context)
    }
}

/// Ready when a peer has taken nothing for the write timeout.
fn poll_stalled(
    flow: &Flow,
    stalled: &mut Option<Pin<Box<StallTimer>>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    loop {
        // Measured from when something was first on its way.
        let timer = stalled.get_or_insert_with(|| StallTimer::begin(flow));
        let timer = timer.as_mut().project();
        ready!(timer.timer.poll(context));
        if *timer.taken_before == flow.taken() {
            tracing::debug!("a stream is reset, as its peer takes nothing");
            flow.limits().connection.note_stalled_stream();
            return Poll::Ready(());
        }

        // It has taken some since: the time begins anew.
        *stalled = None;
    }
}
