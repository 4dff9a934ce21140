//! The outbox in SQL, as `vidette source postgres init --print` shows it.
//!
//! Invariants:
//! - what is printed can be applied again at any time, and then changes nothing;
//! - every name and text of the user's is quoted.

use std::fmt;

use crate::config::{TableName, quote_name};

pub(crate) use super::template::RowTemplate;

/// The channel on which the trigger of this table announces new rows.
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
    /// JSON, kept without its white space and the order of its fields.
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

/// A table of the user's, each new row of which is to be an event.
#[derive(Debug, Clone)]
pub(crate) struct WatchedTable {
    /// The table.
    pub(crate) table: TableName,
    /// The topic of its rows.
    pub(crate) topic: RowTemplate,
    /// The type of its rows.
    pub(crate) kind: Option<RowTemplate>,
}

/// What to print.
#[derive(Debug, Clone)]
pub(crate) struct OutboxSchema {
    /// The table that the gateway reads.
    pub(crate) outbox: TableName,
    /// What its data column holds.
    pub(crate) data: DataType,
    /// The role as which the gateway logs in.
    pub(crate) role: Option<String>,
    /// A table whose new rows are to be written to the outbox.
    pub(crate) watched: Option<WatchedTable>,
}

impl fmt::Display for OutboxSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one transaction, so that an error leaves nothing half made.
        f.write_str("BEGIN;\n\n")?;
        write_outbox(f, &self.outbox, self.data)?;
        write_notifying(f, &self.outbox)?;
        if let Some(role) = &self.role {
            write_grants(f, &self.outbox, &quote_name(role))?;
        }
        if let Some(watched) = &self.watched {
            write_watching(f, &self.outbox, self.data, watched)?;
        }
        f.write_str("COMMIT;\n")
    }
}

fn write_outbox(f: &mut fmt::Formatter<'_>, outbox: &TableName, data: DataType) -> fmt::Result {
    // The index has waiting rows only, so it stays small however long rows are kept.
    let (index, data) = (outbox.with_suffix("waiting").bare(), data.sql());
    write!(
        f,
        "-- Each row becomes one event, once its transaction has committed. Writers give topic and
-- data.
CREATE TABLE IF NOT EXISTS {outbox} (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      uuid   NOT NULL DEFAULT gen_random_uuid(), -- the id of the event
    topic         text   NOT NULL,
    type          text,
    content_type  text,   -- derived from the data where it is NULL
    headers       jsonb,  -- an object of texts
    data          {data} NOT NULL,
    written       timestamptz NOT NULL DEFAULT now(),
    outcome       text    -- the gateway's: the cursor of the event, or why there is none
);
CREATE INDEX IF NOT EXISTS {index} ON {outbox} (id) WHERE outcome IS NULL;

"
    )
}

fn write_notifying(f: &mut fmt::Formatter<'_>, outbox: &TableName) -> fmt::Result {
    // The channel's name has the table's oid, so that outboxes do not wake each other's gateways.
    let notify = outbox.with_suffix("notify");
    let trigger = notify.bare();
    write!(
        f,
        "-- Notifies the gateway of new rows. Without it they are found at the next poll_interval.
CREATE OR REPLACE FUNCTION {notify}() RETURNS trigger LANGUAGE plpgsql AS $vidette$
BEGIN
    PERFORM pg_catalog.pg_notify('vidette_' || TG_RELID, '');
    RETURN NULL;
END $vidette$;
CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT ON {outbox}
    FOR EACH STATEMENT EXECUTE FUNCTION {notify}();

"
    )
}

fn write_grants(f: &mut fmt::Formatter<'_>, outbox: &TableName, role: &str) -> fmt::Result {
    // A row that is kept stays as it was written: only its outcome may be changed.
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
    watched: &WatchedTable,
) -> fmt::Result {
    let table = &watched.table;
    let function = outbox.beside(&format!("vidette_from_{}", table.table()));
    // A trigger lives in its table's schema, so its own name may not have one.
    let trigger = function.bare();
    write_watching_function(f, outbox, data, watched, &function)?;
    write!(
        f,
        "CREATE OR REPLACE TRIGGER {trigger}
    AFTER INSERT ON {table} REFERENCING NEW TABLE AS vidette_new
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();

"
    )
}

fn write_watching_function(
    f: &mut fmt::Formatter<'_>,
    outbox: &TableName,
    data: DataType,
    WatchedTable { table, topic, kind }: &WatchedTable,
    function: &TableName,
) -> fmt::Result {
    // A statement that inserts many rows runs this once, for all of them.
    let topic = topic.topic_sql();
    let kind = kind
        .as_ref()
        .map_or("NULL".to_owned(), RowTemplate::text_sql);
    let data = data.of_json("row_to_json(r)::text");
    write!(
        f,
        "-- Writes each new row of {table} to the outbox, in the transaction of its writer.
-- It runs with the rights of its owner, so that those who write {table} need none on the outbox.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $vidette$
BEGIN
    INSERT INTO {outbox} (topic, type, content_type, data)
    SELECT {topic}, {kind}, 'application/json', {data}
    FROM vidette_new AS r;
    RETURN NULL;
END $vidette$;
"
    )
}
