//! Sources in `/metrics`.

use prometheus_client::registry::Registry;

use super::state::{COUNTS, SourceState, SourceStates};
use crate::metrics::Shown;

const UP_HELP: &str = "1 while the source answers and its events can be stored";
const LEASE_HELP: &str = "1 on the gateway that pulls from the sources, 0 on all others";
const LAG_HELP: &str = "Pieces of work that wait outside, where the source reports them";

/// Registers all sources, each with its name and kind as labels.
pub(crate) fn register_metrics(registry: &mut Registry, sources: &SourceStates) {
    // Metrics without a value would be listed all the same.
    if sources.is_empty() {
        return;
    }
    for count in &COUNTS {
        let values = sources
            .iter()
            .map(|source| (labels(source), count.of(source)));
        let name = format!("source_{}", count.name);
        Shown::counters(name, count.help, values).register(registry);
    }

    // What a source cannot report has no line, which is different from 0.
    let up = sources
        .iter()
        .map(|source| (labels(source), source.is_up().into()));
    Shown::gauges("source_up", UP_HELP, up).register(registry);
    let lag = sources
        .iter()
        .filter_map(|source| Some((labels(source), source.lag()?)));
    Shown::gauges("source_lag", LAG_HELP, lag).register(registry);

    // Where no other gateway uses the log there is no lease.
    if let Some(lease) = sources.lease() {
        Shown::gauge("source_lease", LEASE_HELP, lease.is_held().into()).register(registry);
    }
}

fn labels(source: &SourceState) -> [(&'static str, String); 2] {
    let (name, kind) = (source.name().to_owned(), source.kind().to_owned());
    [("source", name), ("kind", kind)]
}
