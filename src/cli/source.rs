//! `vidette source`: prepares other programs as sources of events.

use std::io::Write as _;

use clap::{Args, Subcommand};

use super::{CommandResult, Failure};
use crate::config::{DEFAULT_OUTBOX, TableName};
use crate::source::postgres::schema::{DataType, OutboxSchema, RowTemplate, WatchedTable};

/// Prepare another program as a source of events, beside the publish endpoints.
#[derive(Args)]
pub(super) struct SourceArgs {
    #[command(subcommand)]
    kind: SourceKind,
}

#[derive(Subcommand)]
enum SourceKind {
    /// A PostgreSQL table whose rows become events
    Postgres {
        #[command(subcommand)]
        action: PostgresAction,
    },
}

#[derive(Subcommand)]
enum PostgresAction {
    Init(InitArgs),
}

/// Print the SQL of an outbox: the table, and a trigger that notifies the gateway of new rows.
///
/// The SQL can be applied again at any time. With --table it has a second trigger, which copies
/// each new row of an existing table to the outbox; programs that write that table need no change.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette source postgres init --print | psql mydb
  vidette source postgres init --print --table door_log --topic 'door.{doorno}' | psql mydb")]
struct InitArgs {
    /// Print the SQL on standard output
    #[arg(long, required = true)]
    print: bool,
    /// Name of the outbox table, as in the configuration
    #[arg(long, default_value = DEFAULT_OUTBOX)]
    outbox: TableName,
    /// What the data column of the outbox holds
    #[arg(long, value_enum, default_value = "text")]
    data: DataType,
    /// Role that the gateway logs in as, when that is not the owner of the table
    #[arg(long)]
    role: Option<String>,
    /// An existing table: each new row becomes an event, a JSON object of its columns
    #[arg(long, requires = "topic")]
    table: Option<TableName>,
    /// Topic of these events, with columns in braces: door.{doorno}
    #[arg(long, requires = "table")]
    topic: Option<RowTemplate>,
    /// Type of these events, with columns in braces
    #[arg(long = "type", value_name = "TYPE", requires = "table")]
    kind: Option<RowTemplate>,
}

pub(super) fn run(args: SourceArgs) -> CommandResult {
    // There is one kind of source, and one thing to do for it.
    let SourceKind::Postgres {
        action: PostgresAction::Init(init),
    } = args.kind;
    let sql = init.schema()?.to_string();
    std::io::stdout()
        .write_all(sql.as_bytes())
        .map_err(Failure::new)
}

impl InitArgs {
    /// The tables and triggers that the flags describe.
    fn schema(self) -> Result<OutboxSchema, Failure> {
        // The name goes into SQL, where a line break would end a comment.
        let role = self.role.as_deref().unwrap_or_default();
        if role.chars().any(char::is_control) {
            return Err(Failure::usage("--role has a control character; remove it"));
        }

        let kind = self.kind;
        // clap takes none of the two without the other.
        let watched = self.table.zip(self.topic);
        Ok(OutboxSchema {
            outbox: self.outbox,
            data: self.data,
            role: self.role,
            watched: watched.map(|(table, topic)| WatchedTable { table, topic, kind }),
        })
    }
}
