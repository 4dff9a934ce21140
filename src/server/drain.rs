//! How a gateway ends: readiness first, then stream by stream, then the rest (contract §2.6).
//!
//! Invariants:
//! - nobody is ended before readiness is red, and nobody waits longer than `[drain]` says and the
//!   bounds in [`limits`] beyond it;
//! - publishers are served until all streams have had their turn, because those that still read are
//!   live;
//! - whoever asks meanwhile is answered.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;

use super::readiness;
use crate::bus::Bus;
use crate::config::DrainConfig;
use crate::limits;

/// What ends with a gateway.
pub(super) struct Drain {
    pub(super) bus: Bus,
    pub(super) health: HealthReporter,
    /// Has connections end once they have nothing more to answer.
    pub(super) draining: CancellationToken,
    pub(super) config: DrainConfig,
}

impl Drain {
    /// Ends all streams, in time or as soon as `hurry` is ready. Gives how long connections may
    /// take to end after that.
    pub(super) async fn run(mut self, hurry: impl Future<Output = ()>) -> Duration {
        let rest = tokio::select! {
            () = self.end_in_time() => limits::DRAIN_REST,
            () = hurry => {
                tracing::info!(streams = self.bus.streams(), "asked again to end: ending at once");
                limits::DRAIN_REST_IF_HURRIED
            }
        };

        // Whatever was left out above.
        self.bus.close();
        self.draining.cancel();
        readiness::end(&mut self.health).await;
        rest
    }

    async fn end_in_time(&self) {
        let over = humantime::format_duration(self.config.over);
        let streams = self.bus.streams();
        tracing::info!(
            streams,
            %over,
            "shutting down: streams are being ended; a second signal ends them at once"
        );

        // First whoever looks at readiness, so that nobody else is sent here.
        self.bus.leave();
        readiness::report(&self.health, false).await;
        sleep(self.config.notice).await;

        // New connections are still accepted, and answered that the gateway is closing; those that
        // are open are told to bring no more requests, and go on with what they have.
        self.bus.begin_drain();
        self.draining.cancel();
        self.bus.end_streams(self.config.over).await;
    }
}

/// Waits until all that was there when the shutdown began has ended.
pub(super) async fn wait_for(connections: &TaskTracker, at_most: Duration) {
    connections.close();
    // The others are cut when the process ends.
    if timeout(at_most, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "some connections or sources did not end in time and are cut"
        );
    }
}

/// Answers whoever has come since the shutdown began.
pub(super) async fn answer_the_last(late: &TaskTracker) {
    // They came too late to be waited for as long, and most have asked for nothing.
    late.close();
    if timeout(limits::DRAIN_LATE, late.wait()).await.is_err() {
        tracing::debug!(
            connections = late.len(),
            "some connections asked for nothing"
        );
    }
}
