//! `vidette publish --ndjson`: a stream of lines, with what a person sees of it.

use std::path::PathBuf;

use super::input::{self, InputLines, LineOptions, LinePlace};
use super::tally::PublishTally;
use crate::cli::signals::InterruptSignals;
use crate::cli::{CommandResult, Failure};
use crate::client::{Client, ClientError, ClientErrorKind, Publisher};
use crate::limits;

/// What to publish, and where.
pub(super) struct LinesToPublish {
    pub(super) path: PathBuf,
    pub(super) options: LineOptions,
    /// The gateway, and how long it may be away.
    pub(super) client: Client,
    /// It may be away from the beginning.
    pub(super) waits_at_first: bool,
}

pub(super) async fn run(lines: LinesToPublish) -> CommandResult {
    let mut publishing = LinePublishing::begin(lines).await?;
    match publishing.run().await {
        Ok(()) => publishing.tally.finish(),
        Err(failure) => Err(publishing.with_how_to_go_on(failure)),
    }
}

/// A stream of lines on its way, and what a person sees of it.
struct LinePublishing {
    publisher: Publisher<LinePlace, InputLines>,
    tally: PublishTally,
    signals: InterruptSignals,
}

impl LinePublishing {
    async fn begin(lines: LinesToPublish) -> Result<Self, Failure> {
        // First of all, so that no signal is missed.
        let signals = InterruptSignals::listen()?;
        let length_bytes = input::length_bytes(&lines.path);
        let tally = PublishTally::new(length_bytes, lines.options.from_line);
        // Read ahead while the first connection is made.
        let input = input::read(lines.path, lines.options).await?;
        let publisher = lines.client.publisher(input);
        Ok(LinePublishing {
            publisher: if lines.waits_at_first {
                publisher.wait_at_first()
            } else {
                publisher
            },
            tally,
            signals,
        })
    }

    /// Publishes until the input ends, or somebody interrupts it.
    async fn run(&mut self) -> CommandResult {
        loop {
            // A signal may come while nothing is reported, as during an outage.
            let report = tokio::select! {
                report = self.publisher.next() => report,
                interrupted = self.signals.next() => {
                    self.take_the_rest().await;
                    return Err(interrupted);
                }
            };
            match report.transpose().map_err(failure_of)? {
                Some(report) => self.tally.take(report),
                None => return Ok(()),
            }
        }
    }

    /// What is on its way is still answered, if that does not take long.
    async fn take_the_rest(&mut self) {
        self.publisher.stop();
        // Errors do not matter any more: the command ends because of the signal.
        let rest = async {
            while let Some(Ok(report)) = self.publisher.next().await {
                self.tally.take(report);
            }
        };
        let _ = tokio::time::timeout(limits::PUBLISH_FAREWELL, rest).await;
    }

    /// The failure, with the line that the next run has to begin with.
    fn with_how_to_go_on(&self, failure: Failure) -> Failure {
        // A line that was put off may stand before others that are published.
        self.tally.clear();
        let unsettled = self.publisher.unsettled().map(|line| line.number).min();
        failure.with_line(&self.tally.how_to_go_on(unsettled))
    }
}

/// What an error means for a person who has the flags of this command.
fn failure_of(error: ClientError) -> Failure {
    // The library does not know the flag that helps.
    if error.kind() == ClientErrorKind::OutcomeUnknown {
        return Failure::new(format!("{error}. With --id-prefix lines have ids"));
    }
    error.into()
}
