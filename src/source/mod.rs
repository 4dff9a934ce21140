//! Event sources: where events come from besides the publish endpoints.
//!
//! A source pulls pieces of work from outside, publishes them, and only then acknowledges them.
//! Invariants:
//! - nothing is acknowledged before its event, or its dead letter, is durable;
//! - a piece that comes again because its acknowledgement was lost makes no second event;
//! - a source that is down, slow or broken stops neither the gateway nor another source.

mod backoff;
mod driver;
mod fingerprint;
mod gearman;
mod log;
mod metrics;
pub(crate) mod postgres;
mod publishing;
mod recovery;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod unacked;
mod work;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::bus::Bus;
use crate::config::SourcesConfig;
use unacked::UnackedIds;
use work::MakeSource;

pub(crate) use metrics::register_metrics;
pub(crate) use state::SourceState;

/// A source that is not running yet.
type PlannedSource = (Arc<SourceState>, MakeSource);

/// The sources of a gateway. The only place that knows all kinds of them.
pub(crate) struct Sources {
    planned: Vec<PlannedSource>,
}

impl Sources {
    /// The configured sources; nothing is connected yet.
    pub(crate) fn plan(config: &SourcesConfig, bus: &Bus) -> Self {
        // A function is served by several job servers, each of which is a source.
        let gearman = config.gearman.iter();
        let gearman = gearman.flat_map(|source| gearman::plan(source, bus.options()));
        let postgres = config.postgres.iter();
        let postgres = postgres.map(|source| postgres::plan(source, bus));
        Sources {
            planned: gearman.chain(postgres).collect(),
        }
    }

    /// The states of all sources, to show.
    pub(crate) fn states(&self) -> Arc<[Arc<SourceState>]> {
        let states = self.planned.iter().map(|(state, _)| state.clone());
        states.collect()
    }

    /// Starts them; they end when the bus closes.
    pub(crate) fn start(self, bus: &Bus, tracker: &TaskTracker) {
        // Without sources nothing has to be read from the log.
        if !self.planned.is_empty() {
            tracker.spawn(drive_all(self.planned, bus.clone(), tracker.clone()));
        }
    }
}

async fn drive_all(planned: Vec<PlannedSource>, bus: Bus, tracker: TaskTracker) {
    // No source may pull before the ids that could come again are known.
    let unacked = Arc::new(UnackedIds::recover(&bus).await);
    for (state, make) in planned {
        tracker.spawn(driver::drive(make, bus.clone(), state, unacked.clone()));
    }
}
