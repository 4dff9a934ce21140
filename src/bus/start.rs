//! Where a start leads (contract §3).
//!
//! Invariants:
//! - a cursor of another log, of the future or of what is gone leads to a place with a gap, never
//!   to silence;
//! - a cursor that is a little ahead of the tail is waited for first.

use super::Bus;
use crate::cursor::{Cursor, Gap, GapReason, Start, Vid};
use crate::error::{Error, Result};
use crate::limits;

/// Where a start leads.
pub(super) struct Place {
    pub(super) position: Vid,
    pub(super) gap: Option<Gap>,
    /// The begin of what is retained, whatever that is by the time it is read.
    pub(super) from_earliest: bool,
    pub(super) snapshot_through: Option<Vid>,
}

impl Place {
    fn at(position: Vid) -> Self {
        Place {
            position,
            gap: None,
            from_earliest: false,
            snapshot_through: None,
        }
    }
}

/// Finds the position of a start (the table of contract §3).
pub(super) async fn place_of(bus: &Bus, start: &Start) -> Result<Place> {
    let bounds = bus.bounds();
    Ok(match start {
        Start::Latest => Place::at(bounds.last),
        Start::Earliest => Place {
            from_earliest: true,
            ..Place::at(bounds.first - 1)
        },
        Start::Since(time_ms) => place_since(bus, *time_ms).await?,
        // By the clock that events have their times from.
        Start::SinceAgo(ago_ms) => {
            place_since(bus, bus.now().time_ms.saturating_sub(*ago_ms)).await?
        }
        Start::Snapshot => Place {
            snapshot_through: Some(bounds.last),
            ..Place::at(bounds.first - 1)
        },
        Start::After(cursor) => place_after(bus, cursor).await?,
    })
}

async fn place_since(bus: &Bus, time_ms: i64) -> Result<Place> {
    let last = bus.bounds().last;
    Ok(Place::at(bus.engine().vid_before(time_ms).await?.min(last)))
}

async fn place_after(bus: &Bus, cursor: &Cursor) -> Result<Place> {
    let good_through = match &cursor.epoch {
        Some(epoch) => bus.lineage().good_through(epoch),
        None => Some(limits::MAX_VID),
    };
    if good_through.is_none_or(|good_through| cursor.vid > good_through) {
        let gap = gap_at(bus, GapReason::Reset, cursor);
        return Ok(Place {
            gap: Some(gap),
            from_earliest: true,
            ..Place::at(bus.bounds().first - 1)
        });
    }
    // Boxed, as few wait here and all who subscribe would have room for it.
    if cursor.vid > bus.tail() && !Box::pin(bus.wait_for(cursor.vid, limits::AHEAD_WAIT)).await {
        if bus.is_closing() {
            return Err(Error::closing());
        }
        let gap = gap_at(bus, GapReason::Ahead, cursor);
        return Ok(Place {
            position: gap.last,
            ..Place {
                gap: Some(gap),
                ..Place::at(0)
            }
        });
    }
    let first = bus.bounds().first;
    if cursor.vid < first - 1 {
        return Ok(Place {
            gap: Some(gap_at(bus, GapReason::Expired, cursor)),
            ..Place::at(first - 1)
        });
    }
    Ok(Place::at(cursor.vid))
}

pub(super) fn gap_at(bus: &Bus, reason: GapReason, requested: &Cursor) -> Gap {
    let bounds = bus.bounds();
    Gap {
        reason,
        requested: requested.to_string(),
        first: bounds.first,
        last: bounds.last,
        epoch: bus.epoch(),
    }
}
