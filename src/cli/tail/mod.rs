//! `vidette tail`: reads the bus on any transport, and resumes by itself.
//!
//! Invariant: the cursor moves only behind what has been printed, so a break repeats and loses
//! nothing.

mod grpc;
mod poll;
mod print;
mod sse;

use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_stream::Stream;

use super::{DEFAULT_URL, Failure, Outcome, gateway_url};
use print::Printer;

/// Read the bus: what is retained, then live. Resumes by itself after a break.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette tail                                  everything from now on
  vidette tail 'door.>' --after earliest        all doors, from the oldest event kept
  vidette tail --since 15m --via grpc           the last quarter of an hour, over gRPC
  vidette tail --after 1042 --limit 10 --json   ten events after vid 1042, a JSON object a line")]
pub(super) struct TailArgs {
    /// Topics; * stands for one token, a last > for one or more [default: >]
    topics: Vec<String>,
    /// Start after this cursor, or earliest, or latest [default: latest]
    #[arg(long, group = "start")]
    after: Option<String>,
    /// Start at this time (RFC 3339) or so long ago (15m)
    #[arg(long, group = "start")]
    since: Option<String>,
    /// Start with the newest event of every topic
    #[arg(long, group = "start")]
    snapshot: bool,
    /// Stop after so many events
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Transport
    #[arg(long, value_enum, default_value = "sse")]
    via: Via,
    /// Print the JSON object of each event, for machines
    #[arg(long)]
    json: bool,
    /// Address of the gateway
    #[arg(long, env = "VIDETTE_URL", default_value = DEFAULT_URL, value_parser = gateway_url)]
    url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    Sse,
    Poll,
    Grpc,
}

/// What a transport brought.
enum Item {
    /// Something comes at least this often.
    Hello { heartbeat: Duration },
    /// An event's JSON object, and the cursor behind it.
    Event { json: Box<[u8]>, cursor: String },
    /// The position moved.
    Position(String),
    /// A gap, in words.
    Gap(String),
    /// The gateway ends the stream, and asks for this pause before the next try.
    Closing { reason: String, pause: Duration },
}

/// Why reading ended.
enum Break {
    /// Coming back makes sense, after the gateway's own pause at the earliest.
    Retry { why: String, pause: Duration },
    /// It does not.
    Final(String),
}

impl Break {
    /// Coming back makes sense at once.
    fn retry(why: String) -> Self {
        Break::Retry {
            why,
            pause: Duration::ZERO,
        }
    }
}

type Items = Pin<Box<dyn Stream<Item = Result<Item, Break>> + Send>>;

/// Where to begin, as the wire has it.
#[derive(Clone)]
struct Position {
    topics: Vec<String>,
    after: Option<String>,
    since: Option<String>,
    snapshot: bool,
}

impl Position {
    /// The query parameters of a subscription from here.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query: Vec<_> = self.topics.iter().map(|t| ("topic", t.clone())).collect();
        query.extend(self.after.clone().map(|a| ("after", a)));
        query.extend(self.since.clone().map(|s| ("since", s)));
        query.extend(self.snapshot.then(|| ("snapshot", "true".to_owned())));
        query
    }

    fn resume_after(&mut self, cursor: String) {
        self.after = Some(cursor);
        self.since = None;
        self.snapshot = false;
    }
}

/// A connection is given up after this many heartbeats without a byte.
const MISSED_HEARTBEATS: u32 = 3;
/// How long a connection may be silent before its heartbeat is known; longer than a poll waits.
const FIRST_SILENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) async fn run(args: TailArgs) -> Outcome {
    let mut position = Position {
        topics: args.topics,
        after: args.after,
        since: args.since,
        snapshot: args.snapshot,
    };
    let mut printer = Printer::new(args.json, args.limit);
    let (mut pause, mut silence) = (FIRST_PAUSE, FIRST_SILENCE);
    loop {
        let url = args.url.clone();
        let items = match args.via {
            Via::Sse => sse::read(url, position.clone()),
            Via::Poll => poll::read(url, position.clone()),
            Via::Grpc => grpc::read(url, position.clone()),
        };
        let was_at = position.after.clone();
        let Some((why, least_pause)) =
            print_until_break(items, &mut printer, &mut position, &mut silence).await?
        else {
            return Ok(());
        };
        if position.after != was_at {
            pause = FIRST_PAUSE;
        }
        let from = position.after.as_deref().unwrap_or("the start");
        let wait = pause.max(least_pause);
        eprintln!(
            "vidette: {why}; resuming after {from} in {} ms",
            wait.as_millis()
        );
        tokio::time::sleep(wait + Duration::from_millis(fastrand::u64(..250))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Prints what comes. None when all that was asked for has been printed, or else why reading ended,
/// and how long the gateway wants to be left alone.
async fn print_until_break(
    mut items: Items,
    printer: &mut Printer,
    position: &mut Position,
    silence: &mut Duration,
) -> Result<Option<(String, Duration)>, Failure> {
    let mut least_pause = Duration::ZERO;
    loop {
        let Ok(next) = timeout(*silence, items.next()).await else {
            let why = format!("nothing came for {} s", silence.as_secs_f32());
            return Ok(Some((why, least_pause)));
        };
        match next {
            Some(Ok(Item::Hello { heartbeat })) => *silence = heartbeat * MISSED_HEARTBEATS,
            Some(Ok(Item::Closing { reason, pause })) => {
                least_pause = pause;
                eprintln!("vidette: {}", closing_text(&reason));
            }
            Some(Ok(item)) => match printer.take(item, position) {
                Ok(is_done) if is_done => return Ok(None),
                Ok(_) => {}
                // Whoever read the output has seen enough.
                Err(fault) if fault.kind() == ErrorKind::BrokenPipe => return Ok(None),
                Err(fault) => return Err(Failure::new(fault)),
            },
            Some(Err(Break::Final(why))) => return Err(Failure::new(why)),
            Some(Err(Break::Retry { why, pause })) => {
                return Ok(Some((why, least_pause.max(pause))));
            }
            None => return Ok(Some(("the stream ended".to_owned(), least_pause))),
        }
    }
}

/// What a refused request means: a fault of the request is final, one of the moment is not.
async fn refused(response: reqwest::Response) -> Break {
    let is_final = matches!(
        response.status().as_u16(),
        400 | 401 | 403 | 404 | 405 | 410
    );
    let pause = retry_after(&response);
    let text = super::problem_text(response).await;
    if is_final {
        Break::Final(text)
    } else {
        Break::Retry { why: text, pause }
    }
}

/// The wait that the gateway asks for with a refusal.
fn retry_after(response: &reqwest::Response) -> Duration {
    let header = response.headers().get("retry-after");
    let seconds = header.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    Duration::from_secs(seconds.unwrap_or(0).into())
}

/// Why the gateway ends a stream, in words.
fn closing_text(reason: &str) -> String {
    match reason {
        "shutdown" => "the gateway is shutting down".to_owned(),
        "busy" => "the gateway has no capacity for another reader now".to_owned(),
        "behind" => "the gateway cannot reach its log".to_owned(),
        "expired" => "the token has expired".to_owned(),
        other => format!("the gateway ends the stream ({other})"),
    }
}

fn gap_text(reason: &str, requested: &str, first: u64, last: u64) -> String {
    format!(
        "gap ({reason}): the cursor {requested} cannot be served, the gateway has vid {first} to {last}"
    )
}
