//! What the next gateway has to know about a source, kept in the log itself.
//!
//! A note is an event of the topic `vidette.source.KIND`. It is written when a source's connection
//! breaks, and at no other time. Invariants:
//! - before a source is tried again, a durable note names the events whose acknowledgement was
//!   lost;
//! - a source that cannot be reached after a start leaves a note of where the log ended then, so
//!   that the events just before are recognized for as long as they may come again;
//! - a note is younger than the events it names, so retention deletes it later than those.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::log::{append, read_after};
use crate::bus::Bus;
use crate::cursor::Vid;
use crate::error::Result;
use crate::event::{ContentType, Event, NewEvent};
use crate::limits;
use crate::topic::{Filter, Topic};

const NOTE_TOPICS: &str = "vidette.source.>";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RecoveryNote {
    /// Ids of events whose acknowledgement may not have arrived, and their vids.
    Unacknowledged(Vec<(Arc<str>, Vid)>),
    /// Events shortly before this vid may be unacknowledged.
    UnknownUpTo(Vid),
}

impl RecoveryNote {
    /// Makes the note durable. A failure is only logged: a log that takes no note takes no other
    /// event either, so its end still shows what the note would have named.
    pub(super) async fn write(&self, bus: &Bus, kind: &str) {
        if let Err(error) = append(bus, vec![self.event(kind)]).await {
            tracing::warn!(%error, "failed to note unacknowledged events");
        }
    }

    fn event(&self, kind: &str) -> NewEvent {
        let data = serde_json::to_vec(self).expect("texts and numbers are JSON");
        NewEvent {
            topic: Topic::trusted(&format!("vidette.source.{kind}")),
            kind: None,
            // Without an id no note is taken for a duplicate of an earlier one.
            id: None,
            content_type: ContentType::of(&data),
            headers: Vec::new(),
            data: data.into(),
        }
    }

    fn of(event: &Event) -> Option<Self> {
        serde_json::from_slice(&event.sent.data).ok()
    }

    /// The newest [`limits::SOURCE_NOTES`] notes that are retained, the newest last.
    pub(super) async fn read_all(bus: &Bus) -> Result<Vec<Self>> {
        let (last, mut after) = (bus.bounds().last, 0);
        let mut notes = Vec::new();
        while after < last {
            // A page may be empty before the end of the log: it says how far it has looked.
            let page = read_after(bus, Filter::parse([NOTE_TOPICS])?, after, last).await?;
            after = page.through;

            // What is no note was not written by a gateway; it is skipped.
            notes.extend(page.events.iter().filter_map(|event| Self::of(event)));
            keep_newest(&mut notes);
        }
        Ok(notes)
    }
}

fn keep_newest(notes: &mut Vec<RecoveryNote>) {
    let too_many = notes.len().saturating_sub(limits::SOURCE_NOTES);
    notes.drain(..too_many);
}
