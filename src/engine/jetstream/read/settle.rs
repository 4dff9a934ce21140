//! Trying again, and being sure that what was read is of one log.

use tokio::time::{Instant, sleep};

use super::super::SharedStream;
use super::super::api::ApiError;
use crate::cursor::{Epoch, Vid};
use crate::error::{Error, Result};
use crate::limits;

/// Counts how long something has been failing.
pub(super) struct Tries {
    what: &'static str,
    /// From the first failure on: a long answer, or a long queue, is none.
    failing_since: Option<Instant>,
    /// How often there has been no answer that could be read.
    unanswered: usize,
}

impl Tries {
    /// Of something that a person may read about.
    pub(super) fn of(what: &'static str) -> Self {
        Tries {
            what,
            failing_since: None,
            unanswered: 0,
        }
    }

    /// Have there been so many tries without an answer that another way is better?
    pub(super) fn are_unanswered(&self) -> bool {
        self.unanswered >= limits::NATS_UNANSWERED_PAGES
    }

    /// What has come of a try. None when it is time for the next one: a replica lags, a leader
    /// cannot be believed now, or somebody has not answered.
    ///
    /// # Errors
    /// It has been failing for [`limits::NATS_READ_TRIES`].
    pub(super) async fn settle<T>(
        &mut self,
        outcome: std::result::Result<Option<T>, ApiError>,
    ) -> Result<Option<T>> {
        let error = match outcome {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => "who answers lags behind the log".into(),
            Err(error) => {
                let is_unanswered = matches!(error, ApiError::Unanswered(_) | ApiError::Broken(_));
                self.unanswered += usize::from(is_unanswered);
                error.to_string()
            }
        };
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= limits::NATS_READ_TRIES {
            tracing::warn!(error, "cannot read {} from the stream", self.what);
            return Err(Error::behind());
        }
        sleep(limits::NATS_READ_PAUSE).await;
        Ok(None)
    }
}

/// Which log something was read of.
pub(super) enum ReadOf {
    /// The one that it was asked of, whose oldest vid is this by now.
    SameLog { first: Vid },
    /// Maybe another one, which has taken its place.
    AnotherLog,
}

/// Which log was read, asked after the last answer has come: answers name none. None where nobody
/// can say, or where the leader does not have everything up to `at_least`.
///
/// # Errors
/// Nobody has answered.
pub(super) async fn log_of(
    stream: &SharedStream,
    epoch: &Epoch,
    at_least: Vid,
) -> std::result::Result<Option<ReadOf>, ApiError> {
    let view = stream.watch.ask_now().await?;
    if !view.is_confirmed {
        return Ok(None);
    }
    if view.epoch != *epoch {
        return Ok(Some(ReadOf::AnotherLog));
    }
    // A leader that was cut off, and has been answering all the same, knows of less.
    let first = view.bounds.first;
    Ok((view.bounds.last >= at_least).then_some(ReadOf::SameLog { first }))
}
