//! `vidette publish`: one event, or a stream of them from standard input or a file.

mod input;
mod lines;
mod tally;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::io::AsyncReadExt as _;

use super::connect::ConnectArgs;
use super::{CommandResult, Failure};
use crate::client::{EventParts, NewEvent, PublishReceipt};
use crate::limits;
use input::LineOptions;
use lines::LinesToPublish;

/// Publish one event, or a stream of events from a file or standard input.
///
/// Prints the cursor of the event once it is durable. The content type is found from the data:
/// JSON, else text, else bytes.
///
/// A stream of events (--ndjson) survives an outage of the gateway: it goes on with the first line
/// that has no answer. A line that may have been published already is sent again only if it has an
/// id, of its own or by --id-prefix: the gateway recognizes a repeated id for its
/// `retention.dedupe_window`, two minutes unless it is configured otherwise. A command that is
/// interrupted prints the line to begin with next time. With --retry-for it also waits for a
/// gateway that has not started yet.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette publish door.3 '{\"doorno\":3}' --type opened
  date | vidette publish clock -
  vidette publish alarm.reset --empty           an event without data
  vidette publish --ndjson events.ndjson        one {\"topic\":…,\"data\":…} per line
  tail -F app.log.json | vidette publish --ndjson - --id-prefix \"app-$(date +%s)\"")]
pub(super) struct PublishArgs {
    /// Topic of the event, such as door.3
    #[arg(required_unless_present = "ndjson", conflicts_with = "ndjson")]
    topic: Option<String>,
    /// Data of the event; - reads it from standard input
    #[arg(default_value = "-", conflicts_with = "ndjson")]
    data: String,
    /// Publish an event without data although standard input has none
    #[arg(long, conflicts_with = "ndjson")]
    empty: bool,
    /// Type of the event, such as opened
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "ndjson")]
    kind: Option<String>,
    /// Id of the event: publishing the same id again adds no second event
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// Content type of the data, such as image/png
    #[arg(long, conflicts_with = "ndjson")]
    content_type: Option<String>,
    /// Publish each line of a file, or of standard input (-): one JSON object is one event
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    ndjson: Option<PathBuf>,
    /// Give lines without an id the id PREFIX:NUMBER, of their line number
    #[arg(
        long,
        value_name = "PREFIX",
        requires = "ndjson",
        conflicts_with = "topic"
    )]
    id_prefix: Option<String>,
    /// Begin with this line of the input
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(requires = "ndjson", conflicts_with = "topic")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// Give up when the gateway has been away for this long; with 0s, at once. Where it is given, a
    /// gateway that is not up yet is waited for, too [default: 110s]
    #[arg(long, value_name = "DURATION")]
    #[arg(requires = "ndjson", conflicts_with = "topic")]
    #[arg(value_parser = humantime::parse_duration)]
    retry_for: Option<Duration>,
    #[command(flatten)]
    gateway: ConnectArgs,
}

pub(super) async fn run(args: PublishArgs) -> CommandResult {
    match args.lines()? {
        Some(lines) => lines::run(lines).await,
        None => publish_one(args).await,
    }
}

impl PublishArgs {
    /// The lines to publish, where it is a stream.
    fn lines(&self) -> Result<Option<LinesToPublish>, Failure> {
        let Some(path) = self.ndjson.clone() else {
            return Ok(None);
        };
        let client = self.gateway.client()?;
        Ok(Some(LinesToPublish {
            path,
            options: self.line_options(),
            client: match self.retry_for {
                Some(outage) => client.retry_for(outage),
                None => client,
            },
            // A wrong address is not waited for, unless somebody has asked for patience.
            waits_at_first: self.retry_for.is_some(),
        }))
    }

    fn line_options(&self) -> LineOptions {
        LineOptions {
            from_line: self.from_line,
            id_prefix: self.id_prefix.clone(),
        }
    }

    async fn read_standard_input(&self) -> Result<Vec<u8>, Failure> {
        if io::stdin().is_terminal() {
            eprintln!("vidette: reading the data from standard input, up to its end (Ctrl+D)");
        }
        // One byte more than may be published is enough to be refused.
        let most = limits::MAX_EVENT_BYTES_CEILING as u64 + 1;
        let mut data = Vec::new();
        let mut input = tokio::io::stdin().take(most);
        let read = input.read_to_end(&mut data).await;
        read.map_err(|error| failed_input(&error))?;

        // Mostly a command before the pipe has failed.
        if data.is_empty() && !self.empty {
            return Err(Failure::usage(NO_DATA));
        }
        Ok(data)
    }

    /// The event to publish, where it is one.
    fn event(&self, data: Vec<u8>) -> Result<NewEvent, Failure> {
        // Checked here as well as by the gateway, so that the answer comes at once.
        let parts = EventParts {
            topic: self.topic.as_deref().unwrap_or_default(),
            kind: self.kind.as_deref(),
            id: self.id.as_deref(),
            content_type: self.content_type.as_deref(),
            data: data.into(),
            ..EventParts::default()
        };
        NewEvent::check(parts, limits::MAX_EVENT_BYTES_CEILING).map_err(Failure::new)
    }
}

const NO_DATA: &str = "standard input is empty, so nothing was published; give the data, or --empty \
    for an event without data";

async fn publish_one(args: PublishArgs) -> CommandResult {
    // Once, without an id that the person has not given.
    let client = args.gateway.client()?.retry_for(Duration::ZERO);
    let data = match args.data.as_str() {
        "-" => args.read_standard_input().await?,
        data => data.as_bytes().to_vec(),
    };

    // It is durable when this returns.
    let receipt = client.publish(args.event(data)?).await?;
    print_receipt(&receipt);
    Ok(())
}

fn failed_input(error: &io::Error) -> Failure {
    Failure::new(format!("failed to read standard input: {error}"))
}

fn print_receipt(receipt: &PublishReceipt) {
    // The cursor stays the first word, for scripts.
    let repeated = if receipt.duplicate {
        "  (published before)"
    } else {
        ""
    };
    println!("{}{repeated}", receipt.cursor);
}
