//! `[[source.postgres]]`: a table whose rows become events.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::SslMode;

use super::section::Section;
use super::table_name::TableName;
use crate::limits;

/// One outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresConfig {
    /// Its name in metrics, in logs and in dead letters.
    pub name: String,
    /// Where the database is, and who logs in.
    pub server: tokio_postgres::Config,
    /// The outbox.
    pub table: TableName,
    /// How often rows are looked for when no notification comes.
    pub poll_interval: Duration,
    /// How long the gateway waits for an answer of the database.
    pub answer_timeout: Duration,
    /// Rows that became events are deleted instead of marked.
    pub delete_after_publish: bool,
}

/// The table that is read unless another one is configured.
pub const DEFAULT_OUTBOX: &str = "vidette_outbox";

const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(5);

const NO_HOST: &str = "has to name a host, such as postgres://vidette@/mydb?host=/run/postgresql \
    or postgres://vidette@127.0.0.1/mydb";
const NO_TLS: &str = "sslmode=require, but this source does not support TLS; \
    use a Unix socket, the loopback address or a tunnel";

/// Reads one section.
pub(super) fn postgres(mut section: Section) -> PostgresConfig {
    let config = PostgresConfig {
        name: name(&mut section),
        server: server(&mut section),
        table: table(&mut section),
        poll_interval: poll_interval(&mut section),
        answer_timeout: answer_timeout(&mut section),
        delete_after_publish: section.value("delete_after_publish", false),
    };
    section.finish();
    config
}

fn name(section: &mut Section) -> String {
    // One outbox is the rule, so that most need no name.
    let name = section.value("name", "postgres".to_owned());
    section.require(
        "name",
        !name.is_empty(),
        "is empty; leave it out, or write a name",
    );
    section.require_name("name", &name, limits::SOURCE_NAME_BYTES);
    name
}

fn table(section: &mut Section) -> TableName {
    let table: String = section.value("table", DEFAULT_OUTBOX.to_owned());
    table.parse().unwrap_or_else(|error: String| {
        // The default stands in, so that the other settings are checked, too.
        section.error("table", error);
        TableName::public(DEFAULT_OUTBOX)
    })
}

fn poll_interval(section: &mut Section) -> Duration {
    // Shorter would load the database for nothing, longer would delay rows whose notification is
    // lost.
    let (least, most) = (limits::DATABASE_POLL_MIN, limits::DATABASE_POLL_MAX);
    let interval = section.duration("poll_interval", DEFAULT_POLL_INTERVAL);
    let (least_ms, most_s) = (least.as_millis(), most.as_secs());
    let rule = format!("has to be from {least_ms}ms to {most_s}s");
    section.require("poll_interval", (least..=most).contains(&interval), rule);
    interval
}

fn answer_timeout(section: &mut Section) -> Duration {
    // A longer wait would exceed the part of the log that is read back after a restart.
    let most = limits::DATABASE_ANSWER_MAX;
    let timeout = section.duration("answer_timeout", most);
    let is_allowed = !timeout.is_zero() && timeout <= most;
    let rule = format!("has to be more than 0s and at most {}s", most.as_secs());
    section.require("answer_timeout", is_allowed, rule);
    timeout
}

fn server(section: &mut Section) -> tokio_postgres::Config {
    let mut server = parse_url(section);

    // Without a host the client library would try nothing and say little.
    let has_host = !server.get_hosts().is_empty() || !server.get_hostaddrs().is_empty();
    section.require("url", has_host, NO_HOST);
    if server.get_ssl_mode() == SslMode::Require {
        section.error("url", NO_TLS);
    }

    // `prefer`, the default, would ask the server for TLS first and be refused.
    server.ssl_mode(SslMode::Disable);
    if let Some(password) = password(section) {
        server.password(password);
    }
    server
}

fn parse_url(section: &mut Section) -> tokio_postgres::Config {
    let parsed = section.text("url").parse::<tokio_postgres::Config>();
    parsed.unwrap_or_else(|error| {
        section.error("url", not_a_url(&error));
        tokio_postgres::Config::new()
    })
}

/// The outer error only says that the text is invalid; its source says why. Neither of them quotes
/// the text, which may hold a password.
fn not_a_url(error: &tokio_postgres::Error) -> String {
    let cause = error.source();
    let reason = cause.map_or_else(|| error.to_string(), ToString::to_string);
    format!("not an address such as postgres://vidette@/mydb?host=/run/postgresql: {reason}")
}

/// From a file, so that the configuration need not hold it.
fn password(section: &mut Section) -> Option<String> {
    let file = section.file_path("password_file")?;

    // Read once at start; a changed password needs a restart, as a changed address does.
    match read_password(&file) {
        Ok(password) => Some(password),
        Err(error) => {
            section.error("password_file", format!("{}: {error}", file.display()));
            None
        }
    }
}

/// Editors end a file with a line break, which is not part of the password.
fn read_password(file: &Path) -> std::io::Result<String> {
    let password = std::fs::read_to_string(file)?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn an_outbox_needs_only_an_address() {
        let text = "[[source.postgres]]\nurl = \"postgres://vidette@/doors?host=/run/postgresql\"";
        let config = Config::parse(text, Overrides::default()).expect("a configuration");
        let [outbox] = &config.sources.postgres[..] else {
            panic!("one outbox")
        };
        assert_eq!(
            (outbox.name.as_str(), outbox.table.to_string().as_str()),
            ("postgres", "\"public\".\"vidette_outbox\"")
        );
        assert_eq!(
            (outbox.poll_interval, outbox.delete_after_publish),
            (Duration::from_secs(5), false)
        );
    }

    #[test]
    fn all_errors_of_an_outbox_are_reported_at_once_and_no_password() {
        let text = "
            [[source.postgres]]
            url = \"postgres://vidette:secret@/doors?sslmode=require\"
            table = \"a.b.c\"
            poll_interval = \"0s\"
            answer_timeout = \"1h\"
            password_file = \"/nowhere\"
            pollinterval = 1
            [[source.postgres]]
            url = \"nonsense\"
            ";
        let errors = Config::parse(text, Overrides::default())
            .expect_err("errors")
            .to_string();
        for part in [
            "has to name a host",
            "support TLS",
            "a.b.c",
            "[0].poll_interval",
            "answer_timeout",
            "/nowhere",
            "pollinterval",
            "source.postgres[1].url",
        ] {
            assert!(errors.contains(part), "{part} is missing in {errors}");
        }
        assert!(!errors.contains("secret"), "{errors}");
    }
}
