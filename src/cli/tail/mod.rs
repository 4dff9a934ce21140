//! `vidette tail`: prints what the bus has, and resumes by itself.
//!
//! Invariant: an event counts as read only once it has been printed, so a break of the connection
//! repeats and loses nothing.

mod print;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;

use super::connect::ConnectArgs;
use super::{CommandResult, Failure};
use crate::client::{Interruption, ReadItem, ReadOptions, Reader, ReceivedEvent, Transport};
use print::{EventPrinter, Printed};

/// Print events: those that are retained, then each new one as it comes.
///
/// After a break of the connection it resumes where it stopped, by itself. Events that were lost to
/// retention meanwhile are reported as a gap on standard error.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette tail                                  everything from now on
  vidette tail 'door.>' --after earliest        all doors, from the oldest retained event
  vidette tail --since 15m --via grpc           the last quarter of an hour, over gRPC
  vidette tail --no-follow --type refused       all retained events of this type, then stop
  vidette tail --after 1042 --limit 10 --json   ten events after vid 1042, a JSON object per line
  vidette tail --url https://gateway.example --token-file token.jwt")]
pub(super) struct TailArgs {
    /// Topics to read; * stands for one token, a last > for one or more [default: >]
    topics: Vec<String>,
    /// Start after this cursor (1042 or 1042-k3x9q2), or at earliest or latest [default: latest;
    /// with --no-follow, earliest]
    #[arg(long, value_name = "CURSOR", group = "start")]
    after: Option<String>,
    /// Start at this time (RFC 3339), or this long ago (15m)
    #[arg(long, value_name = "TIME", group = "start")]
    since: Option<String>,
    /// Start with the newest event of every topic
    #[arg(long, group = "start")]
    snapshot: bool,
    /// Print what there is and stop: nothing is waited for
    #[arg(long)]
    no_follow: bool,
    /// Print only events of this type; may be repeated. An empty one is for events without a type
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// How to read: Server-Sent Events, long-poll or gRPC
    #[arg(long, value_enum, default_value = "sse")]
    via: Transport,
    /// Print each event as its JSON object, for other programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: ConnectArgs,
}

impl ValueEnum for Transport {
    fn value_variants<'a>() -> &'a [Self] {
        &[Transport::Sse, Transport::LongPoll, Transport::Grpc]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        // The names that `--via` takes are not those of the library.
        Some(PossibleValue::new(match self {
            // The command has a default of its own, which is one of the three.
            Transport::Auto => return None,
            Transport::Sse => "sse",
            Transport::LongPoll => "poll",
            Transport::Grpc => "grpc",
        }))
    }
}

impl TailArgs {
    /// Is an event to be printed?
    fn shows(&self, event: &ReceivedEvent) -> bool {
        let kind = event.kind.as_deref().unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|shown| shown == kind)
    }

    fn options(&self) -> ReadOptions {
        let options = ReadOptions::new().topics(&self.topics).via(self.via);
        // At most one of them is given; clap has made sure of that.
        match (&self.after, &self.since) {
            (Some(cursor), _) => options.after(cursor),
            (_, Some(time)) => options.since(time),
            _ if self.snapshot => options.snapshot(),
            // There is nothing to stop at behind the end.
            _ if self.no_follow => options.after("earliest"),
            _ => options,
        }
    }
}

pub(super) async fn run(args: TailArgs) -> CommandResult {
    let reader = args.gateway.client()?.read(args.options());
    let printer = EventPrinter::new(args.json, args.limit);
    print_all(reader, printer, &args).await
}

/// Prints what comes, until all that was asked for is printed or nobody reads it any more.
async fn print_all(
    mut reader: Reader,
    mut printer: EventPrinter,
    args: &TailArgs,
) -> CommandResult {
    let mut has_connected = false;
    // Asking for the next item says that the one before has been printed.
    while let Some(item) = reader.next().await {
        match item? {
            ReadItem::CaughtUp(_) if args.no_follow => break,
            // Who wants what there is now does not wait for a gateway.
            ReadItem::Interrupted(interruption) if args.no_follow && !has_connected => {
                return Err(interruption.error.into());
            }
            ReadItem::Event(event) if !args.shows(&event) => {}
            ReadItem::Event(event) => {
                if printer.print(&event).map_err(Failure::new)? == Printed::Last {
                    break;
                }
            }
            item => {
                has_connected |= matches!(item, ReadItem::Connected(_));
                print_notice(&item);
            }
        }
    }
    Ok(())
}

/// Prints what a person should know beside the events.
fn print_notice(item: &ReadItem) {
    let text = match item {
        ReadItem::Connected(log) if !log.filter.is_empty() => cut_text(&log.filter),
        ReadItem::Gap(gap) => gap.to_string(),
        ReadItem::Closing { reason } => closing_text(reason),
        ReadItem::Interrupted(interruption) => interruption_text(interruption),
        // The other items move the position and nothing else.
        _ => return,
    };
    eprintln!("vidette: {text}");
}

/// What is served, where that is less than what was asked for.
fn cut_text(served: &[String]) -> String {
    format!("these credentials may read {} of it", served.join(" "))
}

fn interruption_text(interruption: &Interruption) -> String {
    let (error, from) = (&interruption.error, &interruption.resume_from);
    let wait_ms = interruption.wait.as_millis();
    format!("{error}; resuming after {from} in {wait_ms} ms")
}

/// Why the gateway ends a stream, in words.
fn closing_text(reason: &str) -> String {
    // A later gateway may have other reasons.
    match reason {
        "shutdown" => "the gateway is shutting down".to_owned(),
        "busy" => "the gateway has no capacity for another reader now".to_owned(),
        "behind" => "the gateway cannot reach its log".to_owned(),
        "expired" => "the credentials have expired or were revoked".to_owned(),
        other => format!("the gateway ends the stream ({other})"),
    }
}
