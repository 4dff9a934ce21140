//! When events leave the log, and the moments by which ages are measured.

use std::time::Duration;

/// When events leave the log: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Older events are trimmed.
    pub max_age: Duration,
    /// More events than this are trimmed, the oldest first.
    pub max_events: u64,
    /// More bytes than this are trimmed, the oldest events first.
    pub max_bytes: u64,
    /// Publishers' ids are remembered for this long.
    pub dedupe_window: Duration,
}

impl Retention {
    /// Events that came before this are too old; see [`Moment::counted_ms`].
    pub(super) fn oldest_event_ms(&self, counted_ms: i64) -> i64 {
        counted_ms.saturating_sub(millis(self.max_age))
    }

    /// Ids that came before this are forgotten.
    pub(super) fn oldest_id_ms(&self, counted_ms: i64) -> i64 {
        counted_ms.saturating_sub(millis(self.dedupe_window))
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A moment, by both clocks of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Milliseconds since 1970, as events show it. It may jump, and events never follow it back.
    pub time_ms: i64,
    /// Milliseconds on a clock that never jumps and only goes on while the log is open: ages are
    /// differences of this one.
    pub counted_ms: i64,
}

impl Moment {
    /// The later one, by each of the clocks.
    pub(crate) fn max(self, other: Moment) -> Moment {
        Moment {
            time_ms: self.time_ms.max(other.time_ms),
            counted_ms: self.counted_ms.max(other.counted_ms),
        }
    }
}

impl From<i64> for Moment {
    /// A moment at which both clocks say the same.
    fn from(ms: i64) -> Self {
        Moment {
            time_ms: ms,
            counted_ms: ms,
        }
    }
}

/// What one step of trimming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimStep {
    /// Events deleted.
    pub trimmed: u32,
    /// There is more to trim.
    pub more: bool,
}

impl TrimStep {
    /// A step that found nothing due.
    pub(crate) const NOTHING: TrimStep = TrimStep {
        trimmed: 0,
        more: false,
    };
}
