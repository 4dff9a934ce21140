//! `vidette bench`: how much load a gateway can take, measured from outside.
//!
//! Readers and publishers are raw sockets in this process; the gateway is another process.
//! Invariants:
//! - latency counts from when an event was due, so a backlog shows however it comes about;
//! - each reader is checked for missing, repeated and reordered events, and any of them fails the
//!   run;
//! - the client is cheap (`load`), and reports what it and others on the machine used meanwhile.

mod access;
mod address;
mod answer;
mod args;
mod consent;
mod exchange;
mod gateway;
mod limits;
mod load;
mod markers;
mod measure;
mod memory_watch;
mod meter;
mod nats;
mod process;
mod progress;
mod publish;
mod report;
mod report_text;
mod resume;
mod tally;
mod template;
mod testbed;
mod tls;

pub use args::BenchArgs;
use args::BenchCommand;
use load::Transport;
use measure::{PLAIN, ReaderShape};
use report::Report;

/// Measures what was asked for and prints the report.
///
/// # Errors
/// A text for a person: the gateway could not be started or reached, or a reader did not get every
/// event once and in order.
pub async fn run(args: BenchArgs) -> Result<(), String> {
    // An interrupt ends the measuring early; what has been measured is still reported.
    let interrupt = tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            progress::interrupt();
        }
    });

    // Publishers and readers have threads of their own and block.
    let measured = tokio::task::spawn_blocking(move || measure_and_print(&args.command)).await;

    // From here on there is nothing left to end early.
    interrupt.abort();
    measured.map_err(|error| error.to_string())?
}

fn measure_and_print(command: &BenchCommand) -> Result<(), String> {
    let report = measure(command)?;
    if let Some(why) = report.why_nothing_happened() {
        return Err(why);
    }

    // The report comes first in any case: it shows what was wrong.
    print(&report, command.prints_json())?;
    if report.is_clean() {
        Ok(())
    } else {
        Err("not every reader got every event once and in order".to_owned())
    }
}

fn measure(command: &BenchCommand) -> Result<Report, String> {
    match command {
        BenchCommand::Fanout { load, churn } => {
            let shape = ReaderShape::with_churn(churn.churn);
            measure::events("fanout", Transport::Sse, load, shape)
        }
        // The plain runs differ in their transport, and in the defaults of their flags.
        BenchCommand::Poll(load) => measure::events("poll", Transport::Poll, load, PLAIN),
        BenchCommand::Publish(load) => measure::events("publish", Transport::Sse, load, PLAIN),
        BenchCommand::Grpc { load, streams } => {
            let shape = ReaderShape::with_connections(streams.connections);
            measure::events("grpc", Transport::Grpc, load, shape)
        }
        BenchCommand::Idle(idle) => measure::idle(idle),
        BenchCommand::Resume(resume) => resume::run(resume),
    }
}

fn print(report: &Report, as_json: bool) -> Result<(), String> {
    if as_json {
        let json = serde_json::to_string(report).map_err(|e| e.to_string())?;
        println!("{json}");
    } else {
        println!("{report}");
    }
    Ok(())
}
