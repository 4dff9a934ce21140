//! Which pieces of memory are held by several, so that each is paid once.
//!
//! Invariant: a piece is known by its address for as long as somebody holds it, and nothing else
//! can have that address meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Locks, so that connections on several cores seldom wait for each other.
const PARTS: usize = 16;

/// The pieces that are held now.
#[derive(Default)]
pub(super) struct HeldPieces([Mutex<HashMap<usize, HeldPiece>>; PARTS]);

struct HeldPiece {
    holders: usize,
    paid_bytes: usize,
}

impl HeldPieces {
    /// Counts a holder. Is it the first one, who has to pay?
    pub(super) fn add_holder(&self, bytes: &Bytes) -> bool {
        match self.part(bytes).entry(address(bytes)) {
            Entry::Occupied(mut piece) => {
                // Its first holder has paid for it already.
                piece.get_mut().holders += 1;
                false
            }
            Entry::Vacant(vacant) => {
                vacant.insert(HeldPiece {
                    holders: 1,
                    paid_bytes: bytes.len(),
                });
                true
            }
        }
    }

    /// Counts a holder less. Gives what was paid when it was the last one, else 0.
    pub(super) fn drop_holder(&self, bytes: &Bytes) -> usize {
        let mut pieces = self.part(bytes);
        let Entry::Occupied(mut piece) = pieces.entry(address(bytes)) else {
            return 0;
        };
        // The last holder gives back what the first one paid.
        piece.get_mut().holders -= 1;
        if piece.get().holders > 0 {
            return 0;
        }
        piece.remove().paid_bytes
    }

    fn part(&self, bytes: &Bytes) -> MutexGuard<'_, HashMap<usize, HeldPiece>> {
        // Large pieces begin at the same place in a page of memory.
        let part = (address(bytes) >> 12) % PARTS;
        self.0[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(bytes: &Bytes) -> usize {
    bytes.as_ptr() as usize
}
