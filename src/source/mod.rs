//! Event sources: where events come from besides the publish endpoints.
//!
//! A source pulls pieces of work from outside, publishes them, and only then acknowledges them.
//! Invariants:
//! - nothing is acknowledged before its event, or its dead letter, is durable;
//! - a piece that comes again because its acknowledgement was lost makes no second event;
//! - of several gateways on one log one pulls, and another one takes over when it is gone;
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
mod turn;
mod unacked;
mod work;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::Bus;
use crate::config::SourcesConfig;
use turn::Turn;
use unacked::UnackedIds;
use work::MakeSource;

pub(crate) use fingerprint::fingerprint;
pub(crate) use metrics::register_metrics;
pub(crate) use state::SourceStates;

use state::SourceState;

/// A source that is not running yet.
type PlannedSource = (Arc<SourceState>, MakeSource);

/// The sources of a gateway. The only place that knows all kinds of them.
pub(crate) struct Sources {
    planned: Vec<PlannedSource>,
    turn: Turn,
    states: SourceStates,
    handed_over: CancellationToken,
}

impl Sources {
    /// The configured sources; nothing is connected yet.
    pub(crate) fn plan(config: &SourcesConfig, bus: &Bus) -> Self {
        // A function is served by several job servers, each of which is a source.
        let gearman = config.gearman.iter();
        let gearman = gearman.flat_map(|source| gearman::plan(source, bus.options()));
        let postgres = config.postgres.iter();
        let postgres = postgres.map(|source| postgres::plan(source, bus));
        let planned: Vec<PlannedSource> = gearman.chain(postgres).collect();

        // A gateway without sources wants no lease: it would pull nothing, and keep others from it.
        let lease = if planned.is_empty() {
            None
        } else {
            bus.source_lease()
        };
        let handed_over = CancellationToken::new();
        let states = planned.iter().map(|(state, _)| state.clone());
        Sources {
            states: SourceStates::new(states.collect(), lease.clone()),
            turn: Turn::new(bus.clone(), lease, handed_over.clone()),
            handed_over,
            planned,
        }
    }

    /// The states of all sources, to show.
    pub(crate) fn states(&self) -> SourceStates {
        self.states.clone()
    }

    /// Starts them; they end when the bus closes.
    pub(crate) fn start(self, bus: &Bus, tracker: &TaskTracker) -> RunningSources {
        // Without sources nothing has to be read from the log.
        if !self.planned.is_empty() {
            tracker.spawn(run_turns(self.planned, bus.clone(), self.turn));
        }
        RunningSources {
            is_shared: self.states.lease().is_some(),
            handed_over: self.handed_over,
        }
    }
}

/// Sources that have been started.
pub(crate) struct RunningSources {
    is_shared: bool,
    handed_over: CancellationToken,
}

impl RunningSources {
    /// Has another gateway pull from now on, where there may be another one. Where there is none,
    /// sources go on until the bus closes.
    pub(crate) fn hand_over(&self) {
        if self.is_shared {
            self.handed_over.cancel();
        }
    }
}

/// Runs the sources whenever it is this gateway's turn.
async fn run_turns(planned: Vec<PlannedSource>, bus: Bus, turn: Turn) {
    while turn.begins().await {
        run_turn(&planned, &bus, &turn).await;
    }
    // Everything that was pulled has been acknowledged by now, or left to be given again.
    turn.release().await;
    for (state, _) in &planned {
        state.stopped();
    }
}

async fn run_turn(planned: &[PlannedSource], bus: &Bus, turn: &Turn) {
    // No source may pull before the ids that could come again are known. Those of an earlier turn
    // are not enough: another gateway may have pulled since.
    let unacked = tokio::select! {
        unacked = UnackedIds::recover(bus) => Arc::new(unacked),
        () = turn.over() => return,
    };
    let mut driven = JoinSet::new();
    for (state, make) in planned.iter().cloned() {
        driven.spawn(driver::drive(
            make,
            bus.clone(),
            turn.clone(),
            state,
            unacked.clone(),
        ));
    }
    driven.join_all().await;
}
