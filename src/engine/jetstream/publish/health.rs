//! Can events be appended?
//!
//! `/readyz` of a gateway asks it. A refusal is remembered for a while and then forgotten, as only
//! another try can find out whether it has passed. That the log cannot be reached is the tail's to
//! say as well; here it is known of a gateway that reads and cannot write.
//!
//! Invariant: whatever is stored says that events can be appended.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::BatchAnswer;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// The newest refusal.
#[derive(Default)]
pub(super) struct PublishHealth {
    refused: Mutex<Option<(Instant, Error)>>,
}

impl PublishHealth {
    /// The reason where nothing could be appended lately.
    pub(super) fn writable(&self) -> Result<()> {
        let refused = self.refused.lock();
        let refused = refused.unwrap_or_else(PoisonError::into_inner);
        match &*refused {
            Some((at, why)) if at.elapsed() < limits::NATS_REFUSAL_REMEMBERED => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// Takes note of what has become of batches.
    pub(super) fn note(&self, answers: &[BatchAnswer]) {
        let lasting = |error: &Error| {
            let kind = error.kind();
            matches!(
                kind,
                ErrorKind::StorageFull | ErrorKind::Broken | ErrorKind::Behind
            )
        };
        let is_stored = answers.iter().any(Result::is_ok);
        let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        let refusal = errors.find(|error| lasting(error)).cloned();

        let refused = self.refused.lock();
        let mut refused = refused.unwrap_or_else(PoisonError::into_inner);
        if is_stored {
            *refused = None;
        } else if let Some(why) = refusal {
            *refused = Some((Instant::now(), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_until_something_is_stored_or_it_is_old() {
        let health = PublishHealth::default();
        let full = || vec![Err(Error::new(ErrorKind::StorageFull, "full"))];
        health.note(&[Err(Error::too_large("this one only"))]);
        assert!(health.writable().is_ok());

        health.note(&full());
        assert!(health.writable().is_err());
        health.note(&[Ok(Vec::new())]);
        assert!(health.writable().is_ok());

        health.note(&full());
        tokio::time::advance(limits::NATS_REFUSAL_REMEMBERED).await;
        assert!(health.writable().is_ok());
    }
}
