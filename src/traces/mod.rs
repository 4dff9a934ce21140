//! Spans of publishing, for a tracing system, by OTLP over gRPC.
//!
//! Invariants:
//! - without a collector in the configuration nothing is made, kept or looked at a clock for;
//! - publishing never waits for a collector: spans go into a bounded queue, and what does not fit
//!   is dropped and counted;
//! - no span has data of events, a topic or a credential in it.

mod context;
mod export;
mod otlp;
mod span;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::TracingConfig;
use crate::limits;
use crate::metrics::Spans;
pub(crate) use context::TraceContext;
use export::Collector;
pub(crate) use export::TraceExport;
pub(crate) use span::PublishSpan;
use span::PublishTrace;

/// What makes spans; nothing where they are switched off. A clone is a pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces(Option<Arc<Active>>);

#[derive(Debug)]
struct Active {
    queue: mpsc::Sender<PublishTrace>,
    sample_ratio: f64,
    /// Which engine keeps the log.
    engine: &'static str,
    counts: Spans,
}

impl Traces {
    /// Starts to send spans where the configuration names a collector. Ends with the second value.
    pub(crate) fn start(
        config: &TracingConfig,
        engine: &'static str,
        counts: Spans,
    ) -> (Self, Option<TraceExport>) {
        let Some(endpoint) = &config.otlp_endpoint else {
            return (Traces::default(), None);
        };
        let Some(collector) = Collector::at(endpoint) else {
            tracing::error!("tracing.otlp_endpoint cannot be used; no spans are sent");
            return (Traces::default(), None);
        };
        tracing::info!(endpoint, "spans of publishing are sent to this collector");
        let (queue, queued) = mpsc::channel(limits::TRACES_QUEUED);
        let active = Active {
            queue,
            sample_ratio: config.sample_ratio,
            engine,
            counts: counts.clone(),
        };
        let export = TraceExport::start(collector, queued, counts);
        (Traces(Some(Arc::new(active))), Some(export))
    }

    pub(crate) fn are_off(&self) -> bool {
        self.0.is_none()
    }

    /// Begins the span of a request that publishes by this transport.
    pub(crate) fn begin(
        &self,
        parent: Option<TraceContext>,
        transport: &'static str,
    ) -> PublishSpan {
        match &self.0 {
            Some(active) if active.records(parent) => {
                PublishSpan::begin(active.clone(), parent, transport)
            }
            _ => PublishSpan::default(),
        }
    }
}

impl Active {
    /// The caller decides for its own trace; of all others a part is recorded.
    fn records(&self, parent: Option<TraceContext>) -> bool {
        match parent {
            Some(parent) => parent.is_sampled,
            None => fastrand::f64() < self.sample_ratio,
        }
    }

    fn send(&self, trace: PublishTrace) {
        // Full, or closed because the gateway ends.
        if let Err(unsent) = self.queue.try_send(trace) {
            let spans = otlp::spans_of(&unsent.into_inner());
            self.counts.count_queue_full(spans);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

    fn with_place_for(traces: usize, sample_ratio: f64) -> (Traces, mpsc::Receiver<PublishTrace>) {
        let (queue, queued) = mpsc::channel(traces);
        let active = Active {
            queue,
            sample_ratio,
            engine: "memory",
            counts: Spans::default(),
        };
        (Traces(Some(Arc::new(active))), queued)
    }

    fn parent(flag: &str) -> TraceContext {
        TraceContext::parse(&format!("{PARENT}{flag}")).expect("a trace")
    }

    #[test]
    fn a_caller_decides_for_its_own_trace_and_the_ratio_for_all_others() {
        let begun = |ratio: f64, parent: Option<TraceContext>| {
            let (traces, mut queued) = with_place_for(100, ratio);
            (0..100).for_each(|_| drop(traces.begin(parent, "http")));
            std::iter::from_fn(|| queued.try_recv().ok()).count()
        };
        assert_eq!(
            (begun(0.0, Some(parent("1"))), begun(1.0, Some(parent("0")))),
            (100, 0)
        );
        assert_eq!((begun(0.0, None), begun(1.0, None)), (0, 100));
        assert!((10..90).contains(&begun(0.5, None)));
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
        let (traces, queued) = with_place_for(2, 1.0);
        (0..5).for_each(|_| drop(traces.begin(None, "http")));
        let counts = &traces.0.as_ref().expect("they are on").counts;
        assert_eq!((counts.dropped(), queued.len()), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn spans_for_a_collector_that_is_away_are_dropped_and_counted() {
        let config = TracingConfig {
            otlp_endpoint: Some("http://127.0.0.1:1".to_owned()),
            sample_ratio: 1.0,
        };
        let counts = Spans::default();
        let (traces, export) = Traces::start(&config, "memory", counts.clone());
        drop(traces.begin(None, "http"));
        let seconds = limits::TRACES_RETRY_AFTER * (1 << limits::TRACES_TRIES);
        tokio::time::sleep(seconds).await;
        assert_eq!(counts.dropped(), 1);

        drop(traces.begin(None, "http"));
        export.expect("a task").end().await;
        assert_eq!(counts.dropped(), 2, "the last one as well");
    }
}
