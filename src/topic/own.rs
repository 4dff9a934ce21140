//! Topics as others than publishers name them: a shared log, and an operator.

use super::{Topic, WILDCARD_IN_TOPIC, WILDCARDS, bad_topic, check};
use crate::error::Result;

/// What topics of dead letters begin with, which the gateway publishes itself.
const DEAD_LETTERS: &str = "vidette.dead.";
/// Where operators' actions are noted.
const NOTES: &str = "vidette.admin";

impl Topic {
    /// A topic as it may stand on a log that others write to as well: one that a publisher may
    /// publish to, one of the dead letters of sources, or that of operators' actions.
    ///
    /// # Errors
    /// As [`Topic::for_publisher`].
    pub(crate) fn on_shared_log(text: &str) -> Result<Self> {
        match text.strip_prefix(DEAD_LETTERS) {
            _ if text == NOTES => Ok(Topic(text.into())),
            // The rest has to be tokens, which are checked as those of any topic; both together
            // are no longer than a topic may be.
            Some(kind) => {
                Topic::for_publisher(kind)?;
                check(text)?;
                Ok(Topic(text.into()))
            }
            None => Topic::for_publisher(text),
        }
    }

    /// A topic whose events are to be removed; it may be the gateway's own.
    ///
    /// # Errors
    /// A bad request when the text breaks a rule of contract §1.
    pub(crate) fn to_purge(text: &str) -> Result<Self> {
        check(text)?;
        if text.contains(WILDCARDS) {
            return Err(bad_topic(text, WILDCARD_IN_TOPIC));
        }
        Ok(Topic(text.into()))
    }
}
