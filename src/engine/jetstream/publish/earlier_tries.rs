//! Was it an earlier try of this group that has stored what the stream knows, or somebody else?
//!
//! The ids of publishers do not say so: another gateway may have had the same event. So each try
//! leaves a name of its own on the first message that it sends: the id of the batch, or
//! `Vidette-Batch-Id` where a single event has an id.
//!
//! Invariant: where it cannot be found out, the events count as duplicates; they are stored either
//! way.

use async_nats::header::NATS_BATCH_ID;
use tokio::time::{Instant, sleep};

use super::Lane;
use super::attempt::{SINGLE_BATCH_ID, Tries};
use super::plan::{KnownIds, Plan};
use crate::cursor::Vid;
use crate::engine::jetstream::api::{LeaderMessage, last};
use crate::limits;

impl Lane {
    /// The first vid, where all events have ids and it was this group that has stored them.
    pub(super) async fn stored_by_an_earlier_try(
        &self,
        plan: &Plan<'_>,
        known: &KnownIds,
        tries: &Tries,
    ) -> Option<Vid> {
        let (_, first_id) = plan.ids().next()?;
        let first = *known.get(first_id)?;
        let is_next = |(index, event): (usize, &&crate::event::NewEvent)| {
            let id = event.id.as_deref();
            id.and_then(|id| known.get(id)) == Some(&(first + index as Vid))
        };
        let are_neighbours = plan.events.iter().enumerate().all(is_next);
        (are_neighbours && self.is_of_an_earlier_try(first, tries).await).then_some(first)
    }

    /// Whether one of these tries has stored this vid. Only those without an answer can have.
    pub(super) async fn is_of_an_earlier_try(&self, vid: Vid, tries: &Tries) -> bool {
        if !tries.is_uncertain() {
            return false;
        }
        let stored_by = self.batch_id_of(vid, tries.deadline).await;
        stored_by.is_some_and(|id| tries.batch_ids.contains(&id))
    }

    /// The batch by which a vid was stored, as the leader knows it. It is asked until it answers:
    /// the connection to it may be one of those that are being made anew.
    async fn batch_id_of(&self, vid: Vid, deadline: Instant) -> Option<String> {
        let wait = limits::NATS_PUBLISH_ANSWER_WAIT;
        loop {
            match self.stream.api.leader_message(vid, ">", wait).await {
                Ok(Some(LeaderMessage::Readable(message))) if message.vid == vid => {
                    let id = last(&message.headers, NATS_BATCH_ID.as_ref());
                    let id = id.or_else(|| last(&message.headers, SINGLE_BATCH_ID));
                    return id.map(str::to_owned);
                }
                // It has left the log meanwhile.
                Ok(_) => return None,
                Err(error) => tracing::debug!(%error, vid, "nobody says who has stored this"),
            }
            if Instant::now() + limits::NATS_PUBLISH_PAUSE >= deadline {
                return None;
            }
            sleep(limits::NATS_PUBLISH_PAUSE).await;
        }
    }
}
