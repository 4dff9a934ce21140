//! Ids of events whose acknowledgement may not have arrived at the source.
//!
//! The engine remembers ids for `retention.dedupe_window`, and an outage may last longer. Whatever
//! was being acknowledged when a connection broke is kept here until it comes again. At start the
//! ids of the newest events of the log are read, because they may have been unacknowledged when the
//! gateway stopped, and those that earlier gateways left in their [notes](RecoveryNote).
//! Invariants:
//! - at most [`limits::SOURCE_UNACKED_IDS`] are kept; the oldest are forgotten first;
//! - an id is only added with the vid of a durable event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::log::read_after;
use super::recovery::RecoveryNote;
use crate::bus::Bus;
use crate::cursor::Vid;
use crate::error::Result;
use crate::limits;
use crate::topic::Filter;

const UNREADABLE_LOG: &str = "failed to read the end of the log: events whose acknowledgement \
    was lost are recognized within retention.dedupe_window only";

/// Shared by all sources of a gateway.
#[derive(Default)]
pub(super) struct UnackedIds(Mutex<IndexMap<Arc<str>, Vid>>); // held for one lookup or one change

impl UnackedIds {
    /// Those of the newest events of the log, and of the notes. A log that cannot be read is
    /// reported; the dedupe window still works then.
    pub(super) async fn recover(bus: &Bus) -> Self {
        let unacked = UnackedIds::default();
        // What another gateway has published last is among those, too.
        let caught_up = bus.catch_up_with_log(limits::SOURCE_CATCH_UP_WAIT).await;
        if let Err(error) = caught_up.and(unacked.read_log(bus).await) {
            tracing::warn!(%error, "{UNREADABLE_LOG}");
        }
        unacked
    }

    async fn read_log(&self, bus: &Bus) -> Result<()> {
        // Notes overlap with one another and with the end of the log; nothing is read twice.
        let mut read_through = 0;
        for note in RecoveryNote::read_all(bus).await? {
            match note {
                RecoveryNote::Unacknowledged(ids) => self.add_all(ids),
                // Written by a gateway that could not reach its source after its start.
                RecoveryNote::UnknownUpTo(vid) => {
                    self.read_before(bus, vid, read_through).await?;
                    read_through = vid;
                }
            }
        }
        self.read_before(bus, bus.bounds().last, read_through).await
    }

    /// Adds the ids of the events shortly before a vid, except those that were read already.
    async fn read_before(&self, bus: &Bus, last: Vid, read_through: Vid) -> Result<()> {
        let mut after = lookback_start(bus, last).await?.max(read_through);
        while after < last {
            let page = read_after(bus, Filter::everything(), after, last).await?;
            let ids = page.events.iter();
            self.add_all(ids.filter_map(|event| Some((event.sent.id.clone()?, event.vid))));
            after = page.through;
        }
        Ok(())
    }

    pub(super) fn add_all(&self, ids: impl IntoIterator<Item = (Arc<str>, Vid)>) {
        for (id, vid) in ids {
            self.add(id, vid);
        }
    }

    pub(super) fn add(&self, id: Arc<str>, vid: Vid) {
        let mut ids = self.lock();
        if ids.len() >= limits::SOURCE_UNACKED_IDS {
            // Half at a time, because removing the oldest one moves all those behind it.
            ids.drain(..limits::SOURCE_UNACKED_IDS / 2);
        }
        ids.insert(id, vid);
    }

    pub(super) fn vid_of(&self, id: &str) -> Option<Vid> {
        self.lock().get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, IndexMap<Arc<str>, Vid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The vid after which all events of the last [`limits::SOURCE_LOOKBACK`] up to `last` are; `last`
/// itself where no event is retained there.
async fn lookback_start(bus: &Bus, last: Vid) -> Result<Vid> {
    let page = read_after(bus, Filter::everything(), last.saturating_sub(1), last).await?;
    let Some(newest) = page.events.last() else {
        return Ok(last);
    };

    // The clock of the log counts, not the wall clock: the gateway may have been away for long.
    bus.vid_before(newest.time_ms.saturating_sub(lookback_ms()))
        .await
}

fn lookback_ms() -> i64 {
    i64::try_from(limits::SOURCE_LOOKBACK.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ids_are_forgotten_first() {
        let unacked = UnackedIds::default();
        for vid in 0..=limits::SOURCE_UNACKED_IDS as u64 {
            unacked.add(vid.to_string().into(), vid);
        }
        assert_eq!(unacked.vid_of("0"), None);
        let newest = limits::SOURCE_UNACKED_IDS as u64;
        assert_eq!(unacked.vid_of(&newest.to_string()), Some(newest));
    }
}
