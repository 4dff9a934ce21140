//! What every handler gets.

use std::sync::Arc;

use crate::bus::Bus;
use crate::config::{LegacyConfig, PagesConfig, RequestsConfig};
use crate::source::SourceState;

/// Shared by all requests; a clone is three pointers.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) bus: Bus,
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) sources: Arc<[Arc<SourceState>]>,
}

/// What of the transports can be configured.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) legacy: LegacyConfig,
    pub(crate) requests: RequestsConfig,
    pub(crate) pages: PagesConfig,
}
