//! `[[source.KIND]]`: where events come from beside the publish endpoints.
//!
//! Invariant: a name stands for one source, in metrics, in logs and in dead letters.

use std::collections::HashSet;

use super::faults::{ConfigFaults, Section};
use super::postgres::{PostgresConfig, postgres};
use super::template::TopicTemplate;
use crate::limits;

/// All sources, by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourcesConfig {
    /// Gearman functions.
    pub gearman: Vec<GearmanConfig>,
    /// Outboxes of PostgreSQL.
    pub postgres: Vec<PostgresConfig>,
}

/// A Gearman function whose jobs become events.
#[derive(Debug, Clone, PartialEq)]
pub struct GearmanConfig {
    /// By which it is known; the function's name by default.
    pub name: String,
    /// Job servers, each as `host:port`.
    pub servers: Vec<String>,
    /// The function.
    pub function: String,
    /// Where its jobs go.
    pub topic: TopicTemplate,
    /// Jobs of one server that are taken and published together.
    pub concurrency: usize,
}

const GEARMAN_PORT: u16 = 4730;
const GEARMAN_CONCURRENCY: usize = 64;

pub(super) fn sources(section: &mut Section, faults: &mut ConfigFaults) -> SourcesConfig {
    let (functions, outboxes) = (
        section.array("gearman", faults),
        section.array("postgres", faults),
    );
    let config = SourcesConfig {
        gearman: functions
            .into_iter()
            .filter_map(|table| gearman(table, faults))
            .collect(),
        postgres: outboxes
            .into_iter()
            .map(|table| postgres(table, faults))
            .collect(),
    };
    let gearman_names = config.gearman.iter().map(|source| &source.name);
    let mut names = HashSet::new();
    for name in gearman_names.chain(config.postgres.iter().map(|source| &source.name)) {
        if !names.insert(name) {
            faults.push(format!(
                "source: two sources are named {name:?}; give one of them another name"
            ));
        }
    }
    config
}

fn gearman(mut section: Section, faults: &mut ConfigFaults) -> Option<GearmanConfig> {
    let servers = section.list("servers", vec!["127.0.0.1".to_owned()], faults);
    let function = required(
        &mut section,
        "function",
        "the Gearman function whose jobs are taken, as getmsg",
        faults,
    );
    let name = section.value("name", function.clone().unwrap_or_default(), faults);
    let topic = required(
        &mut section,
        "topic",
        "where the events go, as door.{doorno}",
        faults,
    );
    let topic = topic.and_then(|text| {
        let parsed = TopicTemplate::parse(&text);
        parsed
            .map_err(|fault| faults.push(format!("{}: {fault}", section.path("topic"))))
            .ok()
    });
    let concurrency = section.value("concurrency", GEARMAN_CONCURRENCY, faults);
    if !(1..=limits::SOURCE_BATCH_EVENTS).contains(&concurrency) {
        let most = limits::SOURCE_BATCH_EVENTS;
        faults.push(format!(
            "{} has to be from 1 to {most}",
            section.path("concurrency")
        ));
    }
    if name.len() > limits::SOURCE_NAME_BYTES || name.contains(char::is_control) {
        let most = limits::SOURCE_NAME_BYTES;
        faults.push(format!(
            "{} is longer than {most} bytes or has a control character",
            section.path("name")
        ));
    }
    if function.as_ref().is_some_and(|name| {
        name.len() > limits::GEARMAN_NAME_BYTES || name.contains(char::is_control)
    }) {
        let most = limits::GEARMAN_NAME_BYTES;
        faults.push(format!(
            "{} is longer than {most} bytes or has a control character",
            section.path("function")
        ));
    }
    let servers = gearman_servers(servers, &section.path("servers"), faults);
    section.finish(faults);
    Some(GearmanConfig {
        name,
        servers,
        function: function?,
        topic: topic?,
        concurrency,
    })
}

fn required(
    section: &mut Section,
    key: &str,
    what: &str,
    faults: &mut ConfigFaults,
) -> Option<String> {
    let text: String = section.value(key, String::new(), faults);
    if text.is_empty() {
        faults.push(format!("{} is missing: {what}", section.path(key)));
        return None;
    }
    Some(text)
}

fn gearman_servers(given: Vec<String>, path: &str, faults: &mut ConfigFaults) -> Vec<String> {
    if given.is_empty() {
        faults.push(format!(
            "{path} is empty: name at least one job server, as 127.0.0.1:{GEARMAN_PORT}"
        ));
    }
    let mut servers: Vec<String> = Vec::new();
    for text in given {
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let server = if has_port {
            text.clone()
        } else {
            format!("{text}:{GEARMAN_PORT}")
        };
        let parts = server
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(parts, Some((host, Ok(1..))) if !host.is_empty() && !host.contains(char::is_whitespace))
        {
            faults.push(format!(
                "{path}: {text:?} is not a job server as 127.0.0.1:{GEARMAN_PORT}"
            ));
        } else if servers.contains(&server) {
            faults.push(format!("{path}: {server} is there twice"));
        }
        servers.push(server);
    }
    servers
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Overrides::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_function_and_a_topic_are_enough() {
        let config = parse("[[source.gearman]]\nfunction = \"getmsg\"\ntopic = \"door.{doorno}\"")
            .expect("a source");
        let source = &config.sources.gearman[0];
        assert_eq!((source.name.as_str(), source.concurrency), ("getmsg", 64));
        assert_eq!(source.servers, ["127.0.0.1:4730"]);
    }

    #[test]
    fn ids_are_remembered_longer_where_jobs_may_come_again() {
        let minutes = |text| {
            parse(text)
                .expect("a configuration")
                .bus
                .retention
                .dedupe_window
                .as_secs()
                / 60
        };
        let source = "[[source.gearman]]\nfunction = \"f\"\ntopic = \"t\"";
        assert_eq!(minutes(""), 2);
        assert_eq!(minutes(source), 60);
        assert_eq!(
            minutes(&format!("[retention]\ndedupe_window = \"5m\"\n{source}")),
            5
        );
    }

    #[test]
    fn jobs_in_hand_have_to_fit_into_memory() {
        let source = |more| format!("[[source.gearman]]\nfunction = \"f\"\ntopic = \"t\"\n{more}");
        let told = parse(&source("concurrency = 300")).expect_err("300 MiB");
        assert!(
            told.contains("concurrency times limits.max_event_bytes"),
            "{told}"
        );
        assert!(
            parse(&source(
                "concurrency = 300\n[limits]\nmax_event_bytes = 1000"
            ))
            .is_ok()
        );
    }

    #[test]
    fn every_fault_of_every_source_is_told_with_its_place() {
        let told = parse(
            r#"
            [[source.gearman]]
            topic = "door.{doorno"
            concurrency = 0
            [[source.gearman]]
            function = "f"
            topic = "door"
            servers = ["a:b", "c d", "e:1", "e:1"]
            worker = 3
            [[source.gearman]]
            function = "f"
            topic = "door"
            [source.carrier-pigeon]
            "#,
        )
        .expect_err("faults");
        for part in [
            "source.gearman[0].function is missing",
            "source.gearman[0].topic",
            "source.gearman[0].concurrency",
            "source.gearman[1].servers: \"a:b\"",
            "source.gearman[1].servers: \"c d\"",
            "e:1 is there twice",
            "source.gearman[1].worker: there is no such setting",
            "two sources are named \"f\"",
            "source.carrier-pigeon: there is no such setting",
        ] {
            assert!(told.contains(part), "{part} is missing in: {told}");
        }
    }
}
