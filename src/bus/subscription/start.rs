//! Where a start leads (contract §3).
//!
//! Invariants:
//! - a cursor of another log, of the future or of trimmed events leads to a position with a gap,
//!   never to silence;
//! - a cursor that is a little ahead of the tail is waited for first, and a gap `ahead` is reported
//!   only after the log has confirmed where it ends;
//! - so is a gap `reset` only after the log has confirmed that it is not the cursor's.

use std::sync::Arc;

use super::phase::ReadMode;
use crate::bus::Bus;
use crate::bus::log_view::{LogSnapshot, LogView};
use crate::cursor::{Cursor, Gap, GapReason, Start, Vid};
use crate::engine::Bounds;
use crate::error::{Error, Result};
use crate::limits;

/// Where a start leads.
pub(super) struct StartPosition {
    /// The log that the position belongs to.
    pub(super) log: Arc<LogView>,
    pub(super) position: Vid,
    pub(super) mode: ReadMode,
    pub(super) gap: Option<Gap>,
}

impl StartPosition {
    fn at(now: LogSnapshot, position: Vid) -> Self {
        StartPosition {
            log: now.log,
            position,
            mode: ReadMode::CatchingUp,
            gap: None,
        }
    }

    /// The oldest retained event, whichever that is by the time it is read.
    fn earliest(now: LogSnapshot) -> Self {
        let position = now.bounds.first - 1;
        StartPosition {
            mode: ReadMode::FromEarliest,
            ..Self::at(now, position)
        }
    }

    fn snapshot(now: LogSnapshot) -> Self {
        let Bounds { first, last } = now.bounds;
        StartPosition {
            mode: ReadMode::Snapshot { through: last },
            ..Self::at(now, first - 1)
        }
    }

    fn with(self, gap: Gap) -> Self {
        StartPosition {
            gap: Some(gap),
            ..self
        }
    }

    /// Where a cursor leads, by the table of contract §3.
    fn after(now: LogSnapshot, cursor: &Cursor) -> Self {
        let Bounds { first, last } = now.bounds;
        let gap = |reason| now.gap(reason, cursor);
        // First of all: vids of another log cannot be compared with these bounds.
        if !is_of_this_log(&now.log, cursor) {
            let gap = gap(GapReason::Reset);
            return Self::earliest(now).with(gap);
        }
        if cursor.vid > last {
            let gap = gap(GapReason::Ahead);
            return Self::at(now, last).with(gap);
        }
        // `first - 1` itself is good: what comes behind it is all there.
        if cursor.vid < first - 1 {
            let gap = gap(GapReason::Expired);
            return Self::at(now, first - 1).with(gap);
        }
        Self::at(now, cursor.vid)
    }
}

/// Finds the position of a start.
pub(super) async fn find_start(bus: &Bus, start: &Start) -> Result<StartPosition> {
    let now = bus.0.snapshot();
    Ok(match start {
        Start::Latest => {
            let last = now.bounds.last;
            StartPosition::at(now, last)
        }
        Start::Earliest => StartPosition::earliest(now),
        Start::Since(time_ms) => since(bus, now, *time_ms).await?,
        // By the clock that events have their times from.
        Start::SinceAgo(ago_ms) => {
            let time_ms = bus.now().time_ms.saturating_sub(*ago_ms);
            since(bus, now, time_ms).await?
        }
        Start::Snapshot => StartPosition::snapshot(now),
        Start::After(cursor) => after(bus, now, cursor).await?,
    })
}

async fn since(bus: &Bus, now: LogSnapshot, time_ms: i64) -> Result<StartPosition> {
    let before = bus.0.engine.vid_before(time_ms).await?;
    // The engine may have answered with a vid that is not visible yet.
    let position = before.min(bus.0.tail());
    Ok(StartPosition::at(now, position))
}

async fn after(bus: &Bus, mut now: LogSnapshot, cursor: &Cursor) -> Result<StartPosition> {
    // The cursor may be of a log that this gateway has yet to restart on, or even to hear of:
    // another gateway was quicker.
    let is_replaced = |log: &LogView| bus.0.engine.state().lineage.epoch() != log.epoch();
    if !is_of_this_log(&now.log, cursor) {
        if !is_replaced(&now.log) {
            Box::pin(confirm_log(bus)).await?;
        }
        if is_replaced(&now.log) {
            Box::pin(bus.0.wait_for_reset(&now.log)).await;
            now = bus.0.snapshot();
        }
        if is_replaced(&now.log) {
            return Err(Error::behind());
        }
    }

    // Mostly there is nothing to wait for.
    if !is_of_this_log(&now.log, cursor) || cursor.vid <= now.bounds.last {
        return Ok(StartPosition::after(now, cursor));
    }
    // Boxed to keep the future of all who subscribe small; few wait here.
    Box::pin(wait_for_cursor(bus, cursor.vid)).await?;
    Ok(StartPosition::after(bus.0.snapshot(), cursor))
}

/// Has the log itself say what it is. A gateway that does not know yet that the log was replaced
/// would otherwise send a reader of the new log back to the old one.
async fn confirm_log(bus: &Bus) -> Result<()> {
    let confirmed = bus.0.engine.confirmed_last().await;
    if let Err(error) = confirmed {
        tracing::debug!(%error, "it cannot be confirmed which log this is");
        return Err(Error::behind());
    }
    Ok(())
}

/// Waits for a vid that is ahead of the tail. Ends without an error when it is visible, and when it
/// is beyond the confirmed end of the log.
async fn wait_for_cursor(bus: &Bus, vid: Vid) -> Result<()> {
    if bus.0.wait_for(vid, limits::AHEAD_WAIT).await {
        return Ok(());
    }
    // Neither a gateway that ends nor one that is behind knows where the log ends.
    bus.0.check_admitting()?;

    // A gateway that lags would otherwise move a good cursor back.
    match bus.0.engine.confirmed_last().await {
        Ok(last) if last < vid || bus.0.tail() >= vid => Ok(()),
        Ok(_) => Err(Error::behind()),
        Err(error) => {
            tracing::warn!(%error, "the end of the log cannot be confirmed");
            Err(Error::behind())
        }
    }
}

/// Cursors of an earlier epoch are good up to where it ended; one without an epoch is taken to be
/// of this one.
fn is_of_this_log(log: &LogView, cursor: &Cursor) -> bool {
    let Some(epoch) = &cursor.epoch else {
        return true;
    };
    let good_through = log.lineage.good_through(epoch);
    good_through.is_some_and(|good_through| cursor.vid <= good_through)
}
