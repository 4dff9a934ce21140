//! `[[source.postgres]]`: a table whose rows become events.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::SslMode;

use super::faults::{ConfigFaults, Section};
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
    /// The outbox is looked at this often when nothing tells of new rows.
    pub poll_interval: Duration,
    /// An answer of the database that takes longer is given up.
    pub answer_timeout: Duration,
    /// Rows that became events are deleted instead of marked.
    pub delete_after_publish: bool,
}

/// The table that is read where none is named.
pub const DEFAULT_OUTBOX: &str = "vidette_outbox";

pub(super) fn postgres(mut section: Section, faults: &mut ConfigFaults) -> PostgresConfig {
    let table: String = section.value("table", DEFAULT_OUTBOX.to_owned(), faults);
    let table = table.parse().unwrap_or_else(|fault| {
        faults.push(format!("{}: {fault}", section.path("table")));
        TableName::public(DEFAULT_OUTBOX)
    });
    let config = PostgresConfig {
        name: section.value("name", "postgres".to_owned(), faults),
        server: server(&mut section, faults),
        table,
        poll_interval: section.duration("poll_interval", Duration::from_secs(5), faults),
        answer_timeout: section.duration("answer_timeout", limits::DATABASE_ANSWER_MAX, faults),
        delete_after_publish: section.value("delete_after_publish", false, faults),
    };
    if config.poll_interval < limits::DATABASE_POLL_MIN
        || config.poll_interval > limits::DATABASE_POLL_MAX
    {
        let (least, most) = (
            limits::DATABASE_POLL_MIN.as_millis(),
            limits::DATABASE_POLL_MAX.as_secs(),
        );
        faults.push(format!(
            "{} has to be from {least}ms to {most}s",
            section.path("poll_interval")
        ));
    }
    if config.answer_timeout.is_zero() || config.answer_timeout > limits::DATABASE_ANSWER_MAX {
        let most = limits::DATABASE_ANSWER_MAX.as_secs();
        faults.push(format!(
            "{} has to be more than 0s and at most {most}s",
            section.path("answer_timeout")
        ));
    }
    if config.name.is_empty()
        || config.name.len() > limits::SOURCE_NAME_BYTES
        || config.name.contains(char::is_control)
    {
        let most = limits::SOURCE_NAME_BYTES;
        faults.push(format!(
            "{} has to be from 1 to {most} bytes without a control character",
            section.path("name")
        ));
    }
    section.finish(faults);
    config
}

fn server(section: &mut Section, faults: &mut ConfigFaults) -> tokio_postgres::Config {
    let url: String = section.value("url", String::new(), faults);
    let path = section.path("url");
    let mut server = url
        .parse::<tokio_postgres::Config>()
        .unwrap_or_else(|fault| {
            let why = std::error::Error::source(&fault)
                .map_or_else(|| fault.to_string(), ToString::to_string);
            faults.push(format!(
                "{path}: not an address as postgres://vidette@/mydb?host=/run/postgresql: {why}"
            ));
            tokio_postgres::Config::new()
        });
    if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
        faults.push(format!(
            "{path} has to name a host, as postgres://vidette@/mydb?host=/run/postgresql or postgres://vidette@127.0.0.1/mydb"
        ));
    }
    if server.get_ssl_mode() == SslMode::Require {
        faults.push(format!(
            "{path}: sslmode=require, but this source speaks no TLS; use a Unix socket, the loopback address or a tunnel"
        ));
    }
    server.ssl_mode(SslMode::Disable);
    if let Some(password) = password(section, faults) {
        server.password(password);
    }
    server
}

/// From a file, so that the configuration need not hold it.
fn password(section: &mut Section, faults: &mut ConfigFaults) -> Option<String> {
    let file: PathBuf = section.value("password_file", PathBuf::new(), faults);
    if file.as_os_str().is_empty() {
        return None;
    }
    match std::fs::read_to_string(&file) {
        Ok(password) => Some(password.trim_end_matches(['\r', '\n']).to_owned()),
        Err(fault) => {
            faults.push(format!(
                "{}: {}: {fault}",
                section.path("password_file"),
                file.display()
            ));
            None
        }
    }
}

/// A table, in `public` where no schema is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: String,
    table: String,
}

impl TableName {
    fn public(table: &str) -> Self {
        TableName {
            schema: "public".to_owned(),
            table: table.to_owned(),
        }
    }

    /// Its schema, not quoted.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Its name without the schema, not quoted.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Another name in the same schema.
    pub(crate) fn beside(&self, name: &str) -> Self {
        TableName {
            schema: self.schema.clone(),
            table: name.to_owned(),
        }
    }

    /// The same with something behind it.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        self.beside(&format!("{}_{suffix}", self.table))
    }

    /// Without its schema, which a new index or trigger may not name; quoted.
    pub(crate) fn bare(&self) -> String {
        quote_name(&self.table)
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        let is_short =
            |part: &str| is_name(part) && !part.contains('.') && part.len() <= MAX_NAME_BYTES;
        if !is_short(schema) || !is_short(table) {
            return Err(format!(
                "{text:?} is not a table as vidette_outbox or door.vidette_outbox"
            ));
        }
        Ok(TableName {
            schema: schema.to_owned(),
            table: table.to_owned(),
        })
    }
}

/// As it stands in SQL.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quote_name(&self.schema), self.bare())
    }
}

/// The bound on a name in PostgreSQL, in bytes, with room for what is added to it.
const MAX_NAME_BYTES: usize = 63 - "vidette_from_".len();

/// Can this be printed as a name, also in a comment and in a function's body?
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control) && !text.contains("$vidette$")
}

pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn a_table_without_a_schema_is_public() {
        let quoted = |text: &str| text.parse::<TableName>().map(|name| name.to_string());
        assert_eq!(
            quoted("door_log").expect("a table"),
            "\"public\".\"door_log\""
        );
        assert_eq!(
            quoted("Doors.door \"log\"").expect("a table"),
            "\"Doors\".\"door \"\"log\"\"\""
        );
        for wrong in ["", ".", "a.", ".a", "a.b.c", "a\n;b"] {
            assert!(quoted(wrong).is_err(), "{wrong:?}");
        }
        assert!(
            quoted(&"x".repeat(51)).is_err(),
            "no room for what is added to the name"
        );
    }

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
    fn all_faults_of_an_outbox_are_told_at_once_and_no_password() {
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
        let told = Config::parse(text, Overrides::default())
            .expect_err("faults")
            .to_string();
        for part in [
            "has to name a host",
            "no TLS",
            "a.b.c",
            "[0].poll_interval",
            "answer_timeout",
            "/nowhere",
            "pollinterval",
            "source.postgres[1].url",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        assert!(!told.contains("secret"), "{told}");
    }
}
