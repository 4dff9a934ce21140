//! What every handler gets, and what of it a running gateway can be given anew.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;

use super::admin::AdminWatch;
use super::redirect::Redirect;
use crate::auth::{AuthBackground, Authenticator};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::config::{
    CloudEventsConfig, Config, LegacyConfig, OriginsConfig, PagesConfig, ProxyConfig,
    RequestsConfig,
};
use crate::limits;
use crate::metrics::OpenConnections;
use crate::quota::QuotaRules;
use crate::source::SourceStates;
use crate::traces::Traces;

/// Shared by all requests; a clone is a few pointers.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) bus: Bus,
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) sources: SourceStates,
    pub(crate) connections: OpenConnections,
    pub(crate) admin: AdminWatch,
    pub(crate) traces: Traces,
}

/// What can be replaced while the gateway runs. A request is answered by one value of this, and so
/// is a connection that is accepted; those of before go on with theirs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) connections: ConnectionLimits,
}

impl Settings {
    pub(crate) fn of(config: &Config, background: &AuthBackground) -> Self {
        Settings {
            transport: Arc::new(TransportConfig::of(config, background)),
            connections: ConnectionLimits {
                max_connections: config.max_connections,
                max_per_address: config.max_connections_per_address,
                proxy: Arc::new(config.proxy.clone()),
                write_timeout: config.write_timeout,
                keep_alive: KeepAlive::new(config.keep_alive_timeout),
            },
        }
    }
}

/// What of the transports can be configured.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) legacy: LegacyConfig,
    pub(crate) requests: RequestsConfig,
    pub(crate) cloud_events: CloudEventsConfig,
    pub(crate) origins: OriginsConfig,
    pub(crate) pages: PagesConfig,
    pub(super) redirect: Option<Redirect>,
    pub(crate) quotas: QuotaRules,
    /// Somebody who has not said who it is.
    pub(crate) anonymous: Caller,
    /// Who knows the others; none where nobody has to say who it is.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
}

impl TransportConfig {
    pub(crate) fn of(config: &Config, background: &AuthBackground) -> Self {
        let auth = config.auth.as_ref();
        let authenticator = auth.map(|auth| Arc::new(Authenticator::new(auth, background)));
        let anonymous = authenticator.as_ref().map(|known| known.anonymous());
        TransportConfig {
            legacy: config.legacy.clone(),
            requests: config.requests.clone(),
            cloud_events: config.cloud_events.clone(),
            origins: config.origins.clone(),
            pages: config.pages.clone(),
            redirect: Redirect::of(config.tls.as_ref()),
            quotas: config.quotas,
            anonymous: anonymous.map_or_else(Caller::anonymous, |caller| (**caller).clone()),
            authenticator,
        }
    }
}

/// Bounds of connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// Connections open at once.
    pub(crate) max_connections: usize,
    /// Those of one address; none: any number.
    pub(crate) max_per_address: Option<NonZeroUsize>,
    /// Proxies that are believed, and whom that limit does not bind.
    pub(crate) proxy: Arc<ProxyConfig>,
    /// A connection that takes no byte for this long is cut.
    pub(crate) write_timeout: Duration,
    pub(crate) keep_alive: KeepAlive,
}

/// How long a connection is kept that nothing happens on.
#[derive(Debug, Clone)]
pub(crate) struct KeepAlive {
    pub(crate) timeout: Duration,
    /// What is announced to clients, as the value of `Keep-Alive`.
    pub(crate) hint: HeaderValue,
}

impl KeepAlive {
    fn new(timeout: Duration) -> Self {
        // Kept a little longer than announced.
        let hint = format!("timeout={}", timeout.as_secs());
        KeepAlive {
            timeout: timeout + limits::KEEP_ALIVE_SLACK,
            hint: HeaderValue::try_from(hint).expect("digits"),
        }
    }
}
