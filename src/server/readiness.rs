//! gRPC health follows readiness, which `/readyz` shows at every moment.
//!
//! Invariant: both names of the gateway's health have the same status, until they have none: when
//! it has ended.

use tokio::time::{MissedTickBehavior, interval};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::bus::Bus;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::transport;

/// Looks again and again whether events can be published, until the bus closes.
pub(super) async fn follow(bus: Bus, health: HealthReporter) {
    // Asked for again and again: an engine reports no change of itself.
    let mut ticks = interval(limits::READINESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_ready = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = bus.closed() => break,
        }

        // Only a change is reported, so that those who watch are not woken for nothing.
        let ready = bus.ready();
        if was_ready != Some(ready.is_ok()) {
            log_change(&ready, was_ready);
            report(&health, ready.is_ok()).await;
            was_ready = Some(ready.is_ok());
        }
    }
}

/// Ends the streams of those who watch it: they would hold their connections.
pub(super) async fn end(health: &mut HealthReporter) {
    for service in transport::HEALTH_SERVICES {
        health.clear_service_status(service).await;
    }
}

/// Sets the status of all names.
pub(super) async fn report(health: &HealthReporter, is_ready: bool) {
    let status = serving_status(is_ready);
    // As a whole and by its service's name: clients ask for either.
    for service in transport::HEALTH_SERVICES {
        health.set_service_status(service, status).await;
    }
}

fn serving_status(is_ready: bool) -> ServingStatus {
    if is_ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn log_change(ready: &Result<()>, was_ready: Option<bool>) {
    match ready {
        Ok(()) if was_ready.is_some() => tracing::info!("ready again: events can be published"),
        Ok(()) => {}
        // The end says so itself.
        Err(error) if error.kind() == ErrorKind::Closing => {}
        Err(error) => tracing::warn!(%error, "not ready: events cannot be published"),
    }
}
