//! The outbox in SQL, as `vidette source postgres init --print` shows it.
//!
//! Invariants:
//! - what is printed can be applied again at any time and changes nothing then;
//! - every name and text of the user's is quoted.

use std::fmt;
use std::str::FromStr;

use crate::config::{TableName, is_name, quote_name};

/// The channel on which the trigger of this table tells of new rows.
pub(super) fn channel(table_oid: u32) -> String {
    format!("vidette_{table_oid}")
}

/// What the data column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub(crate) enum DataType {
    /// Any text, kept as it is written.
    Text,
    /// JSON, checked when it is written and kept as it is.
    Json,
    /// JSON, without its white space and the order of its fields.
    Jsonb,
    /// Any bytes.
    Bytea,
}

impl DataType {
    fn sql(self) -> &'static str {
        match self {
            DataType::Text => "text",
            DataType::Json => "json",
            DataType::Jsonb => "jsonb",
            DataType::Bytea => "bytea",
        }
    }

    /// A text that is JSON, as a value of this type.
    fn of_json(self, text: &str) -> String {
        match self {
            DataType::Text => text.to_owned(),
            DataType::Json | DataType::Jsonb => format!("{text}::{}", self.sql()),
            DataType::Bytea => format!("convert_to({text}, 'UTF8')"),
        }
    }
}

/// A table that somebody writes already, each new row of which is to be an event.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// The table.
    pub(crate) table: TableName,
    /// Of its rows.
    pub(crate) topic: Template,
    /// Of its rows.
    pub(crate) kind: Option<Template>,
}

/// What to print.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    /// The table that the gateway reads.
    pub(crate) outbox: TableName,
    /// What its data column holds.
    pub(crate) data: DataType,
    /// Whom the gateway logs in as.
    pub(crate) role: Option<String>,
    /// A table whose new rows are to be written to the outbox.
    pub(crate) watched: Option<Watched>,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BEGIN;\n\n")?;
        self.write_outbox(f)?;
        if let Some(role) = &self.role {
            write_grants(f, &self.outbox, &quote_name(role))?;
        }
        if let Some(watched) = &self.watched {
            write_watching(f, &self.outbox, self.data, watched)?;
        }
        f.write_str("COMMIT;\n")
    }
}

impl Schema {
    fn write_outbox(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schema { outbox, data, .. } = self;
        let (index, notify, data) = (
            outbox.with_suffix("waiting"),
            outbox.with_suffix("notify"),
            data.sql(),
        );
        write!(
            f,
            "-- Each row becomes one event, once its transaction has committed. Writers give topic and data.
CREATE TABLE IF NOT EXISTS {outbox} (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      uuid   NOT NULL DEFAULT gen_random_uuid(), -- the id of the event
    topic         text   NOT NULL,
    type          text,
    content_type  text,   -- found from the data where there is none
    headers       jsonb,  -- an object of texts
    data          {data} NOT NULL,
    written       timestamptz NOT NULL DEFAULT now(),
    outcome       text    -- the gateway's: the cursor of the event, or why there is none
);
CREATE INDEX IF NOT EXISTS {index} ON {outbox} (id) WHERE outcome IS NULL;

-- Tells the gateway that there are new rows. Without it they are found at the next poll_interval.
CREATE OR REPLACE FUNCTION {notify}() RETURNS trigger LANGUAGE plpgsql AS $vidette$
BEGIN
    PERFORM pg_catalog.pg_notify('vidette_' || TG_RELID, '');
    RETURN NULL;
END $vidette$;
CREATE OR REPLACE TRIGGER {notify_trigger} AFTER INSERT ON {outbox}
    FOR EACH STATEMENT EXECUTE FUNCTION {notify}();

",
            index = index.bare(),
            notify_trigger = notify.bare(),
        )
    }
}

fn write_grants(f: &mut fmt::Formatter<'_>, outbox: &TableName, role: &str) -> fmt::Result {
    let schema = quote_name(outbox.schema());
    write!(
        f,
        "-- All that the gateway needs.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, DELETE, UPDATE (outcome) ON {outbox} TO {role};

"
    )
}

fn write_watching(
    f: &mut fmt::Formatter<'_>,
    outbox: &TableName,
    data: DataType,
    Watched { table, topic, kind }: &Watched,
) -> fmt::Result {
    let trigger = outbox.beside(&format!("vidette_from_{}", table.table()));
    let kind = kind.as_ref().map_or("NULL".to_owned(), Template::text_sql);
    write!(
        f,
        "-- Writes each new row of {table} to the outbox, in the transaction of whoever writes it. It runs with the rights
-- of its owner, so that those who write {table} need none on the outbox.
CREATE OR REPLACE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $vidette$
BEGIN
    INSERT INTO {outbox} (topic, type, content_type, data)
    SELECT {topic}, {kind}, 'application/json', {data}
    FROM vidette_new AS r;
    RETURN NULL;
END $vidette$;
CREATE OR REPLACE TRIGGER {trigger_name} AFTER INSERT ON {table} REFERENCING NEW TABLE AS vidette_new
    FOR EACH STATEMENT EXECUTE FUNCTION {trigger}();

",
        topic = topic.topic_sql(),
        data = data.of_json("row_to_json(r)::text"),
        trigger_name = trigger.bare(),
    )
}

/// A text with columns of a row in braces: `door.{doorno}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let column = after
                .split_once('}')
                .filter(|(name, _)| is_name(name) && !name.contains('{'));
            let Some((column, after)) = column else {
                return Err(format!(
                    "{text:?} has a brace that encloses no column, as door.{{doorno}} does"
                ));
            };
            parts.extend([
                Part::Text(before.to_owned()),
                Part::Column(column.to_owned()),
            ]);
            rest = after;
        }
        if text.is_empty() || rest.contains('}') || text.contains('\0') {
            return Err(format!("{text:?} is not a text as door.{{doorno}}"));
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(
            parts
                .into_iter()
                .filter(|part| *part != Part::Text(String::new()))
                .collect(),
        ))
    }
}

impl Template {
    fn sql(&self, column: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => quote_text(text),
            Part::Column(name) => column(&quote_name(name)),
        });
        parts.collect::<Vec<_>>().join(" || ")
    }

    fn text_sql(&self) -> String {
        self.sql(|name| format!("r.{name}::text"))
    }

    /// A value is one token of the topic whatever is in it, so that no row's writer ever fails for
    /// its topic.
    fn topic_sql(&self) -> String {
        self.sql(|name| {
            format!("coalesce(nullif(regexp_replace(r.{name}::text, '[[:space:][:cntrl:].*>]', '_', 'g'), ''), '_')")
        })
    }
}

/// A text that means the same whether or not backslashes escape. It may stand in a body quoted by
/// `$vidette$`.
fn quote_text(text: &str) -> String {
    let text = text
        .replace('\'', "''")
        .replace('\\', "\\\\")
        .replace("$vidette$", "$vidette\\$");
    if text.contains('\\') {
        format!("E'{text}'")
    } else {
        format!("'{text}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_texts_and_columns() {
        let sql = |text: &str| text.parse::<Template>().expect("a template").text_sql();
        assert_eq!(sql("opened"), "'opened'");
        assert_eq!(sql("{kind}"), "r.\"kind\"::text");
        assert_eq!(
            sql("door.{no}.{ro\"om}.x'y\\"),
            r#"'door.' || r."no"::text || '.' || r."ro""om"::text || E'.x''y\\'"#
        );
        for wrong in [
            "",
            "{",
            "}",
            "a{}",
            "a{b",
            "a}b",
            "a{b{c}",
            "{a\nb}",
            "{$vidette$}",
        ] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong:?}");
        }
    }
}
