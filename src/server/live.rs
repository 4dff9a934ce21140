//! A new configuration for a gateway that runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::gateway::Gateway;
use crate::auth::AuthBackground;
use crate::bus::BusOptions;
use crate::config::{Config, DrainConfig};
use crate::engine::Retention;
use crate::tls::LiveTls;
use crate::transport::{Routes, Settings};

/// Replaces the configuration of a gateway that runs. A clone is for the same gateway.
#[derive(Clone)]
pub struct LiveConfig {
    routes: Routes,
    auth: AuthBackground,
    tls: Option<LiveTls>,
    drain: Arc<ArcSwap<DrainConfig>>,
    /// With what the gateway was started.
    started: Arc<Config>,
    /// What is in force now.
    current: Arc<ArcSwap<Config>>,
}

impl Gateway {
    /// What replaces this gateway's configuration.
    pub fn live_config(&self) -> LiveConfig {
        let started = Arc::new(self.config.clone());
        LiveConfig {
            routes: self.routes.clone(),
            auth: self.auth.clone(),
            tls: self.tls.clone(),
            drain: self.drain.clone(),
            current: Arc::new(ArcSwap::new(started.clone())),
            started,
        }
    }
}

impl LiveConfig {
    /// Settings in which a configuration differs from the one in force, and which need no restart.
    pub fn changes(&self, config: &Config) -> Vec<&'static str> {
        names_of(following(&self.current.load(), config))
    }

    /// Has requests and connections from now on follow another configuration; what runs goes on as
    /// it began. Gives the settings in which it differs from what the gateway was started with, and
    /// which need a restart.
    pub fn replace(&self, config: &Config) -> Vec<&'static str> {
        // What can follow does so at once, whatever else differs.
        self.routes.replace(Settings::of(config, &self.auth));
        if let Some((live, tls)) = self.tls.as_ref().zip(config.tls.as_ref()) {
            live.replace(tls.server.clone());
        }
        self.drain.store(Arc::new(config.drain));
        self.current.store(Arc::new(config.clone()));
        needing_restart(&self.started, config)
    }
}

/// Which settings differ that only a restart changes. A new field of [`Config`] does not compile
/// until it has its line here.
fn needing_restart(started: &Config, config: &Config) -> Vec<&'static str> {
    let Config {
        // For requests and connections from now on.
        drain: _,
        log: _,
        legacy: _,
        requests: _,
        cloud_events: _,
        origins: _,
        proxy: _,
        pages: _,
        max_connections: _,
        max_connections_per_address: _,
        quotas: _,
        write_timeout: _,
        keep_alive_timeout: _,
        auth: _,
        insecure: _, // it says where to listen, and is checked with that
        // With a restart.
        listen,
        unix_mode,
        listen_plain,
        tls, // or no encryption; the certificates follow
        engine,
        bus,
        memory_budget,
        sources,
        tracing,
    } = started;

    // Named as in the configuration file.
    let bus_differs = bus_differences(bus, &config.bus);
    let differs = [
        ("listen", *listen != config.listen),
        ("unix_mode", *unix_mode != config.unix_mode),
        ("listen_plain", *listen_plain != config.listen_plain),
        ("tls", tls.is_some() != config.tls.is_some()),
        ("engine, data_dir, jetstream", *engine != config.engine),
        (
            "limits.memory_budget",
            *memory_budget != config.memory_budget,
        ),
        ("source", *sources != config.sources),
        ("tracing", *tracing != config.tracing),
    ];
    names_of(differs.into_iter().chain(bus_differs))
}

/// The same for the bus.
fn bus_differences(started: &BusOptions, config: &BusOptions) -> [(&'static str, bool); 7] {
    let BusOptions {
        heartbeat,
        max_subscribers,
        max_event_bytes,
        retention,
    } = started;
    let Retention {
        max_age,
        max_events,
        max_bytes,
        dedupe_window,
    } = retention;
    // In the order of the configuration's sections.
    let new = &config.retention;
    [
        ("bus.heartbeat", *heartbeat != config.heartbeat),
        (
            "limits.max_subscribers",
            *max_subscribers != config.max_subscribers,
        ),
        (
            "limits.max_event_bytes",
            *max_event_bytes != config.max_event_bytes,
        ),
        ("retention.max_age", *max_age != new.max_age),
        ("retention.max_events", *max_events != new.max_events),
        ("retention.max_bytes", *max_bytes != new.max_bytes),
        (
            "retention.dedupe_window",
            *dedupe_window != new.dedupe_window,
        ),
    ]
}

/// Settings that need no restart, and whether they differ.
fn following(old: &Config, new: &Config) -> impl Iterator<Item = (&'static str, bool)> {
    let differs = [
        ("drain", old.drain != new.drain),
        ("log", old.log != new.log),
        ("legacy", old.legacy != new.legacy),
        ("requests", old.requests != new.requests),
        ("cloudevents", old.cloud_events != new.cloud_events),
        ("origins", old.origins != new.origins),
        ("proxy", old.proxy != new.proxy),
        ("pages", old.pages != new.pages),
        (
            "limits.max_connections",
            old.max_connections != new.max_connections,
        ),
        (
            "limits.max_connections_per_address",
            old.max_connections_per_address != new.max_connections_per_address,
        ),
        ("limits of each client", old.quotas != new.quotas),
        (
            "limits.write_timeout",
            old.write_timeout != new.write_timeout,
        ),
        (
            "limits.keep_alive_timeout",
            old.keep_alive_timeout != new.keep_alive_timeout,
        ),
        // Keys are not compared, so that they stay in one place.
        (
            "auth (read again)",
            old.auth.is_some() || new.auth.is_some(),
        ),
        ("tls (read again)", old.tls.is_some() && new.tls.is_some()),
    ];
    differs.into_iter()
}

fn names_of(settings: impl Iterator<Item = (&'static str, bool)>) -> Vec<&'static str> {
    let differing = settings.filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}
