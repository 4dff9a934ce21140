//! `vidette bench`: how much a gateway bears, measured from outside.
//!
//! Readers and publishers are raw sockets in this process, the gateway is another one. Invariants:
//! - latency counts from when an event was due, so a backlog shows however it comes about;
//! - each reader is checked for missing, repeated and reordered events, and the run fails by them;
//! - the client is cheap (`load`), says what it took itself, and what others on the machine took
//!   meanwhile.

mod address;
mod answer;
mod args;
mod exchange;
mod gateway;
mod load;
mod markers;
mod measure;
mod meter;
mod process;
mod progress;
mod publish;
mod report;
mod resume;
mod scene;
mod tally;

mod limits;

pub use args::BenchArgs;
use args::What;
use load::Via;
use measure::{PLAIN, Shape};

/// Measures what was asked for and prints the report.
///
/// # Errors
/// A text for a person: the gateway could not be started or reached, or a reader did not get every
/// event once and in order.
pub async fn run(args: BenchArgs) -> Result<(), String> {
    let interrupt = tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            progress::interrupt();
        }
    });
    let measured = tokio::task::spawn_blocking(move || measure(&args.what))
        .await
        .map_err(|e| e.to_string())?;
    interrupt.abort();
    measured
}

fn measure(what: &What) -> Result<(), String> {
    let (json, report) = match what {
        What::Fanout { load, churn } => (
            load.target.json,
            measure::events(
                "fanout",
                Via::Sse,
                load,
                Shape {
                    churn: churn.churn,
                    ..PLAIN
                },
            ),
        ),
        What::Poll(load) => (
            load.target.json,
            measure::events("poll", Via::Poll, load, PLAIN),
        ),
        What::Publish(load) => (
            load.target.json,
            measure::events("publish", Via::Sse, load, PLAIN),
        ),
        What::Grpc { load, streams } => {
            let shape = Shape {
                connections: streams.connections,
                ..PLAIN
            };
            (
                load.target.json,
                measure::events("grpc", Via::Grpc, load, shape),
            )
        }
        What::Idle(idle) => (idle.target.json, measure::idle(idle)),
        What::Resume(resume) => (resume.load.target.json, resume::run(resume)),
    };
    let report = report?;
    if json {
        println!(
            "{}",
            serde_json::to_string(&report).map_err(|e| e.to_string())?
        );
    } else {
        println!("{report}");
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err("not every reader got every event once and in order".to_owned())
    }
}
