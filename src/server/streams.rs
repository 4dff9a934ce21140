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
//! - what is handed out is at most [`PIECE_BYTES`] at once, so that a slow peer is seen to take some;
//! - an answer ends only after its larger pieces have been taken: until then somebody looks;
//! - a stream with nothing on its way has no timer.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::limits::PAID_FROM_BYTES;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// Bytes that are handed out at once: a frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;

/// What is on its way to the peer of a stream.
struct Flow {
    memory: MemoryBudget,
    /// A piece has been handed out, and the body has not been asked for another since.
    is_held_back: AtomicBool,
    /// Followed pieces that are in memory still; h2 takes them before there is a window for all.
    pieces: AtomicUsize,
    /// Grows when the peer takes something.
    taken: AtomicUsize,
    /// The body, when it waits for all pieces to be taken.
    body: AtomicWaker,
}

impl Flow {
    fn is_waiting(&self) -> bool {
        self.is_held_back.load(Ordering::Acquire) || self.pieces.load(Ordering::Acquire) > 0
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    fn asked(&self) {
        if self.is_held_back.swap(false, Ordering::AcqRel) {
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes a piece that is handed out. It is followed when it, with the small ones before it, is
    /// more than what a stream costs anyway: when it is taken, they are, too. A large piece pays
    /// for itself; small ones are paid together.
    fn hand_out(self: &Arc<Self>, piece: Bytes, unfollowed_bytes: &mut usize) -> Bytes {
        self.is_held_back.store(true, Ordering::Release);
        *unfollowed_bytes += piece.len();
        if *unfollowed_bytes < PAID_FROM_BYTES {
            return piece;
        }
        let small_bytes = std::mem::take(unfollowed_bytes) - piece.len();
        self.pieces.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(HandedOut {
            _paid: self.memory.charge(MemoryKind::Answer, small_bytes),
            flow: self.clone(),
            piece,
        })
    }

    fn poll_all_taken(&self, context: &mut Context<'_>) -> Poll<()> {
        self.body.register(context.waker());
        if self.pieces.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A piece that has been handed out, until it is on the wire.
struct HandedOut {
    piece: Bytes,
    flow: Arc<Flow>,
    _paid: Reservation,
}

impl AsRef<[u8]> for HandedOut {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        self.flow.taken.fetch_add(1, Ordering::AcqRel);
        if self.flow.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flow.body.wake();
        }
    }
}

/// An answer's body that notes what it hands out.
pub(super) struct FlowingBody {
    body: Body,
    flow: Arc<Flow>,
    /// Of a piece that is handed out in parts.
    rest: Bytes,
    /// What was handed out since the last piece that is followed.
    unfollowed_bytes: usize,
    end: End,
}

/// What is known of a body's end.
enum End {
    NotYet,
    /// It has come, and waits until all is taken.
    Here(Option<Box<HeaderMap>>),
}

impl HttpBody for FlowingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.flow.asked();
        if this.flow.memory.is_used_up(MemoryKind::Answer) {
            // One piece after the other, instead of as many as h2 buffers.
            ready!(this.flow.poll_all_taken(context));
        }
        while this.rest.is_empty() && matches!(this.end, End::NotYet) {
            match ready!(Pin::new(&mut this.body).poll_frame(context)).transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(piece) => this.rest = piece,
                    Err(frame) => {
                        this.end = End::Here(frame.into_trailers().ok().map(Box::new));
                    }
                },
                None => this.end = End::Here(None),
            }
        }
        if !this.rest.is_empty() {
            let part = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
            let part = this.flow.hand_out(part, &mut this.unfollowed_bytes);
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        ready!(this.flow.poll_all_taken(context));
        let trailers = match &mut this.end {
            End::Here(trailers) => trailers.take(),
            End::NotYet => None,
        };
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))))
    }

    fn is_end_stream(&self) -> bool {
        let has_given_all = self.rest.is_empty() && self.flow.pieces.load(Ordering::Acquire) == 0;
        has_given_all
            && match &self.end {
                End::NotYet => self.body.is_end_stream(),
                End::Here(trailers) => trailers.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint() // asked for before anything is handed out
    }
}

/// Runs the streams of a connection, each with an eye on what its peer takes.
#[derive(Clone)]
pub(super) struct Streams {
    memory: MemoryBudget,
    write_timeout: Duration,
    /// The flow of the request that has just been answered by the service: hyper hands its stream
    /// to the executor next, on the same task.
    newest: Arc<Mutex<Option<Arc<Flow>>>>,
}

impl Streams {
    pub(super) fn new(memory: &MemoryBudget, write_timeout: Duration) -> Self {
        Streams {
            memory: memory.clone(),
            write_timeout,
            newest: Arc::default(),
        }
    }

    /// Begins a stream: what makes its answer's body one that is watched.
    pub(super) fn begin(&self) -> impl FnOnce(Body) -> FlowingBody + Send + use<> {
        let flow = Arc::new(Flow {
            memory: self.memory.clone(),
            is_held_back: AtomicBool::new(false),
            pieces: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            body: AtomicWaker::new(),
        });
        *self.newest() = Some(flow.clone());
        move |body| FlowingBody {
            body,
            flow,
            rest: Bytes::new(),
            unfollowed_bytes: 0,
            end: End::NotYet,
        }
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<Arc<Flow>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let flow = self.newest().take();
        tokio::spawn(Watched {
            stream,
            flow,
            write_timeout: self.write_timeout,
            stalled: None,
        });
    }
}

pin_project! {
    /// A stream that is reset, by being dropped, when its peer takes nothing.
    struct Watched<F> {
        #[pin]
        stream: F,
        flow: Option<Arc<Flow>>,
        write_timeout: Duration,
        stalled: Option<Stalled>,
    }
}

/// Runs while something is on its way.
struct Stalled {
    taken_before: usize,
    timer: Pin<Box<Sleep>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(flow) = this.flow.as_deref().filter(|flow| flow.is_waiting()) else {
            *this.stalled = None;
            return Poll::Pending;
        };
        loop {
            let taken = flow.taken();
            let stalled = this.stalled.get_or_insert_with(|| Stalled {
                taken_before: taken,
                timer: Box::pin(sleep(*this.write_timeout)),
            });
            ready!(stalled.timer.as_mut().poll(context));
            if stalled.taken_before == taken {
                tracing::debug!("a stream is reset, as its peer takes nothing");
                return Poll::Ready(());
            }
            *this.stalled = None;
        }
    }
}
