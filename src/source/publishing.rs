//! From pieces of work to events, or to dead letters.
//!
//! Invariants:
//! - what cannot be stored now (a full disk, a full queue) is tried again for as long as it takes:
//!   only the content of a piece can make it a dead letter;
//! - an id that comes again stands for the same event only with the same topic and data. With
//!   others it is another record, and gets an id of its own that is derived from them, so that no
//!   record is lost to an id that was used twice;
//! - the order of the pieces is the order of the events.

use std::sync::Arc;

use super::backoff::Backoff;
use super::fingerprint::fingerprint;
use super::log::{append, read_after};
use super::state::SourceState;
use super::text::beginning;
use super::turn::Turn;
use super::unacked::UnackedIds;
use super::work::{DeadLetter, Pulled, WorkOutcome};
use crate::bus::{Bus, Receipt};
use crate::cursor::Vid;
use crate::error::{self, Error};
use crate::event::{ContentType, Event, NewEvent};
use crate::limits;
use crate::topic::{Filter, Topic};

/// The gateway's turn was over before the work was done.
#[derive(Debug)]
pub(super) struct TurnOver;

type WithinTurn<T> = Result<T, TurnOver>;

/// A piece of work whose event is durable.
pub(super) struct SettledWork {
    /// The id of its event.
    pub(super) id: Option<Arc<str>>,
    /// The vid of its event.
    pub(super) vid: Vid,
    /// What to report to the source.
    pub(super) outcome: WorkOutcome,
}

impl SettledWork {
    /// By which it is recognized when it comes again.
    pub(super) fn identity(&self) -> Option<(Arc<str>, Vid)> {
        Some((self.id.clone()?, self.vid))
    }
}

/// An event that has no receipt yet, and its place among the pieces pulled.
type Unpublished = (usize, NewEvent);

/// Publishes for one source.
pub(super) struct WorkPublisher {
    bus: Bus,
    turn: Turn,
    state: Arc<SourceState>,
    unacked: Arc<UnackedIds>,
}

impl WorkPublisher {
    pub(super) fn new(
        bus: Bus,
        turn: Turn,
        state: Arc<SourceState>,
        unacked: Arc<UnackedIds>,
    ) -> Self {
        WorkPublisher {
            bus,
            turn,
            state,
            unacked,
        }
    }

    pub(super) fn state(&self) -> &SourceState {
        &self.state
    }

    pub(super) fn unacked(&self) -> &UnackedIds {
        &self.unacked
    }

    /// Makes all of it durable.
    pub(super) async fn settle(&self, pulled: Vec<Pulled>) -> WithinTurn<Vec<SettledWork>> {
        let work = pulled.into_iter().map(|piece| self.event_of(piece));
        let (events, refusals): (Vec<_>, Vec<_>) = work.unzip();
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();

        // Events and dead letters go to the log together, so that their order stays.
        let receipts = self.receipts(events).await?;
        let settled = ids.into_iter().zip(receipts).zip(refusals);
        let settled = settled.map(|((id, receipt), refusal)| self.settled(id, receipt, refusal));
        Ok(settled.collect())
    }

    fn settled(
        &self,
        id: Option<Arc<str>>,
        receipt: Receipt,
        refusal: Option<String>,
    ) -> SettledWork {
        SettledWork {
            id,
            vid: receipt.vid,
            outcome: self.outcome(receipt, refusal),
        }
    }

    /// The event that a piece becomes, and why it is a dead letter where it is one.
    fn event_of(&self, piece: Pulled) -> (NewEvent, Option<String>) {
        match piece {
            Pulled::Event(event) => (event, None),
            Pulled::Refused(letter) => {
                // The source is given the same reason that the dead letter carries.
                let reason = letter.reason.clone();
                (self.dead_letter_event(letter), Some(reason))
            }
        }
    }

    fn dead_letter_event(&self, letter: DeadLetter) -> NewEvent {
        let mut headers = vec![
            ("reason".to_owned(), letter.reason),
            ("source".to_owned(), self.state.name().to_owned()),
        ];
        headers.extend(letter.headers);
        NewEvent {
            topic: Topic::trusted(&format!("vidette.dead.{}", self.state.kind())),
            kind: None,
            // The id itself may still become an event, once the producer has mended its content.
            id: letter.id.map(|id| format!("dead:{id}").into()),
            content_type: ContentType::of(&letter.content),
            headers,
            data: letter.content,
        }
    }

    fn outcome(&self, receipt: Receipt, refusal: Option<String>) -> WorkOutcome {
        // A dead letter is an event of the log, but not one of the source's.
        if let Some(reason) = refusal {
            self.state.refused(receipt.duplicate, &reason);
            return WorkOutcome::Refused(reason);
        }
        self.state.published(receipt.duplicate);
        WorkOutcome::Published(receipt)
    }

    /// A receipt for each event, in their order.
    async fn receipts(&self, events: Vec<NewEvent>) -> WithinTurn<Vec<Receipt>> {
        // First those that are in the log already, whose acknowledgement was lost.
        let mut receipts = vec![None; events.len()];
        let mut left = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            receipts[index] = self.earlier_receipt(&event).await?;
            if receipts[index].is_none() {
                left.push((index, event));
            }
        }

        // A second round publishes those again whose id was taken, each with an id of its own.
        while !left.is_empty() {
            left = self.publish_round(left, &mut receipts).await?;
        }
        Ok(receipts.into_iter().flatten().collect())
    }

    /// A receipt where this event is stored and only its acknowledgement was lost.
    async fn earlier_receipt(&self, event: &NewEvent) -> WithinTurn<Option<Receipt>> {
        let id = event.id.as_deref();
        let Some(vid) = id.and_then(|id| self.unacked.vid_of(id)) else {
            return Ok(None);
        };

        // The producer may have used the id for something else meanwhile.
        let is_stored = self.is_stored_at(vid, event).await?;
        Ok(is_stored.then_some(Receipt {
            vid,
            duplicate: true,
        }))
    }

    /// Publishes what is left. Returns the events whose id stands for another record, with ids of
    /// their own.
    async fn publish_round(
        &self,
        left: Vec<Unpublished>,
        receipts: &mut [Option<Receipt>],
    ) -> WithinTurn<Vec<Unpublished>> {
        let mut again = Vec::new();
        for chunk in chunks(left) {
            let batch: Vec<NewEvent> = chunk.iter().map(|(_, event)| event.clone()).collect();
            let published = self.publish(batch).await?;
            for ((index, event), receipt) in chunk.into_iter().zip(published) {
                // The log knows ids only; whether a duplicate is the same record is decided here.
                match self.with_own_id(&event, receipt).await? {
                    Some(own) => again.push((index, own)),
                    None => receipts[index] = Some(receipt),
                }
            }
        }
        Ok(again)
    }

    /// The event with an id of its own, where its id stands for another record already.
    async fn with_own_id(
        &self,
        event: &NewEvent,
        receipt: Receipt,
    ) -> WithinTurn<Option<NewEvent>> {
        if !receipt.duplicate {
            return Ok(None);
        }

        // A duplicate is either the same record again, or another one with the same id.
        let own = derive_own_id(event);
        if own.is_none() || self.is_stored_at(receipt.vid, event).await? {
            return Ok(None);
        }
        self.state
            .id_reused(event.id.as_deref().unwrap_or_default());
        Ok(own)
    }

    async fn publish(&self, batch: Vec<NewEvent>) -> WithinTurn<Vec<Receipt>> {
        let mut backoff = Backoff::new();
        loop {
            // A gateway that was frozen finds out here that another one has taken over.
            if !self.turn.may_publish() {
                return Err(TurnOver);
            }
            // A batch that failed may have been written all the same; its ids make it a duplicate.
            match append(&self.bus, batch.clone()).await {
                Ok(receipts) => return Ok(receipts),
                Err(error) => self.hold(&error, &mut backoff).await?,
            }
        }
    }

    /// Is this event the one at that vid? One that has been trimmed since is taken to be.
    async fn is_stored_at(&self, vid: Vid, event: &NewEvent) -> WithinTurn<bool> {
        let mut backoff = Backoff::new();
        loop {
            // What retention has deleted cannot be compared; its id is the best evidence left.
            match self.read(vid).await {
                Ok(stored) => return Ok(stored.is_none_or(|stored| is_same(&stored, event))),
                Err(error) => self.hold(&error, &mut backoff).await?,
            }
        }
    }

    async fn read(&self, vid: Vid) -> error::Result<Option<Arc<Event>>> {
        let page = read_after(&self.bus, Filter::everything(), vid - 1, vid);
        Ok(page.await?.events.pop())
    }

    /// Waits before another attempt.
    async fn hold(&self, error: &Error, backoff: &mut Backoff) -> WithinTurn<()> {
        // The error of a closing bus is none of the source's; there is nothing to report.
        if self.turn.is_over() {
            return Err(TurnOver);
        }
        self.state.held(&error.to_string());
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => Ok(()),
            () = self.turn.over() => Err(TurnOver),
        }
    }
}

fn is_same(stored: &Event, event: &NewEvent) -> bool {
    stored.sent.topic == event.topic && stored.sent.data == event.data
}

/// The same event with an id that is derived from its content, too. `None` when it has no id, or
/// such an id already.
fn derive_own_id(event: &NewEvent) -> Option<NewEvent> {
    let id = event.id.as_deref()?;
    let content = fingerprint(&[event.topic.as_str().as_bytes(), &event.data]);
    let suffix = format!("~{content}");
    if id.ends_with(&suffix) {
        return None;
    }

    // The suffix has to stay whole; a long id gives way to it.
    let kept = beginning(id, limits::MAX_ID_BYTES - suffix.len());
    Some(NewEvent {
        id: Some(format!("{kept}{suffix}").into()),
        ..event.clone()
    })
}

/// Splits events into parts that fit into one commit each.
fn chunks(events: Vec<Unpublished>) -> Vec<Vec<Unpublished>> {
    let mut chunks: Vec<Vec<Unpublished>> = Vec::new();
    let mut bytes = 0;
    for (index, event) in events {
        // An event that does not fit begins the next part, even if it is too large by itself.
        bytes += event.size_bytes();
        match chunks.last_mut() {
            Some(chunk) if bytes <= limits::GROUP_BYTES => chunk.push((index, event)),
            _ => {
                bytes = event.size_bytes();
                chunks.push(vec![(index, event)]);
            }
        }
    }
    chunks
}
