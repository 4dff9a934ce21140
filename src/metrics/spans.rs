//! What becomes of the spans that are made of publishing.

use std::sync::Arc;

use super::exposition::Shown;
use super::shards::Count;

/// What becomes of spans. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Spans(Arc<SpanCounts>);

#[derive(Debug, Default)]
struct SpanCounts {
    exported: Count,
    queue_full: Count,
    unreachable: Count,
    rejected: Count,
}

impl Spans {
    /// A collector has taken them.
    pub(crate) fn count_exported(&self, spans: u64) {
        self.0.exported.add(spans);
    }

    /// They do not fit into the queue.
    pub(crate) fn count_queue_full(&self, spans: u64) {
        self.0.queue_full.add(spans);
    }

    /// The collector could not be reached, or has refused them together.
    pub(crate) fn count_unreachable(&self, spans: u64) {
        self.0.unreachable.add(spans);
    }

    /// The collector has refused these, and taken the others.
    pub(crate) fn count_rejected(&self, spans: u64) {
        self.0.rejected.add(spans);
    }

    #[cfg(test)]
    pub(crate) fn dropped(&self) -> u64 {
        let SpanCounts {
            queue_full,
            unreachable,
            rejected,
            ..
        } = &*self.0;
        queue_full.get() + unreachable.get() + rejected.get()
    }

    pub(super) fn shown(&self) -> [Shown; 2] {
        let dropped = [
            ("queue_full", &self.0.queue_full),
            ("unreachable", &self.0.unreachable),
            ("rejected", &self.0.rejected),
        ];
        let dropped = dropped.map(|(reason, count)| ([("reason", reason)], count.get()));
        [
            Shown::counter("spans_exported", EXPORTED_HELP, self.0.exported.get()),
            Shown::counters("spans_dropped", DROPPED_HELP, dropped),
        ]
    }
}

const EXPORTED_HELP: &str = "Spans of publishing that a collector has taken";
const DROPPED_HELP: &str = "Spans of publishing that no collector has, by reason";
