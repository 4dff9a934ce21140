//! What a gateway has to remember of a source beyond its own life, kept in the log itself.
//!
//! A note is an event of the topic `vidette.source.KIND`, written when a source breaks off and not
//! otherwise. Invariants:
//! - events whose acknowledgement was lost are named by a durable note before the source is tried
//!   again;
//! - a source that cannot be reached after a start leaves a note of where the log ended then, so
//!   that what was published just before is looked for there as long as it may come again;
//! - a note is younger than the events it names, so retention takes it later than those.

use crate::caller::Caller;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::cursor::Vid;
use crate::engine::{PageBudget, ReadRequest};
use crate::error::Result;
use crate::event::{ContentType, Event, NewEvent};
use crate::limits;
use crate::topic::{Filter, Topic};

const TOPICS: &str = "vidette.source.>";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    /// Ids of events whose acknowledgement may not have arrived, and their vids.
    Unacknowledged(Vec<(Arc<str>, Vid)>),
    /// Events shortly before this vid may be unacknowledged.
    UnknownUpTo(Vid),
}

impl Note {
    /// Makes it durable. One that cannot be is only told: a log that takes no notes takes no other
    /// events either, so that the end of the log still has what the note would name.
    pub(super) async fn write(&self, bus: &Bus, kind: &str) {
        let published = async {
            bus.publish_stream(&Caller::gateway())
                .enqueue_with_backpressure(vec![self.event(kind)])
                .await?
                .done()
                .await
        };
        if let Err(fault) = published.await {
            tracing::warn!(%fault, "what a source left unacknowledged could not be noted in the log");
        }
    }

    fn event(&self, kind: &str) -> NewEvent {
        let data = serde_json::to_vec(self).expect("texts and numbers are JSON");
        NewEvent {
            topic: Topic::trusted(&format!("vidette.source.{kind}")),
            kind: None,
            id: None,
            content_type: ContentType::of(&data),
            headers: Vec::new(),
            data: data.into(),
        }
    }

    fn of(event: &Event) -> Option<Self> {
        serde_json::from_slice(&event.sent.data).ok()
    }

    /// All notes that are retained, the newest last.
    pub(super) async fn read_all(bus: &Bus) -> Result<Vec<Self>> {
        let (last, mut after) = (bus.bounds().last, 0);
        let mut notes = Vec::new();
        while after < last {
            let filter = Filter::parse([TOPICS])?;
            let budget = PageBudget::of_events(limits::PAGE_EVENTS);
            let page = bus
                .read_page(ReadRequest {
                    after,
                    through: last,
                    filter,
                    budget,
                })
                .await?;
            notes.extend(page.events.iter().filter_map(|event| Note::of(event)));
            let too_many = notes.len().saturating_sub(limits::SOURCE_NOTES);
            notes.drain(..too_many);
            after = page.through;
        }
        Ok(notes)
    }
}
