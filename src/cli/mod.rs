//! The `vidette` command, one file per subcommand.
//!
//! Exit codes: 0 done, 1 failed, 64 (`EX_USAGE`) wrong flags or configuration.

mod check;
mod config;
mod connect;
mod copy;
mod demo;
mod doctor;
mod documents;
mod epoch;
mod nats;
mod open_files;
mod operate;
mod publish;
mod ready;
mod reload;
mod serve;
mod settings;
mod signals;
mod source;
mod tail;
mod token;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::client::{ClientError, ClientErrorKind};

/// `EX_USAGE` of sysexits.h.
const EX_USAGE: u8 = 64;

/// Where commands expect the gateway unless `--url` names another address.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A push gateway: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer
/// cursor, the vid.
///
/// A reader says "I have everything up to vid N", on any of these transports, and gets everything
/// after it: in order, each event once, and is explicitly notified when events were lost to
/// retention.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

const EXAMPLES: &str = "Examples:
  vidette serve --demo                        start a gateway with demo events on port 8080
  vidette publish door.3 '{\"doorno\":3}'       publish one event
  vidette tail 'door.>' --after earliest      print what is retained, then each new event
  vidette bench fanout -n 1000                start a gateway and measure it
  curl -N 'http://127.0.0.1:8080/v1/sse?after=earliest'
  grpcurl -plaintext -d '{\"after\":\"earliest\"}' 127.0.0.1:8080 vidette.v1.EventBus/Subscribe";

#[derive(Subcommand)]
enum CliCommand {
    Serve(serve::ServeArgs),
    Publish(publish::PublishArgs),
    Copy(copy::CopyArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Epoch(epoch::EpochArgs),
    Ready(ready::ReadyArgs),
    Source(source::SourceArgs),
    Doctor(doctor::DoctorArgs),
    Tail(tail::TailArgs),
    Status(operate::StatusArgs),
    Topics(operate::TopicsArgs),
    Connections(operate::ConnectionsArgs),
    Admin(operate::AdminArgs),
    Token(token::TokenArgs),
    #[cfg(feature = "bench")]
    Bench(vidette_bench::BenchArgs),
    #[command(hide = true)]
    Completions(documents::CompletionsArgs),
    #[command(hide = true)]
    Man(documents::ManArgs),
}

/// Why a command failed, as a text for a person and an exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl Display) -> Self {
        Failure {
            text: text.to_string(),
            code: 1,
        }
    }

    fn usage(text: impl Display) -> Self {
        Failure {
            text: text.to_string(),
            code: EX_USAGE,
        }
    }

    /// What is wrong with the address or the files that a client was given.
    fn wrong_flags(error: ClientError) -> Self {
        match error.kind() {
            ClientErrorKind::Address => Failure::usage(format!("--url: {error}")),
            _ => Failure::usage(error),
        }
    }

    /// The same failure with another line behind its text.
    fn with_line(mut self, line: &str) -> Self {
        self.text = format!("{}\n{line}", self.text);
        self
    }

    fn print(&self) -> ExitCode {
        // Nobody may be reading any more, which is no reason for another code.
        let _ = writeln!(std::io::stderr(), "vidette: {}", self.text);
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error.kind() {
            // The address is a flag, so a wrong one is wrong usage.
            ClientErrorKind::Address => Failure::wrong_flags(error),
            _ => Failure::new(error),
        }
    }
}

type CommandResult = Result<(), Failure>;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return print_usage(&message),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// Prints what is wrong with the flags, or the help that was asked for, which is no failure.
fn print_usage(message: &clap::Error) -> ExitCode {
    // Help goes to standard output, and a wrong flag to standard error.
    let _ = message.print();
    if message.use_stderr() {
        ExitCode::from(EX_USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

fn run(command: CliCommand) -> CommandResult {
    // Each command has the runtime that suits it.
    let runtime = command.runtime().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let result = runtime.block_on(command.run());

    // A thread that reads standard input cannot be ended: do not wait for it.
    runtime.shutdown_background();
    result
}

impl CliCommand {
    /// A client has one thread: its HTTP library loses a request, and waits for ever, when the
    /// gateway resets a connection while another thread hands the request over (hyper 1.12; one in
    /// 3,000 of such resets).
    fn runtime(&self) -> Builder {
        match self {
            CliCommand::Copy(_) | CliCommand::Serve(_) => Builder::new_multi_thread(),
            #[cfg(feature = "bench")]
            CliCommand::Bench(_) => Builder::new_multi_thread(),
            _ => Builder::new_current_thread(),
        }
    }

    async fn run(self) -> CommandResult {
        match self {
            CliCommand::Copy(args) => copy::run(args).await,
            CliCommand::Check(args) => check::run(args).await,
            CliCommand::Completions(args) => documents::print_completions(&args),
            CliCommand::Config(args) => config::run(args),
            CliCommand::Doctor(args) => doctor::run(args).await,
            CliCommand::Epoch(args) => epoch::run(args).await,
            CliCommand::Man(args) => documents::write_man_pages(&args),
            CliCommand::Serve(args) => serve::run(args).await,
            CliCommand::Publish(args) => publish::run(args).await,
            CliCommand::Ready(args) => ready::run(args).await,
            CliCommand::Source(args) => source::run(args),
            CliCommand::Tail(args) => tail::run(args).await,
            CliCommand::Status(args) => operate::status(args).await,
            CliCommand::Topics(args) => operate::topics(args).await,
            CliCommand::Connections(args) => operate::connections(args).await,
            CliCommand::Admin(args) => operate::admin(args).await,
            CliCommand::Token(args) => token::run(args),
            #[cfg(feature = "bench")]
            CliCommand::Bench(args) => vidette_bench::run(args).await.map_err(Failure::new),
        }
    }
}
