//! Reading while memory is short.
//!
//! A page is paid when a connection is given it, and until the connection has taken it. Invariants:
//! - a page that is read from the log is paid before it is read, by what it may have, so that
//!   thousands who read at once cannot take more than there is;
//! - when there is no memory for pages, a reader gets small ones, which are not paid, and waits for
//!   large ones; it is not cut off, and its position does not move;
//! - who waits for memory wakes up every heartbeat, so its connection is not silent.

use tokio::time::timeout;

use super::Subscription;
use crate::bus::batch::Batch;
use crate::bus::step::Step;
use crate::error::Result;
use crate::limits;
use crate::memory::{MemoryKind, Reservation};

/// What a reader gets while there is no memory for pages, with an event more.
const SMALL_PAGE_BYTES: usize = limits::PAID_FROM_BYTES / 2;

impl Subscription {
    /// Would the next page have to wait for memory? Who holds events that can be sent meanwhile
    /// sends them: if all who read held some and waited for more, none would be given back.
    pub fn is_short_of_memory(&self) -> bool {
        self.try_pay_for_page().is_none()
    }

    /// Reads a page that is not in memory, or waits until there is memory for one. None when
    /// nothing in it matched, or when memory was waited for.
    pub(super) async fn read_when_there_is_memory(&mut self) -> Result<Option<Step>> {
        if let Some(_paid) = self.pay_for_page().await {
            return self.read_page(limits::PAGE_BYTES).await;
        }

        // A small page is not paid. What does not fit into one has to wait.
        let position = self.position();
        let step = self.read_page(SMALL_PAGE_BYTES).await?;
        if step.is_none() && self.position() == position {
            self.wait_for_memory().await;
        }
        Ok(step)
    }

    /// What a page may take, while it is read; none when there is not so much. It is not counted as
    /// a page that is held: many who read are no reason to refuse others.
    fn try_pay_for_page(&self) -> Option<Reservation> {
        let memory = self.memory();
        let reading = memory.try_reserve(MemoryKind::Answer, limits::PAGE_BYTES);
        reading.filter(|_| !memory.is_used_up(MemoryKind::Page))
    }

    /// The same, and many who read at once wait for each other first.
    async fn pay_for_page(&self) -> Option<Reservation> {
        if let Some(paid) = self.try_pay_for_page() {
            return Some(paid);
        }
        // Those who read now give theirs back within milliseconds, mostly.
        let _ = timeout(limits::PAGE_MEMORY_WAIT, self.memory().until_pages_fit()).await;
        self.try_pay_for_page()
    }

    async fn wait_for_memory(&self) {
        let given_back = async {
            tokio::select! {
                () = self.memory().until_pages_fit() => {}
                () = self.bus.closed() => {}
            }
        };
        // A reader that waited in vain reports its position, and waits again.
        let _ = timeout(self.bus.options().heartbeat, given_back).await;
    }

    /// May a connection be given a page that is in memory already?
    pub(super) fn has_memory_for(&self, batch: &Batch) -> bool {
        !self.memory().is_used_up(MemoryKind::Page) || !is_over(batch, SMALL_PAGE_BYTES)
    }
}

/// Is a page larger than what it should be? One that is read within a bound may end with an event
/// that passes it; where there is memory for a page there is some for that.
pub(super) fn is_over(batch: &Batch, page_bytes: usize) -> bool {
    let is_small = page_bytes < limits::PAGE_BYTES;
    let bytes = || batch.iter().map(|event| event.size_bytes()).sum::<usize>();
    is_small && bytes() > 2 * page_bytes
}
