//! `vidette publish --ndjson`: a stream of lines, with what a person sees of it.

use std::path::PathBuf;
use std::time::Duration;

use super::input::{self, InputLines, LineOptions, LinePlace};
use super::signals::InterruptSignals;
use super::tally::PublishTally;
use crate::cli::{CommandResult, Failure};
use crate::client::{Client, ClientErrorKind, Publisher};
use crate::limits;

/// What to publish, and where.
pub(super) struct LinesToPublish {
    pub(super) path: PathBuf,
    pub(super) options: LineOptions,
    pub(super) url: String,
    /// How long the gateway may be away.
    pub(super) retry_for: Duration,
}

pub(super) async fn run(lines: LinesToPublish) -> CommandResult {
    let mut signals = InterruptSignals::listen()?;
    let client = Client::new(&lines.url)?.retry_for(lines.retry_for);
    let length_bytes = input::length_bytes(&lines.path);
    let mut tally = PublishTally::new(length_bytes, lines.options.from_line);

    let mut publisher = client.publisher(input::read(lines.path, lines.options).await?);
    match publish(&mut publisher, &mut tally, &mut signals).await {
        Ok(()) => tally.finish(),
        Err(failure) => {
            tally.clear();
            let unsettled = publisher.unsettled().map(|line| line.number).min();
            Err(failure.with_line(&tally.how_to_go_on(unsettled)))
        }
    }
}

/// Publishes until the input ends, or somebody interrupts it.
async fn publish(
    publisher: &mut Publisher<LinePlace, InputLines>,
    tally: &mut PublishTally,
    signals: &mut InterruptSignals,
) -> CommandResult {
    loop {
        let report = tokio::select! {
            report = publisher.next() => report,
            interrupted = signals.next() => {
                publisher.stop();
                take_the_rest(publisher, tally).await;
                return Err(interrupted);
            }
        };
        match report {
            Some(Ok(report)) => tally.take(report),
            Some(Err(error)) if error.kind() == ClientErrorKind::OutcomeUnknown => {
                return Err(Failure::new(format!(
                    "{error}. With --id-prefix lines have ids"
                )));
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Ok(()),
        }
    }
}

/// What is on its way is still answered, if that does not take long.
async fn take_the_rest(publisher: &mut Publisher<LinePlace, InputLines>, tally: &mut PublishTally) {
    let rest = async {
        while let Some(Ok(report)) = publisher.next().await {
            tally.take(report);
        }
    };
    let _ = tokio::time::timeout(limits::PUBLISH_FAREWELL, rest).await;
}
