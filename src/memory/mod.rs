//! One budget, in bytes, for everything that clients can make the gateway hold.
//!
//! Invariants:
//! - what is reserved is paid for as long as the bytes live: a [`Reservation`] travels with them
//!   and gives them back when it is dropped;
//! - when the budget, or the share of a kind in it, is used up, new work of that kind is refused
//!   with [`ErrorKind::OutOfMemory`]; nothing that has been reserved is taken away;
//! - no kind that a client can leave unfinished can take all: bodies, answers and pages together
//!   leave a quarter for what has arrived whole;
//! - bytes that many readers share are paid once;
//! - whoever is refused is counted, whatever it wanted memory for and by which transport.

mod held;
mod machine;
mod reservation;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::metrics::{RefusalReason, Refusals};
use held::HeldPieces;
pub use reservation::Reservation;
use reservation::{MemoryWaiter, OwnedPiece, SharedPiece};

/// What memory is held for; the label `kind` of `vidette_memory_used_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// A request body, or a message of a stream, that is not complete yet.
    Body,
    /// A message that is complete, and what has been made of it, until it is in the queue.
    Decoded,
    /// Batches that wait to be written to the log, or are being written.
    Queue,
    /// Answers that are being made, or that their connections have not taken yet.
    Answer,
    /// Pages of events that their readers have not taken yet.
    Page,
}

/// All kinds, in the order in which they count.
pub const MEMORY_KINDS: [MemoryKind; 5] = [
    MemoryKind::Body,
    MemoryKind::Decoded,
    MemoryKind::Queue,
    MemoryKind::Answer,
    MemoryKind::Page,
];

impl MemoryKind {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryKind::Body => "body",
            MemoryKind::Decoded => "decoded",
            MemoryKind::Queue => "queue",
            MemoryKind::Answer => "answer",
            MemoryKind::Page => "page",
        }
    }

    /// What it is, for whoever is refused.
    fn described(self) -> &'static str {
        match self {
            MemoryKind::Body => "requests that are not complete",
            MemoryKind::Decoded => "requests that are being read",
            MemoryKind::Queue => "events that wait to be written",
            MemoryKind::Answer => "answers that wait to be read",
            MemoryKind::Page => "readers that do not take what they are sent",
        }
    }

    /// How many quarters of the budget this kind may take. What a client can leave unfinished, or
    /// unread, takes three together.
    fn share_quarters(self) -> usize {
        match self {
            MemoryKind::Body | MemoryKind::Answer | MemoryKind::Page => 1,
            MemoryKind::Decoded | MemoryKind::Queue => 4,
        }
    }
}

/// The budget. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget(Arc<BudgetState>);

struct BudgetState {
    limit_bytes: usize,
    used_bytes: [AtomicUsize; MEMORY_KINDS.len()],
    held_by_many: HeldPieces,
    waiting: AtomicUsize,
    given_back: Notify,
    refusals: Refusals,
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MemoryBudget({} bytes)", self.0.limit_bytes)
    }
}

impl Default for MemoryBudget {
    /// The budget of this machine; see [`default_budget_bytes`].
    fn default() -> Self {
        Self::new(default_budget_bytes())
    }
}

/// A part of what this process may use, and at least [`limits::MIN_MEMORY_BUDGET_BYTES`].
pub fn default_budget_bytes() -> u64 {
    // Where nothing can be read, the smallest budget is the safe one.
    let usable = machine::usable_bytes(Path::new("/")).unwrap_or(0);
    (usable / limits::MEMORY_BUDGET_PART).max(limits::MIN_MEMORY_BUDGET_BYTES)
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: u64) -> Self {
        // So far below the end of the type that no sum of parts wraps.
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let limit_bytes = limit_bytes.min(usize::MAX / 16);
        MemoryBudget(Arc::new(BudgetState {
            limit_bytes,
            used_bytes: std::array::from_fn(|_| AtomicUsize::new(0)),
            held_by_many: HeldPieces::default(),
            waiting: AtomicUsize::new(0),
            given_back: Notify::new(),
            refusals: Refusals::default(),
        }))
    }

    /// Where refusals by memory are counted, among those by other limits.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// What may be used in all, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }

    /// What is used by this kind now, in bytes.
    pub fn used_bytes(&self, kind: MemoryKind) -> usize {
        self.0.used_bytes[kind as usize].load(Ordering::SeqCst)
    }

    /// Takes a part of the budget, before the memory is taken.
    ///
    /// # Errors
    /// Out of memory when the budget, or the share of this kind, would be exceeded.
    pub fn reserve(&self, kind: MemoryKind, bytes: usize) -> Result<Reservation> {
        // Begins with nothing, so that a refusal leaves nothing to give back.
        let mut reservation = self.charge(kind, 0);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// The same for whoever can do without it, and is not refused. None where it does not fit.
    pub fn try_reserve(&self, kind: MemoryKind, bytes: usize) -> Option<Reservation> {
        self.0.try_add(kind, bytes).then(|| Reservation {
            shared: self.0.clone(),
            kind,
            bytes,
        })
    }

    /// Takes a part of the budget for memory that is there already, whether it fits or not: then
    /// others are refused until it is given back.
    pub fn charge(&self, kind: MemoryKind, bytes: usize) -> Reservation {
        self.0.add(kind, bytes);
        Reservation {
            shared: self.0.clone(),
            kind,
            bytes,
        }
    }

    /// Is the budget, or the share of this kind, used up?
    pub fn is_used_up(&self, kind: MemoryKind) -> bool {
        self.0.is_used_up(kind)
    }

    /// Refuses while the budget, or the share of this kind, is used up.
    ///
    /// # Errors
    /// Out of memory.
    pub fn check(&self, kind: MemoryKind) -> Result<()> {
        if self.is_used_up(kind) {
            return Err(self.0.refuse(kind));
        }
        Ok(())
    }

    /// Waits until there is memory for pages again, and for reading them.
    pub async fn until_pages_fit(&self) {
        // Counted first, so that nothing that is given back from here on is missed.
        let _waiting = MemoryWaiter::new(&self.0);
        while !self.0.pages_fit() {
            self.0.given_back.notified().await;
        }

        // One is woken at a time, so that what was given back is taken before the next one looks.
        self.0.given_back.notify_one();
    }

    /// Bytes that are paid for as long as anybody has them. For those that one connection is given.
    pub fn own(&self, kind: MemoryKind, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        // Small ones are less than what their connection costs anyway.
        if bytes.len() < limits::PAID_FROM_BYTES {
            return bytes;
        }
        let reservation = self.charge(kind, bytes.len());
        Bytes::from_owner(OwnedPiece {
            bytes,
            _paid: reservation,
        })
    }

    /// The same for a page of events that many connections may be given: however many have it, it
    /// is paid once.
    pub fn share(&self, bytes: Bytes) -> Bytes {
        if bytes.len() < limits::PAID_FROM_BYTES {
            return bytes;
        }
        // Whoever holds it first pays, and the last one gives it back.
        if self.0.held_by_many.add_holder(&bytes) {
            self.0.add(MemoryKind::Page, bytes.len());
        }
        Bytes::from_owner(SharedPiece {
            bytes,
            shared: self.0.clone(),
        })
    }
}

impl BudgetState {
    fn add(&self, kind: MemoryKind, bytes: usize) -> usize {
        self.used_bytes[kind as usize].fetch_add(bytes, Ordering::SeqCst) + bytes
    }

    fn total(&self) -> usize {
        let used = self.used_bytes.iter();
        used.map(|used| used.load(Ordering::SeqCst)).sum()
    }

    fn share_bytes(&self, kind: MemoryKind) -> usize {
        self.limit_bytes * kind.share_quarters() / 4
    }

    /// Adds if it fits. Of two that would only fit alone both may be refused; never are both taken.
    fn try_add(&self, kind: MemoryKind, bytes: usize) -> bool {
        // Added before it is compared, so that two never fit into the same space.
        let used_bytes = self.add(kind, bytes);
        let fits = used_bytes <= self.share_bytes(kind) && self.total() <= self.limit_bytes;
        if !fits {
            self.give_back(kind, bytes);
        }
        fits
    }

    /// The error of a request that is refused, which is counted.
    fn refuse(&self, kind: MemoryKind) -> Error {
        self.refusals.count(RefusalReason::Memory);
        out_of_memory(kind)
    }

    fn is_used_up(&self, kind: MemoryKind) -> bool {
        let used = self.used_bytes[kind as usize].load(Ordering::SeqCst);
        used >= self.share_bytes(kind) || self.total() >= self.limit_bytes
    }

    fn give_back(&self, kind: MemoryKind, bytes: usize) {
        self.used_bytes[kind as usize].fetch_sub(bytes, Ordering::SeqCst);
        // Most of the time nobody waits, and nothing is summed up.
        if self.waiting.load(Ordering::SeqCst) > 0 && self.pages_fit() {
            self.given_back.notify_one();
        }
    }

    fn pages_fit(&self) -> bool {
        !self.is_used_up(MemoryKind::Page) && !self.is_used_up(MemoryKind::Answer)
    }
}

fn out_of_memory(kind: MemoryKind) -> Error {
    let what = kind.described();
    let detail = format!(
        "no memory is left for {what} (limits.memory_budget); \
         nothing was taken. Try again shortly"
    );
    Error::new(ErrorKind::OutOfMemory, detail)
}

#[cfg(test)]
mod tests;
