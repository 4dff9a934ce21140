//! Ids of events whose acknowledgement may not have arrived.
//!
//! The engine remembers ids for `retention.dedupe_window`; an outage may be longer. What was on its
//! way out when a connection broke is kept here until it comes again. At start what may have been
//! on its way when the gateway stopped is read back from the end of the log, and what earlier
//! gateways left from their [notes](Note). Invariants:
//! - at most [`limits::SOURCE_KNOWN_IDS`], the oldest is forgotten first;
//! - an id is only added with the vid of a durable event.

use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;

use super::notes::Note;
use crate::bus::Bus;
use crate::cursor::Vid;
use crate::engine::{Page, PageBudget, ReadRequest};
use crate::error::Result;
use crate::limits;
use crate::topic::Filter;

/// Shared by all sources of a gateway.
#[derive(Default)]
pub(super) struct KnownIds(Mutex<IndexMap<Arc<str>, Vid>>); // held for one look at a time

impl KnownIds {
    /// Those of the last events of the log, and of the notes. A log that cannot be read is told;
    /// the dedupe window is there still.
    pub(super) async fn read_back(bus: &Bus) -> Self {
        let known = KnownIds::default();
        if let Err(fault) = known.read_log(bus).await {
            tracing::warn!(%fault, "the end of the log could not be read: only retention.dedupe_window keeps jobs from coming twice");
        }
        known
    }

    async fn read_log(&self, bus: &Bus) -> Result<()> {
        let mut looked_up_to = 0;
        for note in Note::read_all(bus).await? {
            match note {
                Note::Unacknowledged(ids) => {
                    for (id, vid) in ids {
                        self.add(id, vid);
                    }
                }
                Note::UnknownUpTo(vid) => {
                    self.read_before(bus, vid, looked_up_to).await?;
                    looked_up_to = vid;
                }
            }
        }
        self.read_before(bus, bus.bounds().last, looked_up_to).await
    }

    /// Ids of the last events up to a vid. Those up to `looked_up_to` are known.
    async fn read_before(&self, bus: &Bus, last: Vid, looked_up_to: Vid) -> Result<()> {
        let newest = read_after(bus, last.saturating_sub(1), last).await?;
        let Some(newest) = newest.events.last() else {
            return Ok(());
        };
        let lookback_ms = i64::try_from(limits::SOURCE_LOOKBACK.as_millis()).unwrap_or(i64::MAX);
        let begin = bus
            .vid_before(newest.time_ms.saturating_sub(lookback_ms))
            .await?;
        let mut after = begin.max(looked_up_to);
        while after < last {
            let page = read_after(bus, after, last).await?;
            for event in &page.events {
                if let Some(id) = &event.sent.id {
                    self.add(id.clone(), event.vid);
                }
            }
            after = page.through;
        }
        Ok(())
    }

    pub(super) fn add(&self, id: Arc<str>, vid: Vid) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= limits::SOURCE_KNOWN_IDS {
            // Half at a time: taking the oldest from the front moves all that are behind it.
            ids.drain(..limits::SOURCE_KNOWN_IDS / 2);
        }
        ids.insert(id, vid);
    }

    pub(super) fn vid_of(&self, id: &str) -> Option<Vid> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .copied()
    }
}

/// A page of the log, whatever its topics.
pub(super) async fn read_after(bus: &Bus, after: Vid, through: Vid) -> Result<Page> {
    let filter = Filter::everything();
    let budget = PageBudget::of_events(limits::PAGE_EVENTS);
    bus.read_page(ReadRequest {
        after,
        through,
        filter,
        budget,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ids_are_forgotten_first() {
        let known = KnownIds::default();
        for vid in 0..=limits::SOURCE_KNOWN_IDS as u64 {
            known.add(vid.to_string().into(), vid);
        }
        assert_eq!(known.vid_of("0"), None);
        let newest = limits::SOURCE_KNOWN_IDS as u64;
        assert_eq!(known.vid_of(&newest.to_string()), Some(newest));
    }
}
