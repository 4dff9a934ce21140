//! Are the servers of NATS fit to keep a log?
//!
//! Invariant: a server that lacks what gateways rely on is refused at start, and not met by a
//! publisher.

use async_nats::Client;

use super::super::connection::Connects;
use crate::engine::OpenError;
use crate::limits;

/// The oldest version whose atomic batches know ids.
const OLDEST: (i64, i64, i64) = (2, 12, 1);
/// From this version on, syncing each write costs about half of the rate instead of nearly all.
const RECOMMENDED: (i64, i64, i64) = (2, 15, 0);

/// What the connected server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ServerReport {
    /// Its name and version.
    pub(in super::super) text: String,
    pub(in super::super) faults: Vec<String>,
    pub(in super::super) warnings: Vec<String>,
}

impl ServerReport {
    pub(in super::super) fn of(client: &Client, max_event_bytes: usize) -> Self {
        let info = client.server_info();
        let is_from = |(major, minor, patch)| client.is_server_compatible(major, minor, patch);
        let (version, payload) = (&info.version, info.max_payload);
        let mut report = ServerReport {
            text: format!("{} {version}", info.server_name),
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        if !is_from(OLDEST) {
            report.faults.push(format!(
                "the server {} is nats-server {version}; 2.12.1 or later is needed, for atomic \
                 batches with ids",
                info.server_name
            ));
        } else if !is_from(RECOMMENDED) {
            report.warnings.push(format!(
                "the server {} is nats-server {version}; from 2.15 on sync_interval: always costs \
                 far less",
                info.server_name
            ));
        }
        let needed = max_event_bytes + limits::NATS_MESSAGE_OVERHEAD_BYTES;
        if payload < needed {
            report.faults.push(format!(
                "max_payload of the server {} is {payload} bytes; events of {max_event_bytes} \
                 bytes (limits.max_event_bytes) need {needed}",
                info.server_name
            ));
        }
        report
    }

    /// # Errors
    /// The server is unfit.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(OpenError::new(self.faults.join("\n")))
    }
}

/// Looks again at each server that is connected to: any of them may be set up in another way.
pub(in super::super) async fn watch_servers(
    client: Client,
    mut connects: Connects,
    max_event_bytes: usize,
) {
    while connects.changed().await.is_ok() {
        for fault in ServerReport::of(&client, max_event_bytes).faults {
            tracing::error!("{fault}");
        }
    }
}
