//! What is on its way to a socket.
//!
//! Invariants:
//! - whatever is ready goes out in one write, as slices of the shared encodings; only what the
//!   socket does not take at once is kept;
//! - at most [`GATHER_BYTES`] and one piece are gathered before they are written;
//! - what the socket does not take at once is paid from the memory budget, and while that is used up
//!   one piece is gathered at a time;
//! - nothing is held while nothing is on its way.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

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

/// The bytes of one answer, until the socket has them.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Goes out with the first piece of the body.
    head: Bytes,
    is_chunked: bool,
    /// The body's end has been taken.
    has_ended: bool,
    /// The body broke off, behind what was taken.
    fault: Option<io::Error>,
    rest: Option<Box<Rest>>,
}

/// What the socket has not taken.
struct Rest {
    /// The first comes last.
    pieces: Vec<Bytes>,
    /// For the small pieces; large ones pay for themselves.
    _paid: Reservation,
    /// Runs while the socket takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What a body has at the moment.
pub(super) type Piece = Poll<Option<io::Result<Bytes>>>;

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
        self.has_ended && self.rest.is_none()
    }

    /// Takes what the body has and writes what of it the socket takes. Gives whether the body has
    /// to be waited for.
    pub(super) fn pump(
        &mut self,
        stream: &TcpStream,
        memory: &MemoryBudget,
        mut body: impl FnMut() -> Piece,
    ) -> io::Result<bool> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let most_pieces = if memory.is_used_up(MemoryKind::Answer) {
            1
        } else {
            GATHER_PIECES
        };
        let mut pieces = [const { Bytes::new() }; GATHER_PIECES];
        let (mut count, mut bytes, mut is_waiting) = (0, 0, false);
        while count < most_pieces
            && bytes < GATHER_BYTES
            && !self.has_ended
            && !is_waiting
            && self.fault.is_none()
        {
            match body() {
                Poll::Ready(Some(Ok(piece))) => {
                    bytes += piece.len();
                    pieces[count] = piece;
                    count += 1;
                }
                Poll::Ready(Some(Err(fault))) => self.fault = Some(fault),
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => is_waiting = true,
            }
        }
        self.write(stream, memory, &pieces[..count], bytes)?;
        Ok(is_waiting && self.rest.is_none())
    }

    fn write(
        &mut self,
        stream: &TcpStream,
        memory: &MemoryBudget,
        pieces: &[Bytes],
        bytes: usize,
    ) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        let mut size_line = [0; 20];
        let size_line = self.size_line(&mut size_line, bytes);
        let tail = self.tail(bytes);
        let mut slices = [IoSlice::new(&[]); GATHER_PIECES + 3];
        slices[0] = IoSlice::new(&head);
        slices[1] = IoSlice::new(size_line);
        for (slice, piece) in slices[2..].iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        slices[2 + pieces.len()] = IoSlice::new(tail);
        let total = head.len() + size_line.len() + bytes + tail.len();
        let written = if total == 0 {
            0
        } else {
            try_write(stream, &slices[..3 + pieces.len()], total)?
        };
        if written < total {
            let all = [Bytes::from_static(tail)]
                .into_iter()
                .chain(pieces.iter().rev().cloned());
            let all = all.chain([Bytes::copy_from_slice(size_line), head]);
            self.rest = Some(Box::new(Rest::of(all.collect(), written, memory)));
        }
        Ok(())
    }

    /// What stands before the bytes of a chunk.
    fn size_line<'l>(&self, line: &'l mut [u8; 20], bytes: usize) -> &'l [u8] {
        if !self.is_chunked || bytes == 0 {
            return &[];
        }
        let mut rest = &mut line[..];
        write!(rest, "{bytes:x}\r\n").expect("16 digits and a line end");
        let left = rest.len();
        &line[..line.len() - left]
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

    /// Ready when nothing is left to write.
    pub(super) fn poll_flush(
        &mut self,
        stream: &TcpStream,
        write_timeout: Duration,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.poll_flush(stream, write_timeout, context))?;
            self.rest = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Rest {
    fn of(pieces: Vec<Bytes>, written: usize, memory: &MemoryBudget) -> Self {
        let small = pieces.iter().map(Bytes::len);
        let small_bytes = small.filter(|bytes| *bytes < PAID_FROM_BYTES).sum();
        let mut rest = Rest {
            pieces,
            _paid: memory.charge(MemoryKind::Answer, small_bytes),
            stalled: None,
        };
        rest.drop_written(written);
        rest
    }

    fn poll_flush(
        &mut self,
        stream: &TcpStream,
        write_timeout: Duration,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER_PIECES];
            for (slice, piece) in slices.iter_mut().zip(self.pieces.iter().rev()) {
                *slice = IoSlice::new(piece);
            }
            match try_write_slices(stream, &slices)? {
                0 => match stream.poll_write_ready(context)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => return self.poll_stalled(write_timeout, context),
                },
                written => {
                    self.drop_written(written);
                    self.stalled = None;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_stalled(
        &mut self,
        write_timeout: Duration,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn drop_written(&mut self, mut written: usize) {
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

/// Gives how much the socket took of all slices; 0 when it takes nothing now.
fn try_write(stream: &TcpStream, slices: &[IoSlice<'_>], total: usize) -> io::Result<usize> {
    if total > COPIED_BYTES {
        return try_write_slices(stream, slices);
    }
    let (mut copied, mut end) = ([0; COPIED_BYTES], 0);
    for slice in slices {
        copied[end..end + slice.len()].copy_from_slice(slice);
        end += slice.len();
    }
    taken(stream.try_write(&copied[..end]))
}

fn try_write_slices(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    taken(stream.try_write_vectored(slices))
}

fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
