//! What can be asked of `vidette bench`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use super::address::Address;
use super::load::Via;
use crate::limits;

/// Measure a gateway: one that runs, or one that is started for it.
///
/// Every event carries when it was due and its number, so what is late, missing, repeated or out of
/// order is counted, for each reader. It exits with 1 when anything was missing or repeated. Client
/// and server share the machine: compare only what was measured together.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: What,
}

const EXAMPLES: &str = "Examples:
  vidette bench fanout                                   1,000 SSE readers of one topic, 100 events a second
  vidette bench fanout -n 10000 -k 10000 -r 5000 -p 4    each reader has its own topic
  vidette bench fanout --churn 20 -d 1800                pages that come and go, for half an hour
  vidette bench idle -n 19000                            memory of a connection that only waits
  vidette bench publish -p 8 --batch 100                 as fast as they are accepted
  vidette bench grpc -n 1000 -c 10 --json
  vidette bench resume --behind 10000 --engine memory
  vidette bench poll --url http://127.0.0.1:8080 --server-pid \"$(pidof vidette)\"";

#[derive(Subcommand)]
pub(crate) enum What {
    /// Events to readers by Server-Sent Events
    Fanout {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        churn: ChurnArgs,
    },
    /// Events to readers by long-poll
    Poll(LoadArgs),
    /// Events to readers by gRPC, many streams on few connections
    Grpc {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        streams: StreamArgs,
    },
    /// Events as fast as the gateway accepts them, to one reader
    #[command(mut_arg("readers", |arg| arg.default_value("1")), mut_arg("rate", |arg| arg.default_value("0")))]
    #[command(mut_arg("publishers", |arg| arg.default_value("8")))]
    Publish(LoadArgs),
    /// Readers that wait, and nothing is published: connections a second, memory of one
    Idle(IdleArgs),
    /// Readers that come back all at once and read what they have missed, while others read live
    Resume(ResumeArgs),
}

#[derive(Args)]
pub(crate) struct TargetArgs {
    /// Address of a running gateway [default: one is started, in a temporary folder]. For comparing
    /// with other servers: the address to read from, with a path; {topic}, {k} (the topic's number)
    /// and {cursor} are filled in
    #[arg(long, value_parser = address)]
    pub(crate) url: Option<String>,
    /// For comparing with other servers: where events are posted
    #[arg(long, requires = "url", value_parser = address)]
    pub(crate) publish_url: Option<String>,
    /// Processes whose CPU and memory are measured, with their children
    #[arg(long, value_delimiter = ',', requires = "url")]
    pub(crate) server_pid: Vec<u32>,
    /// Engine of the gateway that is started
    #[arg(
        long,
        value_name = "sqlite|memory",
        default_value = "sqlite",
        conflicts_with = "url"
    )]
    pub(crate) engine: String,
    /// Configuration of the gateway that is started
    #[arg(long, conflicts_with = "url")]
    pub(crate) config: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone)]
pub(crate) struct ReaderArgs {
    /// Readers
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = at_most(limits::READERS))]
    pub(crate) readers: usize,
    /// Topics; reader i reads topic i mod K
    #[arg(short = 'k', long, default_value_t = 1, value_parser = at_most(limits::READERS))]
    pub(crate) topics: usize,
    /// Milliseconds the readers' thread sleeps between two looks at its sockets. More costs the
    /// server less, and adds as much to the latency: compare only with equal ones
    #[arg(long, default_value_t = 0.5, value_parser = milliseconds)]
    pub(crate) coalesce: f64,
}

#[derive(Args, Clone)]
pub(crate) struct StreamArgs {
    /// HTTP/2 connections that the gRPC streams share
    #[arg(short, long, default_value_t = 10, value_parser = at_most(limits::READERS))]
    pub(crate) connections: usize,
}

#[derive(Args, Clone)]
pub(crate) struct PublishArgs {
    /// Events a second over all publishers; 0: as fast as they are accepted
    #[arg(short, long, default_value_t = 100.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Seconds to publish
    #[arg(short = 'd', long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Publishers, each with a connection of its own
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) publishers: u8,
    /// Events a request
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=limits::MAX_BATCH_EVENTS as i64))]
    pub(crate) batch: u32,
    /// Bytes of an event's data; at least 32, for its marker
    #[arg(short, long, default_value_t = 128, value_parser = at_most(limits::MAX_EVENT_BYTES_CEILING))]
    pub(crate) size: usize,
    /// Seconds without a delivery until what is missing is given up
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) drain: f64,
}

#[derive(Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) readers: ReaderArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
}

#[derive(Args)]
pub(crate) struct ChurnArgs {
    /// Readers a second that hang up at any byte, and come back with the id of the last whole event
    /// that they had. What was due meanwhile is counted as any other event, but for its latency
    #[arg(long, default_value_t = 0.0, value_parser = rate, value_name = "A_SECOND")]
    pub(crate) churn: f64,
}

#[derive(Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) readers: ReaderArgs,
    #[command(flatten)]
    pub(crate) streams: StreamArgs,
    /// How they wait
    #[arg(long, value_enum, default_value = "sse")]
    pub(crate) via: Via,
    /// Seconds to hold them
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) hold: f64,
}

#[derive(Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) streams: StreamArgs,
    /// How they resume
    #[arg(long, value_enum, default_value = "sse")]
    pub(crate) via: Via,
    /// Events each of them has missed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) behind: u32,
    /// Readers that read live meanwhile, by SSE
    #[arg(long, default_value_t = 100, value_parser = at_most(limits::READERS))]
    pub(crate) live: usize,
}

fn address(text: &str) -> Result<String, String> {
    Address::parse(text).map(|_| text.to_owned())
}

fn at_most(bound: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=bound as u64)
}

fn number(text: &str, bound: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=bound).contains(&number) {
        Ok(number)
    } else {
        Err(format!("not between 0 and {bound}"))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 10_000_000.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 3600.0)
}

fn milliseconds(text: &str) -> Result<f64, String> {
    number(text, 1000.0)
}
