//! The `vidette` command, one file a subcommand.
//!
//! Exit codes: 0 done, 1 failed, 64 (`EX_USAGE`) wrong flags or configuration.

mod demo;
mod publish;
mod serve;
mod source;
mod tail;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::{ClientError, ClientErrorKind};

/// `EX_USAGE` of sysexits.h.
const EX_USAGE: u8 = 64;

/// Where the commands that talk to a gateway look for it.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A push gateway: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer
/// cursor, the vid.
///
/// A reader says "I have everything up to vid N", on whichever transport, and gets everything after
/// it: in order, nothing lost, nothing twice, told plainly when something is gone.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  vidette serve --demo                        a gateway with a door that opens every second; see http://127.0.0.1:8080
  vidette publish door.3 '{\"doorno\":3}'       publish one event
  vidette tail 'door.>' --after earliest      read what is retained, then live
  vidette bench fanout -n 1000                measure a gateway that is started for it
  curl -N 'http://127.0.0.1:8080/v1/sse?after=earliest'
  grpcurl -plaintext -d '{\"after\":\"earliest\"}' 127.0.0.1:8080 vidette.v1.EventBus/Subscribe";

#[derive(Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Publish(publish::PublishArgs),
    Source(source::SourceArgs),
    Tail(tail::TailArgs),
    #[cfg(feature = "bench")]
    Bench(vidette_bench::BenchArgs),
}

/// What a command fails with: a text for a person, and an exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl std::fmt::Display) -> Self {
        Failure {
            text: text.to_string(),
            code: 1,
        }
    }

    fn usage(text: impl std::fmt::Display) -> Self {
        Failure {
            text: text.to_string(),
            code: EX_USAGE,
        }
    }

    /// The same failure with another line behind its text.
    fn with_line(mut self, line: &str) -> Self {
        self.text = format!("{}\n{line}", self.text);
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error.kind() {
            ClientErrorKind::Address => Failure::usage(format!("--url: {error}")),
            _ => Failure::new(error),
        }
    }
}

type CommandResult = Result<(), Failure>;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() {
                ExitCode::from(EX_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("vidette: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command) -> CommandResult {
    let runtime = runtime_of(&command)
        .enable_all()
        .build()
        .map_err(Failure::new)?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Source(args) => source::run(args),
            Command::Tail(args) => tail::run(args).await,
            #[cfg(feature = "bench")]
            Command::Bench(args) => vidette_bench::run(args).await.map_err(Failure::new),
        }
    });
    // Standard input may be waited for on a thread that nothing can end.
    runtime.shutdown_background();
    result
}

/// A client has one thread: its HTTP library loses a request, and waits for ever, when the gateway
/// resets a connection while another thread hands the request over (hyper 1.12; one in 3,000 of
/// such resets).
fn runtime_of(command: &Command) -> tokio::runtime::Builder {
    match command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        #[cfg(feature = "bench")]
        Command::Bench(_) => tokio::runtime::Builder::new_multi_thread(),
        Command::Publish(_) | Command::Source(_) | Command::Tail(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
    }
}
