//! The place of a time among events that were copied from another log: their own times are those
//! that they had there, and the servers know only when they were copied.

use super::super::SharedStream;
use super::page;
use crate::cursor::Vid;
use crate::engine::{PageBudget, ReadRequest};
use crate::error::Result;
use crate::event::Event;
use crate::topic::Filter;

/// Events that are read to find one: some of what was copied may be no events.
const EVENTS_AT_ONCE: usize = 16;

/// The vid behind which all events of this time or later are, where the servers have said which one
/// that is by their own times.
pub(super) async fn vid_before(
    stream: &SharedStream,
    by_servers: Vid,
    time_ms: i64,
) -> Result<Vid> {
    let state = stream.watch.state();
    let copied = state.lineage.earlier().iter().map(|e| e.good_through);
    let copied_through = copied.max().unwrap_or(0).min(state.bounds.last);

    // Times never fall, so the first vid that is late enough can be found by halving.
    let (mut low, mut high) = (by_servers, copied_through);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_event(stream, middle, high).await? {
            Some((vid, time)) if time < time_ms => low = vid,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first event behind a vid: its vid and its time.
async fn first_event(
    stream: &SharedStream,
    after: Vid,
    through: Vid,
) -> Result<Option<(Vid, i64)>> {
    let mut after = after;
    while after < through {
        let request = ReadRequest {
            after,
            through,
            filter: Filter::everything(),
            budget: PageBudget::of_events(EVENTS_AT_ONCE),
        };
        let read = page(stream, request).await?;
        if let Some(event) = read.events.first() {
            let Event { vid, time_ms, .. } = **event;
            return Ok(Some((vid, time_ms)));
        }
        // A page that does not go on is of another log, where whoever asked begins anew.
        if read.through <= after {
            break;
        }
        after = read.through;
    }
    Ok(None)
}
