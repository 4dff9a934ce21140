//! `vidette publish`: one event, or a stream of them from standard input.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{DEFAULT_URL, Failure, Outcome, gateway_url, problem_text};
use crate::limits;

/// Publish one event, or a stream of events from standard input.
///
/// Prints the vid once the event is durable. The content type is found from the data: JSON, else text, else bytes.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette publish door.3 '{\"doorno\":3}' --type opened
  date | vidette publish clock -
  vidette publish --ndjson < events.ndjson      one {\"topic\":…,\"data\":…} a line")]
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
    /// Read events from standard input, one JSON object a line
    #[arg(long)]
    ndjson: bool,
    /// Address of the gateway
    #[arg(long, env = "VIDETTE_URL", default_value = DEFAULT_URL, value_parser = gateway_url)]
    url: String,
}

pub(super) async fn run(args: PublishArgs) -> Outcome {
    if args.ndjson { publish_stream(&args.url).await } else { publish_one(args).await }
}

async fn publish_one(args: PublishArgs) -> Outcome {
    let topic = args.topic.unwrap_or_default();
    let topic = percent_encoding::utf8_percent_encode(&topic, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{}/v1/topics/{topic}", args.url);
    let named = [("type", &args.kind), ("id", &args.id)];
    let query: Vec<_> = named.iter().filter_map(|(name, value)| value.as_ref().map(|v| (name, v))).collect();
    let mut request = reqwest::Client::new().post(url).query(&query).body(data(&args.data).await?);
    if let Some(content_type) = &args.content_type {
        request = request.header("content-type", content_type);
    }
    let response = request.send().await.map_err(|e| unreachable(&args.url, &e))?;
    if !response.status().is_success() {
        return Err(Failure::new(problem_text(response).await));
    }
    let answer: Value = response.json().await.map_err(Failure::new)?;
    let repeated = if answer["duplicate"] == true { "  (published before)" } else { "" };
    println!("{}{repeated}", answer["cursor"].as_str().unwrap_or_default());
    Ok(())
}

async fn data(argument: &str) -> Result<Vec<u8>, Failure> {
    if argument != "-" {
        return Ok(argument.as_bytes().to_vec());
    }
    let mut data = Vec::new();
    let bound = limits::MAX_EVENT_BYTES_CEILING as u64 + 1; // one more is enough for the gateway to refuse it
    tokio::io::stdin().take(bound).read_to_end(&mut data).await.map_err(Failure::new)?;
    Ok(data)
}

fn unreachable(url: &str, fault: &reqwest::Error) -> Failure {
    Failure::new(format!("no gateway at {url}: {fault}. Start one with `vidette serve`, or say where it is with --url"))
}

async fn publish_stream(url: &str) -> Outcome {
    let body = reqwest::Body::wrap_stream(ReaderStream::new(tokio::io::stdin()));
    let request = reqwest::Client::new().post(format!("{url}/v1/events"));
    let response = request
        .header("content-type", "application/x-ndjson")
        .body(body)
        .send()
        .await
        .map_err(|e| unreachable(url, &e))?;
    if !response.status().is_success() {
        return Err(Failure::new(problem_text(response).await));
    }
    let reader = StreamReader::new(response.bytes_stream().map(|chunk| chunk.map_err(std::io::Error::other)));
    let mut answers = FramedRead::new(reader, LinesCodec::new_with_max_length(limits::MAX_LINE_BYTES));
    let mut tally = Tally::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|e| {
            Failure::new(format!("the gateway's answers broke off after {} events: {e}", tally.published))
        })?;
        tally.count(&serde_json::from_str(&answer).unwrap_or_default());
    }
    tally.finish()
}

/// What has been answered, and the line that shows it while it goes on.
struct Tally {
    published: u64,
    duplicates: u64,
    failed: u64,
    last_cursor: String,
    begun: Instant,
    bar: ProgressBar,
}

impl Tally {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {pos} events, {per_sec}, {elapsed}")
                .expect("a template of our own"),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Tally { published: 0, duplicates: 0, failed: 0, last_cursor: String::new(), begun: Instant::now(), bar }
    }

    fn count(&mut self, answer: &Value) {
        if let Some(cursor) = answer["cursor"].as_str() {
            cursor.clone_into(&mut self.last_cursor);
            self.published += 1;
            self.duplicates += u64::from(answer["duplicate"] == true);
            self.bar.set_position(self.published);
        } else {
            self.failed += 1;
            let (line, detail) =
                (&answer["line"], answer["error"]["detail"].as_str().unwrap_or("an answer that cannot be read"));
            self.bar.suspend(|| eprintln!("vidette: line {line}: {detail}"));
        }
    }

    fn finish(self) -> Outcome {
        self.bar.finish_and_clear();
        let Tally { published, duplicates, failed, last_cursor, begun, .. } = self;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{published} events published in {seconds:.1} s, {duplicates} of them known already; up to {last_cursor}"
        );
        if failed > 0 { Err(Failure::new(format!("{failed} lines were not published"))) } else { Ok(()) }
    }
}
