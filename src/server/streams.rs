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
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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

/// What is on its way to the peer of a stream. Small, as there may be hundreds of thousands.
struct Flow {
    connection: Arc<Connection>,
    /// A piece has been handed out, and the body has not been asked for another since.
    is_held_back: AtomicBool,
    /// What was handed out since the last piece that is followed.
    unfollowed_bytes: AtomicU32,
    /// Followed pieces that are in memory still; h2 takes them before there is a window for all.
    pieces: AtomicU32,
    /// Grows when the peer takes something.
    taken: AtomicU32,
    /// The body, when it waits for all pieces to be taken.
    body: AtomicWaker,
}

/// What is the same for all streams of a connection.
struct Connection {
    memory: MemoryBudget,
    write_timeout: Duration,
}

impl Flow {
    fn is_waiting(&self) -> bool {
        self.is_held_back.load(Ordering::Acquire) || self.has_pieces()
    }

    fn has_pieces(&self) -> bool {
        self.pieces.load(Ordering::Acquire) > 0
    }

    fn taken(&self) -> u32 {
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
    fn hand_out(self: &Arc<Self>, piece: Bytes) -> Bytes {
        self.is_held_back.store(true, Ordering::Release);
        let small_bytes = self.unfollowed_bytes.load(Ordering::Relaxed) as usize;
        if small_bytes + piece.len() < PAID_FROM_BYTES {
            let more_bytes = u32::try_from(piece.len()).expect("a small piece");
            self.unfollowed_bytes
                .fetch_add(more_bytes, Ordering::Relaxed);
            return piece;
        }
        self.unfollowed_bytes.store(0, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::AcqRel);
        let memory = &self.connection.memory;
        Bytes::from_owner(HandedOut {
            _paid: memory.charge(MemoryKind::Answer, small_bytes),
            flow: self.clone(),
            piece,
        })
    }

    fn poll_all_taken(&self, context: &mut Context<'_>) -> Poll<()> {
        self.body.register(context.waker());
        if self.has_pieces() {
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
    /// Boxed, so that a stream that waits for events has no room for it.
    left: Option<Box<Left>>,
}

/// What the body has given, and is not handed out yet.
enum Left {
    /// The rest of a piece that is handed out in parts.
    Piece(Bytes),
    /// The end, which waits until all is taken.
    End(Option<HeaderMap>),
}

impl FlowingBody {
    /// What comes next of the body itself.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Left, axum::Error>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?;
            let Some(frame) = frame else {
                return Poll::Ready(Ok(Left::End(None)));
            };
            match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Ok(Left::Piece(piece))),
                Err(frame) => return Poll::Ready(Ok(Left::End(frame.into_trailers().ok()))),
            }
        }
    }

    /// Hands out a piece, or its first part.
    fn hand_out(&mut self, mut piece: Bytes) -> Frame<Bytes> {
        let part = piece.split_to(piece.len().min(PIECE_BYTES));
        self.left = (!piece.is_empty()).then(|| Box::new(Left::Piece(piece)));
        Frame::data(self.flow.hand_out(part))
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
        this.flow.asked();
        if this.flow.connection.memory.is_used_up(MemoryKind::Answer) {
            // One piece after the other, instead of as many as h2 buffers.
            ready!(this.flow.poll_all_taken(context));
        }
        let next = match this.left.take() {
            Some(left) => *left,
            None => ready!(this.poll_body(context))?,
        };
        match next {
            Left::Piece(piece) => Poll::Ready(Some(Ok(this.hand_out(piece)))),
            Left::End(trailers) if this.flow.poll_all_taken(context).is_ready() => {
                this.left = Some(Box::new(Left::End(None)));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            end @ Left::End(_) => {
                this.left = Some(Box::new(end));
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.flow.has_pieces()
            && match self.left.as_deref() {
                None => self.body.is_end_stream(),
                Some(left) => matches!(left, Left::End(None)),
            }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint() // asked for before anything is handed out
    }
}

/// Runs the streams of a connection, each with an eye on what its peer takes.
#[derive(Clone)]
pub(super) struct Streams {
    connection: Arc<Connection>,
    /// The flow of the request that has just been answered by the service: hyper hands its stream
    /// to the executor next, on the same task.
    newest: Arc<Mutex<Option<Arc<Flow>>>>,
}

impl Streams {
    pub(super) fn new(memory: &MemoryBudget, write_timeout: Duration) -> Self {
        let memory = memory.clone();
        Streams {
            connection: Arc::new(Connection {
                memory,
                write_timeout,
            }),
            newest: Arc::default(),
        }
    }

    /// Begins a stream: what makes its answer's body one that is watched.
    pub(super) fn begin(&self) -> impl FnOnce(Body) -> FlowingBody + Send + use<> {
        let flow = Arc::new(Flow {
            connection: self.connection.clone(),
            is_held_back: AtomicBool::new(false),
            unfollowed_bytes: AtomicU32::new(0),
            pieces: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            body: AtomicWaker::new(),
        });
        *self.newest() = Some(flow.clone());
        move |body| {
            // Held back until it is asked for its first piece: with a window of zero it never is.
            flow.is_held_back
                .store(!body.is_end_stream(), Ordering::Release);
            FlowingBody {
                body,
                flow,
                left: None,
            }
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
        stalled: Option<Pin<Box<Stalled>>>,
    }
}

pin_project! {
    /// Runs while something is on its way.
    struct Stalled {
        taken_before: u32,
        #[pin]
        timer: Sleep,
    }
}

impl Stalled {
    fn begin(flow: &Flow) -> Pin<Box<Self>> {
        Box::pin(Stalled {
            taken_before: flow.taken(),
            timer: sleep(flow.connection.write_timeout),
        })
    }
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
            let stalled = this.stalled.get_or_insert_with(|| Stalled::begin(flow));
            let stalled = stalled.as_mut().project();
            ready!(stalled.timer.poll(context));
            if *stalled.taken_before == flow.taken() {
                tracing::debug!("a stream is reset, as its peer takes nothing");
                return Poll::Ready(());
            }
            *this.stalled = None;
        }
    }
}
