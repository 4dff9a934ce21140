//! `vidette status`, `topics`, `connections` and `admin`: what an operator sees and does from a
//! terminal, by the admin API of a gateway.
//!
//! Invariant: with `--json` the answer of the API is printed as it is, a line each, for programs.

mod table;
mod view;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::connect::ConnectArgs;
use super::{CommandResult, Failure};

/// Between two looks with `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Moves to the beginning of a terminal's window, and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show how a gateway is doing: rates, readers, memory, sources.
///
/// Where the gateway has [auth], the token needs the right to subscribe to vidette.admin.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette status
  vidette status --watch
  vidette status --json --url https://gateway.example --token-file operator.jwt")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// List who reads, the slowest first, each with its lag in vids.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette connections --limit 10
  vidette connections --watch
A connection is ended with: vidette admin cut ID")]
pub(super) struct ConnectionsArgs {
    /// So many at most
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u32).range(1..999))]
    limit: u32,
    #[command(flatten)]
    look: LookArgs,
}

/// List the topics of the log, each with its newest vid.
#[derive(Args)]
pub(super) struct TopicsArgs {
    /// Topics to list; * stands for one token, a last > for one or more [default: >]
    topics: Vec<String>,
    /// Print each topic as a JSON object, for other programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: ConnectArgs,
}

#[derive(Args)]
struct LookArgs {
    /// Print the answer as JSON, for other programs
    #[arg(long)]
    json: bool,
    /// Look again every second
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    gateway: ConnectArgs,
}

/// Change a gateway that runs: end a connection, revoke a caller, take events out of the log.
///
/// Where the gateway has [auth], the token needs the right to publish to vidette.admin. Each action
/// is noted on the log, on that topic.
#[derive(Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    action: AdminAction,
}

#[derive(Args)]
struct ActArgs {
    /// Print the answer as JSON, for other programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: ConnectArgs,
}

#[derive(Subcommand)]
enum AdminAction {
    /// End a connection; its reader keeps its cursor, and may come back in a while
    Cut {
        /// The ID that `vidette connections` shows
        id: u32,
        #[command(flatten)]
        on: ActArgs,
    },
    /// Revoke whoever is known by a name, and end what is served on it
    Revoke {
        /// The jti or sub of a token, or the name of an API key or certificate
        name: String,
        #[command(flatten)]
        on: ActArgs,
    },
    /// Delete all events that a topic has now
    Purge {
        /// The topic, without wildcards
        topic: String,
        #[command(flatten)]
        on: ActArgs,
    },
    /// Delete one event; its vid stays empty
    Delete {
        /// Its vid
        vid: u64,
        #[command(flatten)]
        on: ActArgs,
    },
    /// Switch publishing off, until it is switched on again or the gateway restarts
    ReadOnly {
        /// Is it to be read-only?
        #[arg(value_enum)]
        switch: Switch,
        #[command(flatten)]
        on: ActArgs,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) async fn status(args: StatusArgs) -> CommandResult {
    look(&args.look, "status", view::status).await
}

pub(super) async fn connections(args: ConnectionsArgs) -> CommandResult {
    let what = format!("connections?limit={}", args.limit);
    look(&args.look, &what, view::connections).await
}

async fn look(args: &LookArgs, what: &str, show: impl Fn(&Value) -> String) -> CommandResult {
    let client = args.gateway.client()?;
    loop {
        let answer = client.admin_get(what).await?;
        let text = if args.json {
            format!("{answer}\n")
        } else {
            show(&answer)
        };
        let clears = args.watch && !args.json && stdout().is_terminal();
        print(&format!("{}{text}", if clears { CLEAR } else { "" }))?;
        if !args.watch {
            return Ok(());
        }
        sleep(WATCH_EVERY).await;
    }
}

pub(super) async fn topics(args: TopicsArgs) -> CommandResult {
    let client = args.gateway.client()?;
    let mut token = None;
    loop {
        let answer = client
            .admin_get(&topics_query(&args.topics, token.as_deref()))
            .await?;
        print(&view::topics(&answer, args.json))?;
        // A list of any length, page by page.
        match answer["next_page_token"].as_str() {
            Some(next) => token = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}

fn topics_query(topics: &[String], token: Option<&str>) -> String {
    let mut query = form_urlencoded(topics.iter().map(|topic| ("topic", topic.as_str())));
    if let Some(token) = token {
        query = format!(
            "{query}&{}",
            form_urlencoded([("page_token", token)].into_iter())
        );
    }
    format!("topics?{}", query.trim_start_matches('&'))
}

fn form_urlencoded<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut url = reqwest::Url::parse("http://gateway/").expect("an address");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

pub(super) async fn admin(args: AdminArgs) -> CommandResult {
    let (name, body, on) = args.action.request();
    let answer = on.gateway.client()?.admin_post(name, &body).await?;
    if on.json {
        return print(&format!("{answer}\n"));
    }
    print(&format!("{}\n", answer["says"].as_str().unwrap_or("done")))
}

impl AdminAction {
    /// Its name in the API, what it is given, and where.
    fn request(&self) -> (&'static str, Value, &ActArgs) {
        match self {
            AdminAction::Cut { id, on } => ("cut", json!({ "id": id }), on),
            AdminAction::Revoke { name, on } => ("revoke", json!({ "name": name }), on),
            AdminAction::Purge { topic, on } => ("purge", json!({ "topic": topic }), on),
            AdminAction::Delete { vid, on } => ("delete", json!({ "vid": vid }), on),
            AdminAction::ReadOnly { switch, on } => (
                "read-only",
                json!({ "on": matches!(switch, Switch::On) }),
                on,
            ),
        }
    }
}

/// Nobody may be reading any more, which ends a command that watches.
fn print(text: &str) -> CommandResult {
    let mut out = stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(Failure::new)
}
