//! The configuration: a TOML file, variables of the environment, and the flags of `vidette serve`.
//!
//! Invariants:
//! - a configuration is checked as a whole before anything starts, and all its errors are reported
//!   at once;
//! - paths in a file are relative to the folder that it is in, those of flags to the current one;
//! - each setting has its default here, and its unit in its name or in its text.

mod auth;
mod bus;
mod cloud_events;
mod drain;
mod engine;
mod environment;
mod errors;
mod example;
mod gearman;
mod jetstream;
mod legacy;
mod limits;
mod listen;
mod log;
mod origins;
mod pages;
mod places;
mod postgres;
mod proxy;
mod quotas;
mod record;
mod requests;
mod section;
mod show;
mod sources;
mod table_name;
mod template;
#[cfg(test)]
mod tests;
mod tls;
mod tracing;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::bus::BusOptions;
use crate::engine::{EngineKind, LogRequirements};
use crate::limits as bounds;
use crate::quota::QuotaRules;
use errors::ErrorCollector;
use limits::ServerLimits;
use places::SettingPlaces;
use record::SettingRecord;
use section::Section;

pub use auth::{ApiKeyConfig, AuthConfig, CertificateConfig, JwtConfig, RevokedFile};
pub(crate) use auth::{Digest, JwtKeys, VerificationKey, is_trustworthy, rsa_key};
pub use cloud_events::CloudEventsConfig;
pub use drain::DrainConfig;
pub use environment::{SettingVariable, setting_variables};
pub use errors::ConfigErrors;
pub use example::EXAMPLE;
pub use gearman::GearmanConfig;
pub use jetstream::JetStreamOverrides;
pub use legacy::LegacyConfig;
pub use listen::ListenAddress;
pub use log::LogConfig;
pub(crate) use origins::{Authority, is_own_page};
pub use origins::{HostName, Hosts, Origin, OriginsConfig};
pub use pages::PagesConfig;
pub use postgres::{DEFAULT_OUTBOX, PostgresConfig};
pub use proxy::{ProxyConfig, TrustedProxies};
pub use record::{ReadSetting, SettingList};
#[cfg(test)]
pub(crate) use requests::OWN_PARAMETERS;
pub use requests::RequestsConfig;
pub use sources::SourcesConfig;
pub use table_name::TableName;
pub(crate) use table_name::{is_name, quote_name};
pub use template::TopicTemplate;
pub use tls::TlsConfig;
pub use tracing::TracingConfig;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<ListenAddress>,
    /// Addresses without encryption, whatever `tls` is.
    pub listen_plain: Vec<ListenAddress>,
    /// Permissions of its Unix sockets; none: the system's default.
    pub unix_mode: Option<u32>,
    /// Encryption of what comes to `listen`.
    pub tls: Option<TlsConfig>,
    /// Which engine keeps the log.
    pub engine: EngineKind,
    /// The bus.
    pub bus: BusOptions,
    /// Connections open at once.
    pub max_connections: usize,
    /// Those of one address; none: any number.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// What each client may use.
    pub quotas: QuotaRules,
    /// Bytes that publishers and readers may make the gateway hold in memory.
    pub memory_budget: u64,
    /// A connection that accepts no byte for this long is closed.
    pub write_timeout: Duration,
    /// A connection without any request is closed after this long.
    pub keep_alive_timeout: Duration,
    /// How the gateway ends.
    pub drain: DrainConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Where spans of publishing are sent.
    pub tracing: TracingConfig,
    /// The legacy page.
    pub legacy: LegacyConfig,
    /// What requests may carry.
    pub requests: RequestsConfig,
    /// What becomes of CloudEvents.
    pub cloud_events: CloudEventsConfig,
    /// Web pages of other origins.
    pub origins: OriginsConfig,
    /// The proxies before the gateway.
    pub proxy: ProxyConfig,
    /// Pages that the gateway serves.
    pub pages: PagesConfig,
    /// Where events come from besides the publish endpoints.
    pub sources: SourcesConfig,
    /// Who may do what; without it everybody may do everything.
    pub auth: Option<AuthConfig>,
    /// Everybody may do everything also where other machines can reach the gateway.
    pub insecure: bool,
}

/// What the command line and the environment say; it takes precedence over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Addresses to listen on, as they were given.
    pub listen: Vec<String>,
    /// `sqlite`, `memory` or `jetstream`.
    pub engine: Option<String>,
    /// The data folder.
    pub data_dir: Option<PathBuf>,
    /// The stream that is the log of several gateways.
    pub jetstream: JetStreamOverrides,
    /// A folder of the user's own files.
    pub pages_dir: Option<PathBuf>,
    /// Where spans of publishing are sent.
    pub otlp_endpoint: Option<String>,
    /// Everybody may do everything also where other machines can reach the gateway.
    pub insecure: bool,
    /// Settings of sections, from the environment.
    pub settings: Vec<SettingVariable>,
    /// Flags that are not given, and the variables that stand for them.
    pub variables: Vec<(&'static str, &'static str)>,
}

impl Overrides {
    /// What stands for a flag: a variable, or itself.
    fn name_of(&self, flag: &'static str) -> &'static str {
        let mut variables = self.variables.iter();
        let variable = variables.find(|(named, _)| *named == flag);
        variable.map_or(flag, |(_, variable)| variable)
    }
}

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

impl Config {
    /// Reads a file, if there is one, and applies the command line to it.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigErrors> {
        Self::load_with_list(file, overrides).map(|(config, _)| config)
    }

    /// The same, with all settings as they were read.
    ///
    /// # Errors
    /// All errors of the configuration.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who reads a configuration has made the overrides for it"
    )]
    pub fn load_with_list(
        file: Option<&Path>,
        overrides: Overrides,
    ) -> Result<(Self, SettingList), ConfigErrors> {
        // Without a file every setting has its default.
        let text = file.map(read_file).transpose()?.unwrap_or_default();
        let (config, list) = Self::parse_file(&text, file, &overrides);
        Ok((config?, list))
    }

    /// The same for a text.
    ///
    /// # Errors
    /// All errors of the configuration.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who reads a configuration has made the overrides for it"
    )]
    pub fn parse(text: &str, overrides: Overrides) -> Result<Self, ConfigErrors> {
        Self::parse_file(text, None, &overrides).0
    }

    fn parse_file(
        text: &str,
        file: Option<&Path>,
        overrides: &Overrides,
    ) -> (Result<Self, ConfigErrors>, SettingList) {
        let places = SettingPlaces::of(text, file);
        let mut table = match parse_toml(text, &places) {
            Ok(table) => table,
            Err(errors) => return (Err(errors), SettingList::default()),
        };

        // Nothing here stops at an error: rules between settings are checked on defaults, too.
        let (errors, record) = (ErrorCollector::new(places), SettingRecord::default());
        environment::apply(&overrides.settings, &mut table, &errors);
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let mut root = Section::root(table, errors.clone(), record.clone(), folder);
        let config = Self::read(&mut root, overrides);
        root.finish();
        config.check(&errors);
        let list = record.into_list(|setting| errors.place_of(setting));
        (errors.into_result(config), list)
    }

    fn read(root: &mut Section, overrides: &Overrides) -> Self {
        // Sources come first: they decide for how long ids are remembered by default.
        let limits = ServerLimits::read(root.section("limits"));
        let sources = sources::sources(root.section("source"));
        Config {
            listen: listen::addresses(
                root,
                "listen",
                &[DEFAULT_LISTEN],
                listen::Flag::of(overrides),
            ),
            unix_mode: listen::unix_mode(root),
            listen_plain: listen::addresses(root, "listen_plain", &[], listen::Flag::NONE),
            tls: tls::tls(root),
            engine: engine::engine(root, overrides),
            bus: bus::bus(root, &sources),
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            quotas: quotas::quotas(root.section("limits")),
            memory_budget: limits.memory_budget,
            write_timeout: limits.write_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            drain: DrainConfig::read(root.section("drain")),
            log: LogConfig::read(root.section("log")),
            tracing: TracingConfig::read(root.section("tracing"), overrides),
            legacy: legacy::legacy(root.section("legacy")),
            requests: requests::requests(root.section("requests")),
            cloud_events: CloudEventsConfig::read(root.section("cloudevents")),
            origins: origins::origins(root.section("origins")),
            proxy: proxy::proxy(root.section("proxy")),
            pages: pages::pages(root.section("pages"), overrides),
            sources,
            auth: auth::auth(root),
            insecure: overrides.insecure,
        }
    }

    /// What the log has to keep.
    pub fn log_requirements(&self) -> LogRequirements {
        LogRequirements {
            retention: self.bus.retention,
            max_event_bytes: self.bus.max_event_bytes,
        }
    }

    /// Rules between settings.
    fn check(&self, errors: &ErrorCollector) {
        // Each of them concerns settings of more than one section.
        self.check_who_may(errors);
        bus::check(&self.bus, errors);
        if let EngineKind::JetStream(_) = self.engine {
            bus::check_for_stream(&self.bus, errors);
        }
        for source in &self.sources.gearman {
            source.check_memory(self.bus.max_event_bytes, errors);
        }
    }
}

impl Config {
    /// Where other machines can reach the gateway, somebody has to have said who may do what.
    fn check_who_may(&self, errors: &ErrorCollector) {
        let is_said = self.auth.is_some() || self.insecure;
        for (setting, address) in self.reachable() {
            errors.require(setting, is_said, open_to_all(setting, address));
        }
    }

    /// Addresses where other machines can reach the gateway, with their settings.
    fn reachable(&self) -> impl Iterator<Item = (&'static str, &ListenAddress)> {
        let listen = self.listen.iter().map(|address| ("listen", address));
        let plain = self.listen_plain.iter();
        let all = listen.chain(plain.map(|address| ("listen_plain", address)));
        all.filter(|(_, address)| !address.is_local())
    }

    /// Is anybody let do everything who can reach the gateway from another machine?
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.auth.is_none() && self.reachable().next().is_some()
    }
}

fn open_to_all(setting: &str, address: &ListenAddress) -> String {
    format!(
        "{setting}: other machines can reach {address}, and without a section [auth] everybody \
         may read and publish everything there. Say in [auth] who may what (an empty one gives \
         nobody anything), listen on a loopback address, or give --insecure"
    )
}

fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigErrors::one(format!("{}: {error}", path.display())))
}

/// The settings of a text; else all that keeps it from being TOML. The text itself is not shown, as
/// it may have a password in it.
fn parse_toml(text: &str, places: &SettingPlaces) -> Result<toml::Table, ConfigErrors> {
    text.parse::<toml::Table>().map_err(|first| {
        let (_, all) = DeTable::parse_recoverable(text);
        let errors = if all.is_empty() { vec![first] } else { all };
        let errors = errors.into_iter().take(bounds::MAX_TOML_ERRORS);
        ConfigErrors::of(errors.map(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let place = places.of_byte(text, start);
            format!("{place}not TOML: {}", error.message())
        }))
    })
}
