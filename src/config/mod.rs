//! What can be configured, by a TOML file and by the flags of `vidette serve`.
//!
//! Invariants:
//! - a configuration is checked as a whole before anything starts, and all its faults are reported
//!   at once;
//! - each setting has its default here and its unit in its name or its text.

mod faults;
mod legacy;
mod origins;
mod postgres;
mod requests;
mod sources;
mod template;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bus::BusOptions;
use crate::engine::{EngineKind, Retention};
use crate::limits;
use crate::memory::default_budget_bytes;
pub use faults::ConfigFaults;
use faults::Section;
pub use legacy::LegacyConfig;
pub(crate) use origins::{Authority, is_own_page};
pub use origins::{HostName, Hosts, Origin, OriginsConfig};
pub use postgres::{DEFAULT_OUTBOX, PostgresConfig, TableName};
pub(crate) use postgres::{is_name, quote_name};
pub use requests::RequestsConfig;
pub use sources::{GearmanConfig, SourcesConfig};
pub use template::TopicTemplate;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Which engine keeps the log.
    pub engine: EngineKind,
    /// The bus.
    pub bus: BusOptions,
    /// Connections open at once.
    pub max_connections: usize,
    /// What publishers and readers may make the gateway hold, in bytes.
    pub memory_budget: u64,
    /// A connection that accepts no byte for this long is cut.
    pub write_timeout: Duration,
    /// A connection that nothing happens on is kept for this long.
    pub keep_alive_timeout: Duration,
    /// The legacy page.
    pub legacy: LegacyConfig,
    /// What requests may carry.
    pub requests: RequestsConfig,
    /// Web pages of other origins.
    pub origins: OriginsConfig,
    /// Pages that the gateway serves.
    pub pages: PagesConfig,
    /// Where events come from beside the publish endpoints.
    pub sources: SourcesConfig,
}

/// Pages that the gateway serves.
#[derive(Debug, Clone)]
pub struct PagesConfig {
    /// A folder of the user's own files, served where nothing else is.
    pub dir: Option<PathBuf>,
    /// Where prototype.js lies, for the page of the comet age.
    pub prototype_js: PathBuf,
}

/// What the command line says; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// `sqlite` or `memory`.
    pub engine: Option<String>,
    /// The data folder.
    pub data_dir: Option<PathBuf>,
    /// A folder of the user's own files.
    pub pages_dir: Option<PathBuf>,
}

const MIB: u64 = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3600);

impl Config {
    /// Reads a file, if there is one, and puts the command line over it.
    ///
    /// # Errors
    /// Every fault that there is.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigFaults> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| ConfigFaults::one(format!("{}: {e}", path.display())))?,
            None => String::new(),
        };
        Self::parse(&text, overrides)
    }

    /// The same for a text.
    ///
    /// # Errors
    /// Every fault that there is.
    pub fn parse(text: &str, overrides: Overrides) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        let table = text
            .parse::<toml::Table>()
            .map_err(|e| ConfigFaults::one(e.to_string()))?;
        let mut root = Section::new("", table);
        let sources = sources::sources(root.section("source", &mut faults), &mut faults);
        let config = Config {
            listen: listen(&mut root, overrides.listen, &mut faults),
            engine: engine(&mut root, overrides.engine, overrides.data_dir, &mut faults),
            bus: bus(&mut root, dedupe_window(&sources), &mut faults),
            max_connections: max_connections(&mut root, &mut faults),
            memory_budget: memory_budget(&mut root, &mut faults),
            write_timeout: root.section("limits", &mut faults).duration(
                "write_timeout",
                Duration::from_secs(30),
                &mut faults,
            ),
            keep_alive_timeout: root.section("limits", &mut faults).duration(
                "keep_alive_timeout",
                limits::DEFAULT_KEEP_ALIVE,
                &mut faults,
            ),
            legacy: legacy::legacy(root.section("legacy", &mut faults), &mut faults),
            requests: requests::requests(root.section("requests", &mut faults), &mut faults),
            origins: origins::origins(root.section("origins", &mut faults), &mut faults),
            pages: pages(
                root.section("pages", &mut faults),
                overrides.pages_dir,
                &mut faults,
            ),
            sources,
        };
        root.finish(&mut faults);
        config.check(&mut faults);
        faults.into_result(config)
    }

    /// Rules between settings.
    fn check(&self, faults: &mut ConfigFaults) {
        let BusOptions {
            heartbeat,
            max_event_bytes,
            retention,
            ..
        } = &self.bus;
        if retention.max_age < *heartbeat * 3 {
            faults.push("retention.max_age has to be at least three times bus.heartbeat, or a connected subscriber could fall out of retention");
        }
        if heartbeat.is_zero() {
            faults.push("bus.heartbeat cannot be 0");
        }
        if *max_event_bytes > limits::MAX_EVENT_BYTES_CEILING || *max_event_bytes == 0 {
            faults.push(format!(
                "limits.max_event_bytes has to be from 1 to {}",
                limits::MAX_EVENT_BYTES_CEILING
            ));
        }
        for source in &self.sources.gearman {
            if source.concurrency.saturating_mul(*max_event_bytes) > limits::GEARMAN_HELD_BYTES {
                let (name, most) = (&source.name, limits::GEARMAN_HELD_BYTES);
                faults.push(format!("source.gearman {name:?}: concurrency times limits.max_event_bytes is more than {most} bytes; make one of them smaller"));
            }
        }
        if self.keep_alive_timeout < Duration::from_secs(1) {
            faults.push("limits.keep_alive_timeout has to be at least 1s");
        }
        if retention.max_events == 0 || retention.max_bytes < *max_event_bytes as u64 {
            faults.push(
                "retention.max_events has to be at least 1, and retention.max_bytes at least limits.max_event_bytes",
            );
        }
    }
}

fn listen(
    root: &mut Section,
    flags: Vec<SocketAddr>,
    faults: &mut ConfigFaults,
) -> Vec<SocketAddr> {
    let default = vec!["127.0.0.1:8080".to_owned()];
    let texts: Vec<String> = root.list("listen", default, faults);
    let mut addresses = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => faults.push(format!(
                "listen: {text:?} is not an address as 127.0.0.1:8080"
            )),
        }
    }
    if flags.is_empty() { addresses } else { flags }
}

fn engine(
    root: &mut Section,
    kind: Option<String>,
    data_dir: Option<PathBuf>,
    faults: &mut ConfigFaults,
) -> EngineKind {
    let configured_kind: String = root.value("engine", "sqlite".to_owned(), faults);
    let configured_dir: PathBuf = root.value("data_dir", PathBuf::from("./vidette-data"), faults);
    match kind.unwrap_or(configured_kind).as_str() {
        "memory" => EngineKind::Memory,
        other => {
            if other != "sqlite" {
                faults.push(format!("engine: {other:?} is neither sqlite nor memory"));
            }
            EngineKind::Sqlite {
                data_dir: data_dir.unwrap_or(configured_dir),
            }
        }
    }
}

/// How long ids are remembered by default: longer where jobs may be given again after an outage.
fn dedupe_window(sources: &SourcesConfig) -> Duration {
    if sources.gearman.is_empty() {
        Duration::from_secs(120)
    } else {
        limits::SOURCE_DEDUPE_WINDOW
    }
}

fn bus(root: &mut Section, dedupe_window: Duration, faults: &mut ConfigFaults) -> BusOptions {
    let heartbeat =
        root.section("bus", faults)
            .duration("heartbeat", Duration::from_secs(15), faults);
    let limits = root.section("limits", faults);
    let max_subscribers = limits.value("max_subscribers", 100_000, faults);
    let max_event_bytes = limits.value("max_event_bytes", 1024 * 1024, faults);
    let retention = root.section("retention", faults);
    let retention = Retention {
        max_age: retention.duration("max_age", 7 * 24 * HOUR, faults),
        max_events: retention.value("max_events", 10_000_000, faults),
        max_bytes: retention.value("max_bytes", 4096 * MIB, faults),
        dedupe_window: retention.duration("dedupe_window", dedupe_window, faults),
    };
    BusOptions {
        heartbeat,
        max_subscribers,
        max_event_bytes,
        retention,
    }
}

fn max_connections(root: &mut Section, faults: &mut ConfigFaults) -> usize {
    root.section("limits", faults)
        .value("max_connections", 100_000, faults)
}

/// Half of the least default is enough for one request of the largest size.
fn memory_budget(root: &mut Section, faults: &mut ConfigFaults) -> u64 {
    let section = root.section("limits", faults);
    let bytes = section.value("memory_budget", default_budget_bytes(), faults);
    let least = limits::MIN_MEMORY_BUDGET_BYTES / 2;
    if bytes < least {
        faults.push(format!(
            "limits.memory_budget has to be at least {least} bytes"
        ));
    }
    bytes
}

fn pages(section: &mut Section, flag: Option<PathBuf>, faults: &mut ConfigFaults) -> PagesConfig {
    let dir: PathBuf = section.value("dir", PathBuf::new(), faults);
    let dir = flag.or(Some(dir).filter(|d| !d.as_os_str().is_empty()));
    if let Some(missing) = dir.as_ref().filter(|d| !d.is_dir()) {
        faults.push(format!("pages.dir: {} is not a folder", missing.display()));
    }
    let debian = PathBuf::from("/usr/share/javascript/prototype/prototype.js");
    PagesConfig {
        dir,
        prototype_js: section.value("prototype_js", debian, faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        Config::parse(text, Overrides::default())
            .expect_err("a fault")
            .to_string()
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        let config = Config::parse("", Overrides::default()).expect("defaults");
        assert_eq!(
            config.engine,
            EngineKind::Sqlite {
                data_dir: "./vidette-data".into()
            }
        );
        assert_eq!(config.bus.heartbeat, Duration::from_secs(15));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let overrides = Overrides {
            engine: Some("memory".into()),
            ..Overrides::default()
        };
        let config = Config::parse("engine = \"sqlite\"", overrides).expect("a configuration");
        assert_eq!(config.engine, EngineKind::Memory);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let told = faults(
            r#"
            listen = "nowhere"
            enginee = "sqlite"
            [bus]
            heartbeat = "soon"
            [limits]
            max_event_bytes = 0
            memory_budget = 1000
            [retention]
            max_age = "10s"
            max_events = "many"
            [origins]
            allow = ["example.org"]
            "#,
        );
        for part in [
            "nowhere",
            "enginee",
            "bus.heartbeat",
            "max_event_bytes",
            "limits.memory_budget",
            "retention.max_age",
            "retention.max_events",
            "example.org",
        ] {
            assert!(told.contains(part), "{part} is missing in: {told}");
        }
    }

    #[test]
    fn retention_has_to_outlast_three_heartbeats() {
        assert!(
            faults("[bus]\nheartbeat = \"15s\"\n[retention]\nmax_age = \"44s\"")
                .contains("three times")
        );
        assert!(
            Config::parse(
                "[bus]\nheartbeat = \"15s\"\n[retention]\nmax_age = \"45s\"",
                Overrides::default()
            )
            .is_ok()
        );
    }
}
