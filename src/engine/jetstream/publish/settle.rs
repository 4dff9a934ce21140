//! Tries until it is known what has become of a group.
//!
//! Invariants:
//! - a group is tried again with the same ids, so at most one try stores it;
//! - what is refused for the sake of one event is tried batch by batch, so that it refuses no other
//!   batch;
//! - an error says whether something may have been stored.

use tokio::time::{Instant, sleep};

use super::answer::{Answer, NotNow, Refusal};
use super::attempt::Tries;
use super::plan::{KnownIds, Plan};
use super::{Batch, BatchAnswer, Lane};
use crate::cursor::Vid;
use crate::engine::Receipt;
use crate::error::{Error, ErrorKind};
use crate::limits;

/// What has become of the events of a plan.
enum Settled {
    /// Stored, from this vid on.
    From(Vid),
    /// Not stored, as these ids are known.
    Known(KnownIds),
}

impl Lane {
    /// Stores batches together, and those that are refused together each by itself.
    pub(super) async fn append_group(&mut self, batches: &[Batch]) -> Vec<BatchAnswer> {
        let started = Instant::now();
        let deadline = self.deadline();
        let all: Vec<_> = batches.iter().collect();
        match self.settle(&all, deadline).await {
            Ok(receipts) => receipts.into_iter().map(Ok).collect(),
            Err(Refusal::OfEvent(_)) if batches.len() > 1 => {
                let mut answers = Vec::with_capacity(batches.len());
                for batch in batches {
                    answers.push(self.append_batch(batch, deadline).await);
                }
                answers
            }
            Err(refusal) => {
                let error = refusal.into_error();
                tracing::debug!(%error, took = ?started.elapsed(), "a group was not stored");
                batches.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn append_batch(&mut self, batch: &Batch, deadline: Instant) -> BatchAnswer {
        let receipts = self.settle(&[batch], deadline).await;
        let receipts = receipts.map_err(Refusal::into_error)?;
        Ok(receipts.into_iter().next().unwrap_or_default())
    }

    /// Until when a group is tried. Those that were waiting behind one that was given up have less
    /// time: otherwise a full queue would take minutes to say that the log cannot be reached.
    fn deadline(&self) -> Instant {
        let waited = |at: Instant| at.elapsed() < limits::NATS_PUBLISH_DEADLINE_WAITING;
        let patience = match self.gave_up_at {
            Some(at) if waited(at) => limits::NATS_PUBLISH_DEADLINE_WAITING,
            _ => limits::NATS_PUBLISH_DEADLINE,
        };
        Instant::now() + patience
    }

    async fn settle(
        &mut self,
        batches: &[&Batch],
        deadline: Instant,
    ) -> Result<Vec<Vec<Receipt>>, Refusal> {
        let mut tries = Tries::new(deadline);
        let mut known = KnownIds::new();
        for _ in 0..=limits::NATS_PUBLISH_ROUNDS {
            let plan = Plan::of(batches, &known);
            if plan.events.is_empty() {
                return Ok(plan.receipts(0));
            }
            match self.store(&plan, &mut tries).await? {
                Settled::From(first) => return Ok(plan.receipts(first)),
                Settled::Known(more) => known.extend(more),
            }
        }
        Err(Refusal::OfAll(Error::new(ErrorKind::Busy, IDS_KEEP_COMING)))
    }

    /// Tries again until it is known what has become of these events.
    async fn store(&mut self, plan: &Plan<'_>, tries: &mut Tries) -> Result<Settled, Refusal> {
        loop {
            let began = Instant::now();
            let (why, pause) = match self.attempt(plan, tries).await {
                Answer::Stored { last, duplicate } => {
                    self.gave_up_at = None;
                    return Ok(self.stored(plan, last, duplicate, tries).await);
                }
                Answer::Refused(refusal) if tries.is_uncertain() => {
                    return Err(Refusal::OfAll(refused_later(&refusal.into_error())));
                }
                Answer::Refused(refusal) => return Err(refusal),
                Answer::KnownId => match self.look_up(plan, tries).await {
                    Ok(Some(settled)) => return Ok(settled),
                    Ok(None) => ("an id was known and is not any more".into(), Pause::Usual),
                    Err(why) => (why, Pause::Usual),
                },
                Answer::NotNow { why, reason } => {
                    tries.asks_each |= reason == NotNow::Incomplete;
                    (why, Pause::after(reason))
                }
                Answer::Unknown { why } => {
                    self.note_uncertain(tries, began);
                    (why, Pause::Usual)
                }
                Answer::Accepted => ("the answer did not come".into(), Pause::Usual),
            };
            self.pause(pause, &why, tries).await?;
        }
    }

    /// A try may have stored the events. They are sent again for as long as it is certain that the
    /// stream would recognize them.
    fn note_uncertain(&self, tries: &mut Tries, began: Instant) {
        if tries.uncertain_since.is_none() {
            tries.uncertain_since = Some(began);
            tries.deadline = tries.deadline.min(began + self.dedupe_window / 2);
        }
    }

    /// Waits before the next try, if there is to be one.
    async fn pause(&mut self, pause: Pause, why: &str, tries: &Tries) -> Result<(), Refusal> {
        let pause = pause.duration();
        if Instant::now() + pause >= tries.deadline {
            self.gave_up_at = Some(Instant::now());
            return Err(Refusal::OfAll(given_up(why, tries.is_uncertain())));
        }
        tracing::debug!(%why, "events are not stored yet");
        sleep(pause).await;
        Ok(())
    }

    /// What is known of a plan of which an id is known.
    async fn look_up(&mut self, plan: &Plan<'_>, tries: &Tries) -> Result<Option<Settled>, String> {
        // An earlier try may have stored the group.
        if let Some(first) = self.vid_of_group(plan, tries.deadline).await? {
            return Ok(Some(Settled::From(first)));
        }
        let known = self.known_ids(plan, tries.deadline).await?;
        if let Some(first) = self.stored_by_an_earlier_try(plan, &known, tries).await {
            return Ok(Some(Settled::From(first)));
        }
        Ok((!known.is_empty()).then_some(Settled::Known(known)))
    }

    /// A single event may turn out to be known; a batch that is acknowledged is new.
    async fn stored(&self, plan: &Plan<'_>, last: Vid, duplicate: bool, tries: &Tries) -> Settled {
        let first = (last + 1).saturating_sub(plan.events.len() as Vid);
        match plan.events[0].id.as_deref() {
            Some(id) if duplicate && !self.is_of_an_earlier_try(last, tries).await => {
                Settled::Known([(id.to_owned(), last)].into())
            }
            // New, or known by the id of the group: an earlier try has stored it.
            _ => Settled::From(first),
        }
    }
}

/// How long to wait before the next try.
#[derive(Clone, Copy)]
enum Pause {
    Usual,
    /// Others are to come first, in no order.
    Busy,
}

impl Pause {
    fn after(reason: NotNow) -> Self {
        match reason {
            NotNow::Busy => Pause::Busy,
            NotNow::Away | NotNow::Incomplete => Pause::Usual,
        }
    }

    fn duration(self) -> std::time::Duration {
        match self {
            Pause::Usual => limits::NATS_PUBLISH_PAUSE,
            Pause::Busy => limits::NATS_PUBLISH_PAUSE_BUSY.mul_f32(fastrand::f32()),
        }
    }
}

const IDS_KEEP_COMING: &str = "other gateways publish the same ids at the same time; nothing was \
                               stored of this. Publish it again, with the same ids";

fn given_up(why: &str, may_be_stored: bool) -> Error {
    let detail = if may_be_stored {
        format!("the stream does not answer ({why}). {MAY_BE_STORED}")
    } else {
        format!("the stream takes no events now ({why}). Nothing was stored of this: try again")
    };
    Error::new(ErrorKind::Behind, detail)
}

/// A try was refused, and nobody has answered an earlier one.
fn refused_later(refusal: &Error) -> Error {
    Error::new(refusal.kind(), format!("{refusal}. {MAY_BE_STORED}"))
}

const MAY_BE_STORED: &str = "This may have been stored, or may be stored yet: publish it again \
                             with the same ids, then it is stored once; without ids nobody can tell";
