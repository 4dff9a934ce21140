//! `vidette publish`: one event, or a stream of them from standard input or a file.

mod connection;
mod lines;
mod pace;
mod signals;
mod stream;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::{DEFAULT_URL, Failure, Outcome, gateway_url, problem_text};
use crate::limits;
use lines::Numbering;

/// Publish one event, or a stream of events from standard input or a file.
///
/// Prints the vid once the event is durable. The content type is found from the data: JSON, else
/// text, else bytes.
///
/// A stream goes on after an interruption with the first line that was not answered. A line that
/// may have been published is sent again only if it has an id, of its own or by --id-prefix: the
/// gateway knows ids for its `retention.dedupe_window`, two minutes unless it is configured
/// otherwise. When it is interrupted itself it says which line to begin with next time.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette publish door.3 '{\"doorno\":3}' --type opened
  date | vidette publish clock -
  vidette publish --ndjson events.ndjson        one {\"topic\":…,\"data\":…} a line
  tail -F app.log.json | vidette publish --ndjson - --id-prefix \"app-$(date +%s)\"")]
pub(super) struct PublishArgs {
    /// Topic, as door.3
    #[arg(required_unless_present = "ndjson", conflicts_with = "ndjson")]
    topic: Option<String>,
    /// Data, or - for standard input
    #[arg(default_value = "-", conflicts_with = "ndjson")]
    data: String,
    /// Type of the event
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "ndjson")]
    kind: Option<String>,
    /// Id: a repeated publish with it gives no second event
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// Content type of the data
    #[arg(long, conflicts_with = "ndjson")]
    content_type: Option<String>,
    /// Publish the lines of a file, or of standard input (-), each one event as a JSON object
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    ndjson: Option<PathBuf>,
    /// Give a line without an id this, a colon and its number as its id
    #[arg(
        long,
        value_name = "PREFIX",
        requires = "ndjson",
        conflicts_with = "topic"
    )]
    id_prefix: Option<String>,
    /// Begin with this line
    #[arg(long, value_name = "N", default_value_t = 1, requires = "ndjson", conflicts_with = "topic", value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// Give up when the gateway has been away for this long; 0s at once
    #[arg(long, value_name = "DURATION", default_value = "90s", requires = "ndjson", conflicts_with = "topic", value_parser = humantime::parse_duration)]
    retry_for: Duration,
    /// Address of the gateway
    #[arg(long, env = "VIDETTE_URL", default_value = DEFAULT_URL, value_parser = gateway_url)]
    url: String,
}

pub(super) async fn run(args: PublishArgs) -> Outcome {
    match args.ndjson {
        Some(path) => {
            let numbering = Numbering {
                from_line: args.from_line,
                id_prefix: args.id_prefix,
            };
            stream::run(stream::Job {
                path,
                numbering,
                url: args.url,
                retry_for: args.retry_for,
            })
            .await
        }
        None => publish_one(args).await,
    }
}

async fn publish_one(args: PublishArgs) -> Outcome {
    let topic = args.topic.unwrap_or_default();
    let topic = percent_encoding::utf8_percent_encode(&topic, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{}/v1/topics/{topic}", args.url);
    let named = [("type", &args.kind), ("id", &args.id)];
    let query: Vec<_> = named
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|v| (name, v)))
        .collect();
    let mut request = reqwest::Client::new()
        .post(url)
        .query(&query)
        .body(data(&args.data).await?);
    if let Some(content_type) = &args.content_type {
        request = request.header("content-type", content_type);
    }
    let response = request
        .send()
        .await
        .map_err(|e| unreachable(&args.url, &e))?;
    if !response.status().is_success() {
        return Err(Failure::new(problem_text(response).await));
    }
    let answer: Value = response.json().await.map_err(Failure::new)?;
    let repeated = if answer["duplicate"] == true {
        "  (published before)"
    } else {
        ""
    };
    println!(
        "{}{repeated}",
        answer["cursor"].as_str().unwrap_or_default()
    );
    Ok(())
}

async fn data(argument: &str) -> Result<Vec<u8>, Failure> {
    if argument != "-" {
        return Ok(argument.as_bytes().to_vec());
    }
    let mut data = Vec::new();
    let bound = limits::MAX_EVENT_BYTES_CEILING as u64 + 1; // one more is enough for the gateway to refuse it
    tokio::io::stdin()
        .take(bound)
        .read_to_end(&mut data)
        .await
        .map_err(Failure::new)?;
    Ok(data)
}

fn unreachable(url: &str, fault: &reqwest::Error) -> Failure {
    Failure::new(format!(
        "no gateway at {url}: {fault}. Start one with `vidette serve`, or say where it is with --url"
    ))
}
