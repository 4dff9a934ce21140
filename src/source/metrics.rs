//! Sources in `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state::{COUNTS, SourceCount, SourceState, SourceStates};

type SourceLabels = [(&'static str, String); 2];

const UP_HELP: &str = "1 while the source answers and its events can be stored";
const LEASE_HELP: &str = "1 on the gateway that pulls from the sources, 0 on all others";
const LAG_HELP: &str = "Pieces of work that wait outside, where the source reports them";

/// Registers all sources, each with its name and kind as labels.
pub(crate) fn register_metrics(registry: &mut Registry, sources: &SourceStates) {
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

    // Where no other gateway uses the log there is no lease.
    if let Some(lease) = sources.lease() {
        let gauge = Gauge::<i64>::default();
        gauge.set(lease.is_held().into());
        registry.register("source_lease", LEASE_HELP, gauge);
    }
}

fn labels(source: &SourceState) -> SourceLabels {
    let (name, kind) = (source.name().to_owned(), source.kind().to_owned());
    [("source", name), ("kind", kind)]
}

fn count_family(count: &SourceCount, sources: &SourceStates) -> Family<SourceLabels, Counter> {
    let family = Family::<SourceLabels, Counter>::default();
    for source in sources.iter() {
        let counter = family.get_or_create(&labels(source));
        counter.inc_by(count.of(source));
    }
    family
}

/// A gauge for each source that has a value.
fn gauge_family(
    sources: &SourceStates,
    value_of: impl Fn(&SourceState) -> Option<u64>,
) -> Family<SourceLabels, Gauge> {
    let family = Family::<SourceLabels, Gauge>::default();
    for source in sources.iter() {
        if let Some(value) = value_of(source) {
            let gauge = family.get_or_create(&labels(source));
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    family
}
