//! Is a stream of the same epoch another one? A restore from a backup keeps the time of creation on
//! some servers, and a cluster that has lost its power may have lost events.
//!
//! Invariants:
//! - from the first sign on nothing of the stream is believed until it has another epoch, or until
//!   it turns out to be as long as it was;
//! - what only looks like another stream for a moment, as a leader that has just come back, gives
//!   it no other epoch.

use tokio::time::Instant;

use super::Answer;
use crate::cursor::{Epoch, Vid};
use crate::engine::jetstream::api::{ApiError, NO_STREAM};
use crate::limits;

/// What to think of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Believed,
    /// It may be of another stream.
    InDoubt,
    /// It is of another stream, which needs another epoch.
    IsAnother,
}

/// The signs of another stream, over one answer after the other.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    /// There was no stream when it was asked last.
    is_gone: bool,
    /// Since when, and in how many answers, the stream has been shorter than it was.
    shorter: Option<(Instant, u32)>,
}

impl Replacement {
    /// `epoch` is the one that is known, and `reached` the newest vid that was known when the
    /// question was asked.
    pub(super) fn judge(
        &mut self,
        answer: &Answer,
        epoch: &Epoch,
        reached: Vid,
        asked_at: Instant,
    ) -> Judgement {
        let view = match answer {
            Ok(view) if view.is_confirmed => view,
            // Who is not the leader may lag; what it says of the end is not what counts.
            Ok(_) if !self.is_gone && self.shorter.is_none() => return Judgement::Believed,
            Ok(_) => return Judgement::InDoubt,
            Err(error) => {
                self.is_gone |= error.is(NO_STREAM);
                return Judgement::Believed;
            }
        };
        if view.epoch != *epoch {
            *self = Replacement::default();
            return Judgement::Believed;
        }
        if self.is_gone {
            return Judgement::IsAnother;
        }
        self.judge_length(view.bounds.last, reached, asked_at)
    }

    fn judge_length(&mut self, last: Vid, reached: Vid, asked_at: Instant) -> Judgement {
        if last >= reached {
            self.shorter = None;
            return Judgement::Believed;
        }
        let (since, answers) = self.shorter.unwrap_or((asked_at, 0));
        let answers = answers + 1;
        self.shorter = Some((since, answers));

        let has_lasted = asked_at.duration_since(since) >= limits::NATS_SHORTER_TIME;
        if has_lasted && answers >= limits::NATS_SHORTER_ANSWERS {
            Judgement::IsAnother
        } else {
            Judgement::InDoubt
        }
    }
}

/// The answer where nothing of the stream may be believed yet.
pub(super) fn not_believed() -> ApiError {
    ApiError::Broken("the stream may be another one than before; its epoch is being settled".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::StreamView;
    use super::*;
    use crate::engine::{Bounds, Sizes};

    /// The judgement of answers that come half a second apart; the tail is at 10.
    fn judge(answers: &[Answer]) -> Vec<Judgement> {
        let (mut replacement, start) = (Replacement::default(), Instant::now());
        let epoch = "aaaaaa".parse().expect("an epoch");
        let mut judged = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let at = start + Duration::from_millis(500) * u32::try_from(index).expect("few");
            judged.push(replacement.judge(answer, &epoch, 10, at));
        }
        judged
    }

    #[expect(clippy::unnecessary_wraps, reason = "beside answers that are errors")]
    fn view(epoch: &str, last: Vid, is_confirmed: bool) -> Answer {
        Ok(Arc::new(StreamView {
            epoch: epoch.parse().expect("an epoch"),
            earlier: Arc::default(),
            bounds: Bounds { first: 1, last },
            sizes: Sizes::default(),
            is_confirmed,
            unheard_for: Duration::ZERO,
        }))
    }

    fn gone() -> Answer {
        Err(ApiError::Refused {
            code: NO_STREAM,
            description: "stream not found".into(),
        })
    }

    fn silence() -> Answer {
        Err(ApiError::Unanswered(Duration::from_secs(1)))
    }

    #[test]
    fn a_stream_that_was_gone_is_another_one_until_its_epoch_says_so() {
        use Judgement::{Believed, InDoubt, IsAnother};
        let same = || view("aaaaaa", 12, true);
        let judged = judge(&[
            same(),
            gone(),
            silence(),
            view("aaaaaa", 12, false),
            same(),
            same(),
            view("bbbbbb", 3, true),
        ]);
        let expected = [
            Believed, Believed, Believed, InDoubt, IsAnother, IsAnother, Believed,
        ];
        assert_eq!(judged, expected);
    }

    #[test]
    fn a_stream_that_stays_shorter_is_another_one() {
        use Judgement::{Believed, InDoubt, IsAnother};
        let shorter = || view("aaaaaa", 9, true);
        let judged = judge(&[shorter(), shorter(), shorter()]);
        assert_eq!(judged, [InDoubt, InDoubt, IsAnother]);

        let judged = judge(&[shorter(), shorter(), view("aaaaaa", 10, true), shorter()]);
        assert_eq!(judged, [InDoubt, InDoubt, Believed, InDoubt]);

        let lagging = judge(&[view("aaaaaa", 9, false), view("aaaaaa", 9, false)]);
        assert_eq!(lagging, [Believed, Believed]);
    }
}
