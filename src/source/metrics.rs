//! Sources in `/metrics`.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state::{COUNTS, SourceCount, SourceState};

type SourceLabels = [(&'static str, String); 2];

const UP_HELP: &str = "1 while the source answers and its events can be stored";
const LAG_HELP: &str = "Pieces of work that wait outside, where the source reports them";

/// Registers all sources, each with its name and kind as labels.
pub(crate) fn register_metrics(registry: &mut Registry, sources: &[Arc<SourceState>]) {
    // Families without a member would be listed all the same.
    if sources.is_empty() {
        return;
    }
    for count in &COUNTS {
        let family = count_family(count, sources);
        registry.register(format!("source_{}", count.name), count.help, family);
    }

    // What a source cannot report has no line, which is different from 0.
    let up = gauge_family(sources, |source| Some(source.is_up().into()));
    registry.register("source_up", UP_HELP, up);
    let lag = gauge_family(sources, SourceState::lag);
    registry.register("source_lag", LAG_HELP, lag);
}

fn labels(source: &SourceState) -> SourceLabels {
    let (name, kind) = (source.name().to_owned(), source.kind().to_owned());
    [("source", name), ("kind", kind)]
}

fn count_family(
    count: &SourceCount,
    sources: &[Arc<SourceState>],
) -> Family<SourceLabels, Counter> {
    let family = Family::<SourceLabels, Counter>::default();
    for source in sources {
        let counter = family.get_or_create(&labels(source));
        counter.inc_by(count.of(source));
    }
    family
}

/// A gauge for each source that has a value.
fn gauge_family(
    sources: &[Arc<SourceState>],
    value_of: impl Fn(&SourceState) -> Option<u64>,
) -> Family<SourceLabels, Gauge> {
    let family = Family::<SourceLabels, Gauge>::default();
    for source in sources {
        if let Some(value) = value_of(source) {
            let gauge = family.get_or_create(&labels(source));
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    family
}
