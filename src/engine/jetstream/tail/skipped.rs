//! Messages that are no events: plain clients can store anything behind the prefix.
//!
//! Invariant: however many there are, the log of the gateway gets a line in a while.

use tokio::time::Instant;

use crate::cursor::Vid;
use crate::limits;

/// Those that have not been logged yet.
#[derive(Debug, Default)]
pub(super) struct SkippedLog {
    count: u64,
    logged_at: Option<Instant>,
}

impl SkippedLog {
    /// Counts some more, the last of them before or at this vid.
    pub(super) fn add(&mut self, count: u64, vid: Vid, now: Instant) {
        self.count += count;
        if let Some(messages) = self.due(now) {
            tracing::warn!(
                messages,
                vid,
                "the stream has messages that are no events, which no subscriber sees: their \
                 subject is no topic, or they are larger than an event may be"
            );
        }
    }

    fn due(&mut self, now: Instant) -> Option<u64> {
        let is_due = |logged_at| now >= logged_at + limits::NATS_SKIPPED_LOG_INTERVAL;
        if !self.logged_at.is_none_or(is_due) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_messages_are_one_line_a_minute() {
        let (mut skipped, start) = (SkippedLog::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..130 {
            skipped.count += 2;
            lines.extend(skipped.due(start + Duration::from_secs(second)));
        }
        assert_eq!(lines, [2, 120, 120]);
    }
}
