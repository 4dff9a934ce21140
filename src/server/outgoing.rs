//! What is on its way to a connection's peer.
//!
//! Invariants:
//! - whatever is ready goes out in one write, as slices of the shared encodings; only what the
//!   stream does not take at once is kept;
//! - at most [`GATHER_BYTES`] and one piece are gathered before they are written;
//! - what the stream does not take at once is paid from the memory budget, and while that is used
//!   up one piece is gathered at a time;
//! - nothing is held while nothing is on its way.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use smallvec::SmallVec;
use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::io::Io;
use crate::limits::PAID_FROM_BYTES;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// Pieces that go out in one write.
const GATHER_PIECES: usize = 16;
/// A write up to this size is copied together: the kernel takes one slice by a shorter way than
/// several, and copying a kilobyte costs less than the difference: a tenth of the CPU time of
/// 10,000 readers of 20 events a second.
const COPIED_BYTES: usize = 2048;
/// Bytes after which a write is not made larger.
const GATHER_BYTES: usize = 64 * 1024;
/// What frames the pieces of a body: a head, a chunk's size, a chunk's end.
const FRAMING_PIECES: usize = 3;
/// The most digits of a chunk's size, and the line's end.
const SIZE_LINE_BYTES: usize = 20;
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes of one answer, until the stream has them.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Goes out with the first piece of the body.
    head: Bytes,
    is_chunked: bool,
    /// The body's end has been taken.
    has_ended: bool,
    /// The body broke off, behind what was taken.
    broken: Option<io::Error>,
    unsent: Option<Box<Unsent>>,
}

/// What a body has at the moment.
pub(super) type BodyPoll = Poll<Option<io::Result<Bytes>>>;

/// What of a body goes out together.
#[derive(Default)]
struct Gathered {
    pieces: SmallVec<[Bytes; GATHER_PIECES]>,
    bytes: usize,
    /// The body has no more at the moment.
    is_waiting: bool,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    fn has_space(&self, most_pieces: usize) -> bool {
        self.pieces.len() < most_pieces && self.bytes < GATHER_BYTES && !self.is_waiting
    }
}

impl Outgoing {
    /// Begins an answer.
    pub(super) fn begin(&mut self, head: Bytes, is_chunked: bool) {
        *self = Outgoing {
            head,
            is_chunked,
            ..Outgoing::default()
        };
    }

    /// Has everything been written?
    pub(super) fn is_done(&self) -> bool {
        self.has_ended && self.unsent.is_none()
    }

    /// Takes what the body has and writes what of it the stream takes. Gives whether the body has
    /// to be waited for.
    pub(super) fn pump(
        &mut self,
        io: &mut Io,
        memory: &MemoryBudget,
        context: &mut Context<'_>,
        body: impl FnMut(&mut Context<'_>) -> BodyPoll,
    ) -> io::Result<bool> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let mut gathered = Gathered::default();
        self.gather(&mut gathered, most_pieces(memory), context, body);
        self.write(io, memory, context, &gathered)?;
        Ok(gathered.is_waiting && self.unsent.is_none())
    }

    fn gather(
        &mut self,
        gathered: &mut Gathered,
        most_pieces: usize,
        context: &mut Context<'_>,
        mut body: impl FnMut(&mut Context<'_>) -> BodyPoll,
    ) {
        while gathered.has_space(most_pieces) && !self.has_ended && self.broken.is_none() {
            match body(context) {
                Poll::Ready(Some(Ok(piece))) => gathered.push(piece),
                // What came before it is still written.
                Poll::Ready(Some(Err(error))) => self.broken = Some(error),
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => gathered.is_waiting = true,
            }
        }
    }

    fn write(
        &mut self,
        io: &mut Io,
        memory: &MemoryBudget,
        context: &mut Context<'_>,
        gathered: &Gathered,
    ) -> io::Result<()> {
        // The head goes out with the first piece, and each write is one chunk.
        let head = std::mem::take(&mut self.head);
        let mut size_line = [0; SIZE_LINE_BYTES];
        let size_line = self.size_line(&mut size_line, gathered.bytes);
        let tail = self.tail(gathered.bytes);
        let pieces = &gathered.pieces;
        let count = pieces.len() + FRAMING_PIECES;
        let mut slices = [IoSlice::new(&[]); GATHER_PIECES + FRAMING_PIECES];
        slices[0] = IoSlice::new(&head);
        slices[1] = IoSlice::new(size_line);
        fill(&mut slices[2..], pieces.iter());
        slices[count - 1] = IoSlice::new(tail);

        // What is not taken now is kept, in the order in which it stands here.
        let total = head.len() + size_line.len() + gathered.bytes + tail.len();
        let written = write_at_once(io, &slices[..count], total, context)?;
        if written < total || Pin::new(&mut *io).poll_flush(context)?.is_pending() {
            let held_bytes = io.held_bytes();
            let front = [head, Bytes::copy_from_slice(size_line)];
            let all = front.iter().chain(pieces).cloned();
            let all = all.chain([Bytes::from_static(tail)]);
            self.unsent = Some(Unsent::boxed(all.collect(), written, held_bytes, memory));
        }
        Ok(())
    }

    /// What stands before the bytes of a chunk.
    fn size_line<'l>(&self, line: &'l mut [u8; SIZE_LINE_BYTES], bytes: usize) -> &'l [u8] {
        // A chunk of no bytes would be the end.
        if !self.is_chunked || bytes == 0 {
            return &[];
        }
        // From the end: the first digit's place is known last. Formatting it as text takes ten
        // times as long, for each delivery.
        let (mut left, mut at) = (bytes, SIZE_LINE_BYTES - 2);
        line[at..].copy_from_slice(b"\r\n");
        while left > 0 {
            at -= 1;
            line[at] = HEX_DIGITS[left % 16];
            left /= 16;
        }
        &line[at..]
    }

    /// What stands behind them.
    fn tail(&self, bytes: usize) -> &'static [u8] {
        match (self.is_chunked, bytes > 0, self.has_ended) {
            (true, true, true) => b"\r\n0\r\n\r\n",
            (true, true, false) => b"\r\n",
            (true, false, true) => b"0\r\n\r\n",
            (true, false, false) | (false, ..) => b"",
        }
    }

    /// Ready when nothing is left to write. `write_timeout` is asked once the peer takes nothing.
    pub(super) fn poll_flush(
        &mut self,
        io: &mut Io,
        context: &mut Context<'_>,
        write_timeout: impl Fn() -> Duration,
    ) -> Poll<io::Result<()>> {
        if let Some(unsent) = &mut self.unsent {
            ready!(unsent.poll_flush(io, context, write_timeout))?;
            self.unsent = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// What the stream has not taken.
struct Unsent {
    /// In reverse, so that the first is the cheapest to take out.
    pieces: Vec<Bytes>,
    /// For the small pieces, and for what the stream holds; large pieces pay for themselves.
    _paid: Reservation,
    /// Runs while the stream takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Unsent {
    /// The pieces in their order, of which so many bytes are written and so many held by the
    /// stream.
    fn boxed(
        mut pieces: Vec<Bytes>,
        written: usize,
        held_bytes: usize,
        memory: &MemoryBudget,
    ) -> Box<Self> {
        pieces.reverse();
        let small = pieces.iter().map(Bytes::len);
        let small_bytes: usize = small.filter(|bytes| *bytes < PAID_FROM_BYTES).sum();
        let mut unsent = Box::new(Unsent {
            pieces,
            _paid: memory.charge(MemoryKind::Answer, small_bytes + held_bytes),
            stalled: None,
        });
        unsent.drop_written(written);
        unsent
    }

    fn poll_flush(
        &mut self,
        io: &mut Io,
        context: &mut Context<'_>,
        write_timeout: impl Fn() -> Duration,
    ) -> Poll<io::Result<()>> {
        while !self.pieces.is_empty() {
            let written = self.write_some(io, context)?;
            if written == 0 {
                return self.poll_stalled(io, write_timeout, context);
            }
            // Whatever it has taken, its time begins anew.
            self.drop_written(written);
            self.stalled = None;
        }

        // A stream that encrypts may still hold what it has taken.
        match Pin::new(&mut *io).poll_flush(context) {
            Poll::Pending => self.poll_stalled(io, write_timeout, context),
            Poll::Ready(flushed) => Poll::Ready(flushed),
        }
    }

    fn write_some(&self, io: &mut Io, context: &mut Context<'_>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); GATHER_PIECES];
        fill(&mut slices, self.pieces.iter().rev());
        io.write_now(&slices, context)
    }

    fn poll_stalled(
        &mut self,
        io: &Io,
        write_timeout: impl Fn() -> Duration,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if io.is_timed() {
            return Poll::Pending;
        }
        // Running since the first time that nothing was taken.
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(write_timeout())));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn drop_written(&mut self, mut written: usize) {
        // A piece that is written whole is freed, and gives back what it paid.
        while let Some(first) = self.pieces.last_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop();
        }
    }
}

/// One by one while memory is short, so that little is held of what is not taken.
fn most_pieces(memory: &MemoryBudget) -> usize {
    if memory.is_used_up(MemoryKind::Answer) {
        1
    } else {
        GATHER_PIECES
    }
}

/// Puts pieces into slices, as many as there are of both.
fn fill<'p>(slices: &mut [IoSlice<'p>], pieces: impl Iterator<Item = &'p Bytes>) {
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
}

/// Gives how much the stream took of all slices; 0 when it takes nothing now.
fn write_at_once(
    io: &mut Io,
    slices: &[IoSlice<'_>],
    total: usize,
    context: &mut Context<'_>,
) -> io::Result<usize> {
    if total == 0 {
        return Ok(0);
    }
    if total > COPIED_BYTES {
        return io.write_now(slices, context);
    }

    // Small enough to be copied together.
    let mut copied = [MaybeUninit::uninit(); COPIED_BYTES];
    let mut copied = ReadBuf::uninit(&mut copied);
    for slice in slices {
        copied.put_slice(slice);
    }
    io.write_now(&[IoSlice::new(copied.filled())], context)
}
