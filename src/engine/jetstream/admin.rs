//! What an operator does with a stream that no gateway has to be running for.
//!
//! Invariants:
//! - looking at a stream changes nothing;
//! - a new epoch is given only where it is asked for.

use super::api::Api;
use super::monitor::{MonitoredServer, sync_settings};
use super::stream_config::{Fitness, ServerReport};
use super::watch::StreamView;
use super::{JetStreamOptions, connection, epoch};
use crate::cursor::Epoch;
use crate::engine::{LogRequirements, OpenError};
use crate::limits;

/// What was found of a stream and its servers, for a person to read.
#[derive(Debug)]
pub(crate) struct StreamReport {
    /// Name and version of the server that was asked.
    pub(crate) server: String,
    /// The epoch, and the oldest and newest vid.
    pub(crate) log: String,
    /// Who keeps it.
    pub(crate) replicas: Vec<String>,
    /// Each keeps the stream from being a log.
    pub(crate) faults: Vec<String>,
    /// Each is worth knowing.
    pub(crate) warnings: Vec<String>,
    /// For each monitor, whether its server syncs each write.
    pub(crate) sync: Vec<String>,
}

/// Looks at a stream.
///
/// # Errors
/// It cannot be reached, or is not there.
pub(crate) async fn inspect(
    options: &JetStreamOptions,
    required: &LogRequirements,
) -> Result<StreamReport, OpenError> {
    let (client, _) = connection::connect(options).await?;
    let api = Api::new(client, &options.stream);
    let asked = api.stream_info(limits::NATS_OPEN_WAIT).await;
    let info = asked.map_err(|error| super::stream_config::cannot_open(&api, &error))?;
    let server = ServerReport::of(api.client(), required.max_event_bytes);
    let fitness = Fitness::of(&info.config, required);
    let monitored = sync_settings(&options.monitors).await;
    let view = StreamView::of(&info);

    let mut faults = server.faults;
    faults.extend(fitness.faults);
    let mut warnings = server.warnings;
    warnings.extend(fitness.warnings);
    if !view.is_confirmed {
        faults.push("no leader is in touch with a majority of the servers now".to_owned());
    }
    let replicas = info.cluster.iter().flat_map(|cluster| {
        let leader = cluster.leader.iter().map(|name| format!("{name} (leader)"));
        let others = cluster.replicas.iter().map(|peer| {
            let state = if peer.current { "current" } else { "behind" };
            format!("{} ({state}, heard of {:?} ago)", peer.name, peer.active)
        });
        leader.chain(others)
    });
    Ok(StreamReport {
        server: server.text,
        log: format!(
            "epoch {}, vids {} to {}, {} events",
            view.epoch, view.bounds.first, view.bounds.last, view.sizes.events
        ),
        replicas: replicas.collect(),
        faults,
        warnings,
        sync: monitored.iter().map(text_of).collect(),
    })
}

fn text_of(server: &MonitoredServer) -> String {
    format!("{}: {}", server.url, server.sync)
}

/// The epoch that a stream had, and the one that it has from now on.
#[derive(Debug)]
pub(crate) struct RenewedEpoch {
    pub(crate) before: Epoch,
    pub(crate) now: Epoch,
}

/// Begins another epoch of a stream.
///
/// # Errors
/// The servers cannot be reached, or do not allow it.
pub(crate) async fn renew_epoch(options: &JetStreamOptions) -> Result<RenewedEpoch, OpenError> {
    let (client, _) = connection::connect(options).await?;
    let api = Api::new(client, &options.stream);
    let before = epoch_of(&api).await?;
    let renewed = epoch::renew(&api).await;
    renewed.map_err(|error| OpenError::new(format!("no other epoch was given: {error}")))?;
    let now = epoch_of(&api).await?;
    Ok(RenewedEpoch { before, now })
}

async fn epoch_of(api: &Api) -> Result<Epoch, OpenError> {
    let asked = api.stream_info(limits::NATS_OPEN_WAIT).await;
    let info = asked.map_err(|error| super::stream_config::cannot_open(api, &error))?;
    Ok(epoch::of(&info))
}
