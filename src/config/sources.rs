//! `[[source.KIND]]`: where events come from besides the publish endpoints.
//!
//! Invariant: a name stands for one source, in metrics, in logs and in dead letters.

use std::collections::HashSet;

use super::gearman::{GearmanConfig, gearman};
use super::postgres::{PostgresConfig, postgres};
use super::section::Section;

/// All sources, by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourcesConfig {
    /// Gearman functions.
    pub gearman: Vec<GearmanConfig>,
    /// Outboxes of PostgreSQL.
    pub postgres: Vec<PostgresConfig>,
}

impl SourcesConfig {
    fn names(&self) -> impl Iterator<Item = &str> {
        let gearman = self.gearman.iter().map(|source| source.name.as_str());
        let postgres = self.postgres.iter().map(|source| source.name.as_str());
        gearman.chain(postgres)
    }
}

/// Reads the section `[source]`.
pub(super) fn sources(section: &mut Section) -> SourcesConfig {
    let functions = section.array("gearman").into_iter();
    let outboxes = section.array("postgres").into_iter();
    let config = SourcesConfig {
        // What lacks its function or its topic has been reported, and no default would make sense.
        gearman: functions.filter_map(gearman).collect(),
        postgres: outboxes.map(postgres).collect(),
    };
    check_names(&config, section);
    config
}

fn check_names(config: &SourcesConfig, section: &Section) {
    // Across all kinds: metrics and logs have one name for each.
    let mut seen = HashSet::new();
    for name in config.names() {
        if !seen.insert(name) {
            section.report(same_name(name));
        }
    }
}

fn same_name(name: &str) -> String {
    format!("source: two sources are named {name:?}; give one of them another name")
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Overrides::default()).map_err(|errors| errors.to_string())
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
    fn jobs_that_are_taken_together_have_to_fit_into_memory() {
        let source = |more| format!("[[source.gearman]]\nfunction = \"f\"\ntopic = \"t\"\n{more}");
        let errors = parse(&source("concurrency = 300")).expect_err("300 MiB");
        assert!(
            errors.contains("concurrency times limits.max_event_bytes"),
            "{errors}"
        );
        assert!(
            parse(&source(
                "concurrency = 300\n[limits]\nmax_event_bytes = 1000"
            ))
            .is_ok()
        );
    }

    #[test]
    fn every_error_of_every_source_is_reported_with_its_place() {
        let errors = parse(
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
        .expect_err("errors");
        for part in [
            "source.gearman[0].function is missing",
            "source.gearman[0].topic",
            "source.gearman[0].concurrency",
            "source.gearman[1].servers: \"a:b\"",
            "source.gearman[1].servers: \"c d\"",
            "e:1 is listed twice",
            "source.gearman[1].worker: unknown setting",
            "two sources are named \"f\"",
            "source.carrier-pigeon: unknown setting",
        ] {
            assert!(errors.contains(part), "{part} is missing in: {errors}");
        }
    }
}
