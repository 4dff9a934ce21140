//! `vidette ready`: for health checks of containers, and for scripts that have started a gateway.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::ConnectArgs;
use super::{CommandResult, Failure};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);
/// The one question of a command that does not wait may take this long.
const ANSWER: Duration = Duration::from_secs(5);

/// Ask a gateway whether it is ready: events can be published and read.
///
/// The exit code is 0 where it is, else 1.
#[derive(Args)]
#[command(after_help = "Example:
  vidette serve & vidette ready --wait 10s && vidette publish door.3 '{}'")]
pub(super) struct ReadyArgs {
    /// Ask again for up to this long, as 10s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    gateway: ConnectArgs,
}

pub(super) async fn run(args: ReadyArgs) -> CommandResult {
    let client = args.gateway.client()?;
    let give_up = Instant::now() + args.wait.unwrap_or(ANSWER);
    loop {
        let error = match timeout_at(give_up, client.ready()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Failure::from(error),
            Err(_) => return Err(Failure::new("the gateway does not answer in time")),
        };
        if args.wait.is_none() || Instant::now() + PAUSE >= give_up {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
}
