//! Reading and appending to the gateway's own log, through the bus.

use crate::bus::{Bus, Page, PageBudget, ReadRequest, Receipt};
use crate::caller::Caller;
use crate::cursor::Vid;
use crate::error::Result;
use crate::event::NewEvent;
use crate::limits;
use crate::topic::Filter;

/// A page of the events after one vid, up to and including another one.
pub(super) async fn read_after(
    bus: &Bus,
    filter: Filter,
    after: Vid,
    through: Vid,
) -> Result<Page> {
    let budget = PageBudget::of_events(limits::PAGE_EVENTS);
    bus.read_page(ReadRequest {
        after,
        through,
        filter,
        budget,
    })
    .await
}

/// Makes a batch durable, waiting for its turn where the queue is full.
pub(super) async fn append(bus: &Bus, batch: Vec<NewEvent>) -> Result<Vec<Receipt>> {
    let stream = bus.publish_stream(&Caller::gateway());
    let publishing = stream.enqueue_with_backpressure(batch).await?;
    publishing.done().await
}
