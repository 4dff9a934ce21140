//! From pieces of work to events, or to dead letters.
//!
//! Invariants:
//! - what cannot be stored just now (a full disk, a queue at its bound) is tried again for as long
//!   as it takes: only the content of a piece can make it a dead letter;
//! - an id that comes again stands for the same event only with the same topic and data. With
//!   others it is another record, which gets an id of its own from them, so that no record is lost
//!   to an id that was used twice;
//! - the order of the pieces is the order of the events.

use crate::caller::Caller;
use std::sync::Arc;

use super::driver::Backoff;
use super::fingerprint::fingerprint;
use super::known::{KnownIds, read_after};
use super::state::SourceState;
use super::{DeadLetter, Outcome, Pulled};
use crate::bus::Bus;
use crate::cursor::Vid;
use crate::engine::Receipt;
use crate::error::{Error, Result};
use crate::event::{ContentType, Event, NewEvent};
use crate::limits;
use crate::topic::Topic;

/// A piece's id, the vid of what it became, and what to tell the outside.
pub(super) type Settled = (Option<Arc<str>>, Vid, Outcome);

/// Publishes for one source.
pub(super) struct Publisher {
    bus: Bus,
    state: Arc<SourceState>,
    known: Arc<KnownIds>,
}

impl Publisher {
    pub(super) fn new(bus: Bus, state: Arc<SourceState>, known: Arc<KnownIds>) -> Self {
        Publisher { bus, state, known }
    }

    pub(super) fn state(&self) -> &Arc<SourceState> {
        &self.state
    }

    pub(super) fn known(&self) -> &KnownIds {
        &self.known
    }

    /// Makes all of it durable. `None` when the bus has closed before.
    pub(super) async fn settle(&self, pulled: Vec<Pulled>) -> Option<Vec<Settled>> {
        let (mut events, mut reasons) = (Vec::new(), Vec::new());
        for piece in pulled {
            let (event, reason) = match piece {
                Pulled::Event(event) => (event, None),
                Pulled::Refused(letter) => self.dead_event(letter),
            };
            events.push(event);
            reasons.push(reason);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        let receipts = self.receipts(events).await?;
        let settled = ids.into_iter().zip(receipts).zip(reasons);
        Some(
            settled
                .map(|((id, receipt), reason)| (id, receipt.vid, self.outcome(receipt, reason)))
                .collect(),
        )
    }

    fn outcome(&self, receipt: Receipt, reason: Option<String>) -> Outcome {
        if let Some(reason) = reason {
            self.state.refused(receipt.duplicate, &reason);
            return Outcome::Refused(reason);
        }
        self.state.published(receipt.duplicate);
        Outcome::Published(receipt)
    }

    fn dead_event(&self, letter: DeadLetter) -> (NewEvent, Option<String>) {
        let DeadLetter {
            reason,
            content,
            headers: known,
            id,
        } = letter;
        let mut headers = vec![
            ("reason".to_owned(), reason.clone()),
            ("source".to_owned(), self.state.name().to_owned()),
        ];
        headers.extend(known);
        let event = NewEvent {
            topic: Topic::trusted(&format!("vidette.dead.{}", self.state.kind())),
            kind: None,
            id: id.map(|id| format!("dead:{id}").into()),
            content_type: ContentType::of(&content),
            headers,
            data: content,
        };
        (event, Some(reason))
    }

    /// A receipt an event, in their order.
    async fn receipts(&self, events: Vec<NewEvent>) -> Option<Vec<Receipt>> {
        let mut receipts = vec![None; events.len()];
        let mut left = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            match event.id.as_deref().and_then(|id| self.known.vid_of(id)) {
                Some(vid) if self.is_stored_at(vid, &event).await? => {
                    receipts[index] = Some(Receipt {
                        vid,
                        duplicate: true,
                    });
                }
                _ => left.push((index, event)),
            }
        }
        while !left.is_empty() {
            left = self.publish_round(left, &mut receipts).await?;
        }
        Some(receipts.into_iter().flatten().collect())
    }

    /// Publishes; gives back those whose id another record had, with ids of their own.
    async fn publish_round(
        &self,
        left: Vec<(usize, NewEvent)>,
        receipts: &mut [Option<Receipt>],
    ) -> Option<Vec<(usize, NewEvent)>> {
        let mut again = Vec::new();
        for chunk in chunks(left) {
            let batch: Vec<NewEvent> = chunk.iter().map(|(_, event)| event.clone()).collect();
            let published = self.publish(batch).await?;
            for ((index, event), receipt) in chunk.into_iter().zip(published) {
                match with_own_id(&event) {
                    Some(own)
                        if receipt.duplicate && !self.is_stored_at(receipt.vid, &event).await? =>
                    {
                        self.state
                            .id_reused(event.id.as_deref().unwrap_or_default());
                        again.push((index, own));
                    }
                    _ => receipts[index] = Some(receipt),
                }
            }
        }
        Some(again)
    }

    async fn publish(&self, batch: Vec<NewEvent>) -> Option<Vec<Receipt>> {
        let mut backoff = Backoff::new();
        loop {
            let published = match self
                .bus
                .publish_stream(&Caller::gateway())
                .enqueue_with_backpressure(batch.clone())
                .await
            {
                Ok(publishing) => publishing.done().await,
                Err(fault) => Err(fault),
            };
            match published {
                Ok(receipts) => return Some(receipts),
                Err(fault) => self.hold(&fault, &mut backoff).await?,
            }
        }
    }

    /// Is this event the one at that vid? One that has been trimmed since is taken to be.
    async fn is_stored_at(&self, vid: Vid, event: &NewEvent) -> Option<bool> {
        let mut backoff = Backoff::new();
        loop {
            match self.read(vid).await {
                Ok(Some(stored)) => {
                    return Some(
                        stored.sent.topic == event.topic && stored.sent.data == event.data,
                    );
                }
                Ok(None) => return Some(true),
                Err(fault) => self.hold(&fault, &mut backoff).await?,
            }
        }
    }

    async fn read(&self, vid: Vid) -> Result<Option<Arc<Event>>> {
        Ok(read_after(&self.bus, vid - 1, vid).await?.events.pop())
    }

    /// Waits before another try. `None` when the bus closes.
    async fn hold(&self, fault: &Error, backoff: &mut Backoff) -> Option<()> {
        if self.bus.is_closing() {
            return None;
        }
        self.state.held(&fault.to_string());
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => Some(()),
            () = self.bus.closed() => None,
        }
    }
}

/// The same event with an id that is made of its content, too. `None` when it has no id, or such a
/// one already.
fn with_own_id(event: &NewEvent) -> Option<NewEvent> {
    let id = event.id.as_deref()?;
    let suffix = format!(
        "~{}",
        fingerprint(&[event.topic.as_str().as_bytes(), &event.data])
    );
    if id.ends_with(&suffix) {
        return None;
    }
    let mut kept = id.len().min(limits::MAX_ID_BYTES - suffix.len());
    while !id.is_char_boundary(kept) {
        kept -= 1;
    }
    Some(NewEvent {
        id: Some(format!("{}{suffix}", &id[..kept]).into()),
        ..event.clone()
    })
}

/// Parts that one commit takes.
fn chunks(events: Vec<(usize, NewEvent)>) -> Vec<Vec<(usize, NewEvent)>> {
    let mut chunks: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    for (index, event) in events {
        let size = event.size_bytes();
        match chunks.last_mut() {
            Some(chunk) if bytes + size <= limits::GROUP_BYTES => {
                bytes += size;
                chunk.push((index, event));
            }
            _ => {
                bytes = size;
                chunks.push(vec![(index, event)]);
            }
        }
    }
    chunks
}
