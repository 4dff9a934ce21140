//! What is on its way to the peer of a stream.
//!
//! Invariant: a piece that is followed counts until h2 has dropped it, and is paid for as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::ArcWake;

use super::wakes::StreamWakes;
use crate::limits::PAID_FROM_BYTES;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};
use crate::transport::ConnectionInfo;

/// What is on its way to the peer of a stream. Small, as there may be hundreds of thousands.
pub(super) struct Flow {
    limits: Arc<FlowLimits>,
    /// A piece has been handed out, and the body has not been asked for another since.
    is_held_back: AtomicBool,
    /// What was handed out since the last piece that is followed.
    unfollowed_bytes: AtomicU32,
    /// Followed pieces that are in memory still; h2 takes them before there is a window for all.
    pieces: AtomicU32,
    /// Grows when the peer takes something.
    taken: AtomicU32,
    /// Who wakes the stream's task.
    pub(super) wakes: StreamWakes,
}

/// What is the same for all streams of a connection.
pub(super) struct FlowLimits {
    pub(super) memory: MemoryBudget,
    pub(super) write_timeout: Duration,
    pub(super) connection: Arc<ConnectionInfo>,
}

impl Flow {
    pub(super) fn new(limits: Arc<FlowLimits>) -> Self {
        Flow {
            limits,
            is_held_back: AtomicBool::new(false),
            unfollowed_bytes: AtomicU32::new(0),
            pieces: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            wakes: StreamWakes::default(),
        }
    }

    pub(super) fn limits(&self) -> &FlowLimits {
        &self.limits
    }

    /// Begins with a body.
    pub(super) fn begin(&self, is_empty: bool) {
        // Held back until it is asked for its first piece: with a window of zero it never is.
        self.is_held_back.store(!is_empty, Ordering::Release);
    }

    /// Is there something that the peer is to take?
    pub(super) fn is_waiting(&self) -> bool {
        self.is_held_back.load(Ordering::Acquire) || self.has_pieces()
    }

    pub(super) fn has_pieces(&self) -> bool {
        self.pieces.load(Ordering::Acquire) > 0
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }

    /// The body is asked for a piece: there is a window, so the last one has been taken.
    pub(super) fn note_asked(&self) {
        self.wakes.note_body_asked();
        if self.is_held_back.swap(false, Ordering::AcqRel) {
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes a piece that is handed out.
    ///
    /// It is followed when it, with the small ones before it, is more than what a stream costs
    /// anyway: when it is taken, they are, too. A large piece pays for itself; small ones are paid
    /// together.
    pub(super) fn hand_out(self: &Arc<Self>, piece: Bytes) -> Bytes {
        self.is_held_back.store(true, Ordering::Release);
        let small_bytes = self.unfollowed_bytes.load(Ordering::Relaxed) as usize;
        if small_bytes + piece.len() < PAID_FROM_BYTES {
            self.note_unfollowed(piece.len());
            return piece;
        }

        // From here on it is known when the peer has taken this piece and all before it.
        self.unfollowed_bytes.store(0, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(FollowedPiece {
            _paid: self.limits.memory.charge(MemoryKind::Answer, small_bytes),
            flow: self.clone(),
            piece,
        })
    }

    fn note_unfollowed(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("a small piece");
        self.unfollowed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Where some are left, the stream's task is woken when they have been taken.
    pub(super) fn poll_all_taken(&self) -> Poll<()> {
        if self.has_pieces() {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn note_taken(self: &Arc<Self>) {
        self.taken.fetch_add(1, Ordering::AcqRel);
        // The body is asked again once, not for each piece.
        if self.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            ArcWake::wake_by_ref(self);
        }
    }
}

/// A piece that has been handed out, until it is on the wire.
struct FollowedPiece {
    piece: Bytes,
    flow: Arc<Flow>,
    _paid: Reservation,
}

impl AsRef<[u8]> for FollowedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for FollowedPiece {
    fn drop(&mut self) {
        self.flow.note_taken();
    }
}
