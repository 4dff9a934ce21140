//! What has been reserved, and those who have it.
//!
//! Invariant: whatever is paid here is given back once, when its holder is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{BudgetState, MemoryKind};
use crate::error::Result;

/// A part of the budget; it is given back when this is dropped.
pub struct Reservation {
    pub(super) shared: Arc<BudgetState>,
    pub(super) kind: MemoryKind,
    pub(super) bytes: usize,
}

impl Reservation {
    /// What is reserved, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more.
    ///
    /// # Errors
    /// Out of memory; what was reserved before stays so.
    pub fn grow(&mut self, more_bytes: usize) -> Result<()> {
        if more_bytes > 0 && !self.shared.try_add(self.kind, more_bytes) {
            return Err(self.shared.refuse(self.kind));
        }
        self.bytes += more_bytes;
        Ok(())
    }

    /// Takes more or gives some back, so that it is so much.
    ///
    /// # Errors
    /// Out of memory; what was reserved before stays so.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes >= self.bytes {
            return self.grow(bytes - self.bytes);
        }

        // Giving some back always succeeds.
        self.shared.give_back(self.kind, self.bytes - bytes);
        self.bytes = bytes;
        Ok(())
    }

    /// Takes more for memory that is there already, whether it fits or not.
    pub fn charge(&mut self, more_bytes: usize) {
        // Whether it fits or not: from here on others are refused.
        self.shared.add(self.kind, more_bytes);
        self.bytes += more_bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shared.give_back(self.kind, self.bytes);
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Reservation({:?}, {} bytes)",
            self.kind, self.bytes
        )
    }
}

/// Counts one who waits, also when it is given up.
pub(super) struct MemoryWaiter<'s>(&'s BudgetState);

impl<'s> MemoryWaiter<'s> {
    pub(super) fn new(shared: &'s BudgetState) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        MemoryWaiter(shared)
    }
}

impl Drop for MemoryWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes with what they cost.
pub(super) struct OwnedPiece {
    pub(super) bytes: Bytes,
    pub(super) _paid: Reservation,
}

impl AsRef<[u8]> for OwnedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// One holder's part in bytes that others may have, too.
pub(super) struct SharedPiece {
    pub(super) bytes: Bytes,
    pub(super) shared: Arc<BudgetState>,
}

impl AsRef<[u8]> for SharedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SharedPiece {
    fn drop(&mut self) {
        // None where others hold it still.
        let paid_bytes = self.shared.held_by_many.drop_holder(&self.bytes);
        if paid_bytes > 0 {
            self.shared.give_back(MemoryKind::Page, paid_bytes);
        }
    }
}
