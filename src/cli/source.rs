//! `vidette source`: what a way in needs outside the gateway.

use std::io::Write as _;

use clap::{Args, Subcommand};

use super::{Failure, Outcome};
use crate::config::{DEFAULT_OUTBOX, TableName};
use crate::source::postgres::schema::{DataType, OutboxSchema, RowTemplate, WatchedTable};

/// Prepare a way in beside the publish endpoints.
#[derive(Args)]
pub(super) struct SourceArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// A PostgreSQL table whose rows become events
    Postgres {
        #[command(subcommand)]
        action: Action,
    },
}

#[derive(Subcommand)]
enum Action {
    Init(InitArgs),
}

/// Print the SQL of an outbox: the table, and the trigger that tells the gateway of new rows.
///
/// It can be applied again at any time. With --table it has a second trigger, which writes each new
/// row of a table that you have already to the outbox; whoever writes that table need not know.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette source postgres init --print | psql mydb
  vidette source postgres init --print --table door_log --topic 'door.{doorno}' --type opened | psql mydb")]
struct InitArgs {
    /// Print it
    #[arg(long, required = true)]
    print: bool,
    /// Name of the outbox, as in the configuration
    #[arg(long, default_value = DEFAULT_OUTBOX)]
    outbox: TableName,
    /// What its data column holds
    #[arg(long, value_enum, default_value = "text")]
    data: DataType,
    /// Whom the gateway logs in as, when that is not the owner of the table
    #[arg(long)]
    role: Option<String>,
    /// A table of yours, each new row of which is to be an event, as a JSON object
    #[arg(long, requires = "topic")]
    table: Option<TableName>,
    /// Topic of its rows, with columns in braces: door.{doorno}
    #[arg(long, requires = "table")]
    topic: Option<RowTemplate>,
    /// Type of its rows, with columns in braces
    #[arg(long = "type", value_name = "TYPE", requires = "table")]
    kind: Option<RowTemplate>,
}

pub(super) fn run(args: SourceArgs) -> Outcome {
    let Kind::Postgres {
        action: Action::Init(init),
    } = args.kind;
    if init
        .role
        .as_ref()
        .is_some_and(|role| role.chars().any(char::is_control))
    {
        return Err(Failure::usage("--role has a control character"));
    }
    let InitArgs {
        outbox,
        data,
        role,
        table,
        topic,
        kind,
        ..
    } = init;
    let watched = table
        .zip(topic)
        .map(|(table, topic)| WatchedTable { table, topic, kind });
    let schema = OutboxSchema {
        outbox,
        data,
        role,
        watched,
    };
    std::io::stdout()
        .write_all(schema.to_string().as_bytes())
        .map_err(Failure::new)
}
