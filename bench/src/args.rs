//! The command line of `vidette bench`.

use std::path::PathBuf;

use clap::builder::{RangedI64ValueParser, RangedU64ValueParser};
use clap::{Args, Subcommand};

use super::address::Address;
use super::load::Transport;
use super::template::{BodyTemplate, MessageTemplate};
use crate::limits;

/// Measure a gateway: a running one, or one that is started for the measurement.
///
/// Every event carries its number and when it was due, so late, missing, repeated and reordered
/// events are counted for each reader. The exit code is 1 when anything was missing, repeated or
/// out of order. Client and server share the machine: compare only what was measured together.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

const EXAMPLES: &str = "Examples:
  1,000 SSE readers of one topic, 100 events a second:
    vidette bench fanout
  Each reader has its own topic:
    vidette bench fanout -n 10000 -k 10000 -r 5000 -p 4
  Pages that come and go, for half an hour:
    vidette bench fanout --churn 20 -d 1800
  Memory of an idle connection:
    vidette bench idle -n 19000
  As fast as events are accepted:
    vidette bench publish -p 8 --batch 100
  Others:
    vidette bench grpc -n 1000 -c 10 --json
    vidette bench resume --behind 10000 --engine memory
    vidette bench poll --url http://127.0.0.1:8080 --server-pid \"$(pidof vidette)\"
    vidette bench idle --url https://localhost:8443 --ca ca.pem --token-file token";

impl BenchCommand {
    pub(crate) fn prints_json(&self) -> bool {
        self.target().json
    }

    fn target(&self) -> &TargetArgs {
        // Every command measures one server.
        match self {
            BenchCommand::Fanout { load, .. }
            | BenchCommand::Grpc { load, .. }
            | BenchCommand::Poll(load)
            | BenchCommand::Publish(load) => &load.target,
            BenchCommand::Idle(idle) => &idle.target,
            BenchCommand::Resume(resume) => &resume.load.target,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum BenchCommand {
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
    #[command(mut_arg("readers", |arg| arg.default_value("1")))]
    #[command(mut_arg("rate", |arg| arg.default_value("0")))]
    #[command(mut_arg("publishers", |arg| arg.default_value("8")))]
    Publish(LoadArgs),
    /// Readers that wait while nothing is published: connections per second, memory of one
    Idle(IdleArgs),
    /// Readers that all come back at once and read what they have missed, while others read live
    Resume(ResumeArgs),
}

#[derive(Args)]
pub(crate) struct TargetArgs {
    /// Address of a running gateway [default: one is started, in a temporary folder]. To compare
    /// with other servers: the address to read from, with a path; {topic}, {k} (the topic's number)
    /// and {cursor} are filled in
    #[arg(long, value_parser = address)]
    pub(crate) url: Option<String>,
    /// Publish to the gateway at --url although its log has events: those of this run stay there as
    /// long as it keeps any. At a terminal it is asked for otherwise
    #[arg(long, requires = "url")]
    pub(crate) yes: bool,
    /// To compare with other servers: where events are posted
    #[arg(long, requires = "url", value_parser = address)]
    pub(crate) publish_url: Option<String>,
    /// To compare with other servers: the body of a publish, with {topic} and {payload}
    #[arg(long, requires = "publish_url", value_parser = body)]
    pub(crate) publish_body: Option<BodyTemplate>,
    /// To compare with other servers: the message of a gRPC call, in hex, with {topic}; < and > put
    /// the length of what they enclose before it. The address' path is the method
    #[arg(long, requires = "url", value_parser = message)]
    pub(crate) grpc_request: Option<MessageTemplate>,
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
    /// Program of the gateway that is started [default: this program]: builds are compared with one
    /// and the same client
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) gateway: Option<PathBuf>,
    /// Configuration of the gateway that is started
    #[arg(long, conflicts_with = "url")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct AccessArgs {
    /// Certificates of authorities, in PEM, that are trusted for https://
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate for https://
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure_tls: bool,
    /// File with the token or key that readers and publishers show
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Clone)]
pub(crate) struct ReaderArgs {
    /// Readers
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = at_most(limits::READERS))]
    pub(crate) readers: usize,
    /// Topics; reader i reads topic i mod K
    #[arg(short = 'k', long, default_value_t = 1, value_parser = at_most(limits::READERS))]
    pub(crate) topics: usize,
    /// Milliseconds that the readers' thread sleeps between two polls of its sockets. A longer
    /// sleep costs the server less and adds as much to the latency: compare only equal values
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
    /// Events per second over all publishers; 0: as fast as they are accepted
    #[arg(short, long, default_value_t = 100.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Seconds to publish
    #[arg(short = 'd', long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Publishers, each with a connection of its own
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) publishers: u8,
    /// Events per request
    #[arg(short, long, default_value_t = 1, value_parser = batch())]
    pub(crate) batch: u32,
    /// Bytes of an event's data; at least 32, for its marker
    #[arg(short, long, default_value_t = 128, value_parser = payload_bytes())]
    pub(crate) size: usize,
    /// Seconds without a delivery after which missing events are given up
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
    /// Readers per second that hang up at any byte, and come back with the id of the last complete
    /// event that they received. Events that were due meanwhile count like any others, except for
    /// their latency
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
    pub(crate) via: Transport,
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
    pub(crate) via: Transport,
    /// Events that each of them has missed
    #[arg(long, default_value_t = 10_000, value_parser = behind())]
    pub(crate) behind: u32,
    /// Readers that read live meanwhile, by SSE
    #[arg(long, default_value_t = 100, value_parser = at_most(limits::READERS))]
    pub(crate) live: usize,
}

fn address(text: &str) -> Result<String, String> {
    // Only checked here, so that a wrong address is an error of the command line.
    Address::parse(text).map(|_| text.to_owned())
}

fn body(text: &str) -> Result<BodyTemplate, String> {
    BodyTemplate::parse(text)
}

fn message(text: &str) -> Result<MessageTemplate, String> {
    MessageTemplate::parse(text)
}

fn batch() -> RangedI64ValueParser<u32> {
    let most = i64::try_from(limits::MAX_BATCH_EVENTS).unwrap_or(i64::MAX);
    RangedI64ValueParser::new().range(1..=most)
}

fn behind() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=10_000_000)
}

fn payload_bytes() -> RangedU64ValueParser<usize> {
    at_most(limits::MAX_EVENT_BYTES_CEILING)
}

fn at_most(bound: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=bound as u64)
}

fn number(text: &str, bound: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;

    // Infinity and NaN, which parse as well, are in no range.
    let is_allowed = (0.0..=bound).contains(&number);
    is_allowed
        .then_some(number)
        .ok_or_else(|| format!("not between 0 and {bound}"))
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
