//! Reading while memory is short.
//!
//! A page is paid when a connection is given it, and until the connection has taken it. Invariants:
//! - a page that is read from the log is paid before it is read, by what it may have, so that
//!   thousands who read at once cannot take more than there is;
//! - when there is no memory for pages, a reader gets small ones, which are not paid, and waits for
//!   large ones; it is not cut off, and its position does not move;
//! - who waits for memory is looked at every heartbeat, so its connection is not silent.

use tokio::time::timeout;

use super::batch::Batch;
use super::step::Step;
use super::subscription::Subscription;
use crate::error::Result;
use crate::limits;
use crate::memory::{MemoryKind, Reservation};

/// What a reader gets while there is no memory for pages, with an event more.
const SMALL_PAGE_BYTES: usize = limits::PAID_FROM_BYTES / 2;

impl Subscription {
    /// Reads a page that is not at hand, or waits until there is memory for one. None when nothing
    /// in it matched, or when memory was waited for.
    pub(super) async fn read_when_there_is_memory(&mut self) -> Result<Option<Step>> {
        if let Some(_paid) = self.paid_for_a_page().await {
            return self.read_page(limits::PAGE_BYTES).await;
        }
        let position = self.position();
        let step = self.read_page(SMALL_PAGE_BYTES).await?;
        if step.is_none() && self.position() == position {
            self.wait_for_memory().await;
        }
        Ok(step)
    }

    /// Would the next page have to wait for memory? Who holds events that can be sent meanwhile
    /// sends them: if all who read held some and waited for more, none would be given back.
    pub fn is_short_of_memory(&self) -> bool {
        let memory = self.bus.memory();
        let next_page = memory.reserve(MemoryKind::Answer, limits::PAGE_BYTES);
        next_page.is_err() || memory.is_used_up(MemoryKind::Page)
    }

    /// What a page may take, while it is read. Many who read at once wait for each other first.
    async fn paid_for_a_page(&self) -> Option<Reservation> {
        let memory = self.bus.memory();
        let paid = || {
            // Not as a page that is held: many who read are no reason to refuse others.
            let reading = memory.reserve(MemoryKind::Answer, limits::PAGE_BYTES);
            reading
                .ok()
                .filter(|_| !memory.is_used_up(MemoryKind::Page))
        };
        if let Some(paid) = paid() {
            return Some(paid);
        }
        let _ = timeout(limits::PAGE_MEMORY_WAIT, memory.until_pages_fit()).await;
        paid()
    }

    async fn wait_for_memory(&self) {
        let (memory, heartbeat) = (self.bus.memory(), self.bus.options().heartbeat);
        let given_back = async {
            tokio::select! {
                () = memory.until_pages_fit() => {}
                () = self.bus.closed() => {}
            }
        };
        // A reader that waited in vain tells its position, and waits again.
        let _ = timeout(heartbeat, given_back).await;
    }

    /// May a connection be given a page that is in memory already?
    pub(super) fn has_memory_for(&self, batch: &Batch) -> bool {
        !self.bus.memory().is_used_up(MemoryKind::Page) || !is_over(batch, SMALL_PAGE_BYTES)
    }
}

/// Is a page larger than what it should be? One that is read within a bound may end with an event
/// that passes it; where there is memory for a page there is some for that.
pub(super) fn is_over(batch: &Batch, page_bytes: usize) -> bool {
    let is_small = page_bytes < limits::PAGE_BYTES;
    let bytes = || batch.iter().map(|event| event.size_bytes()).sum::<usize>();
    is_small && bytes() > 2 * page_bytes
}
