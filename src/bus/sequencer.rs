//! From publish requests to a queue of atomic batches.
//!
//! Whoever brings a batch while nobody commits does so itself. An engine that appends at once, as
//! one in memory, has then cost no hop to another task; for one that has to wait, a task takes over
//! from there (see [`super::commit`]).
//!
//! Invariants:
//! - there is one committer at a time: whoever has the [`CommitTurn`];
//! - while one group is being made durable, the next one gathers in a bounded queue; a full queue
//!   refuses;
//! - a batch is checked, and its memory is paid, before it waits for anything;
//! - a batch that is refused has taken nothing, neither memory nor of its publisher's rate.

#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::Bus;
use super::capacity::{QueueCapacity, QueuePlace, StreamCapacity};
use super::commit::CommitTurn;
use super::commit_watch::{CommitWatch, NewBatch};
use crate::caller::{Caller, EventTokens};
use crate::engine::{BatchBounds, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::memory::{MemoryKind, Reservation};
use crate::metrics::{RefusalReason, steady_ns};

/// Batches that wait, and whether somebody commits.
pub(super) struct Sequencer {
    queue: Mutex<CommitQueue>,
    capacity: QueueCapacity,
}

#[derive(Default)]
pub(super) struct CommitQueue {
    pub(super) waiting: VecDeque<QueuedBatch>,
    pub(super) is_committing: bool,
}

/// What becomes of a batch: one receipt an event, or why nothing of it was written.
pub(super) type BatchAnswer = Result<Vec<Receipt>>;

/// A batch that has been checked, with its part of the memory budget.
struct AdmittedBatch {
    events: Vec<NewEvent>,
    watch: Option<Arc<CommitWatch>>,
    bytes: usize,
    paid: Reservation,
    /// What its publisher may publish; given back where the batch is not queued after all.
    tokens: EventTokens,
}

/// One atomic batch on its way.
pub(super) struct QueuedBatch {
    pub(super) events: Vec<NewEvent>,
    /// Who traces it.
    pub(super) watch: Option<Arc<CommitWatch>>,
    pub(super) bytes: usize,
    /// When it came into the queue, by [`steady_ns`].
    pub(super) queued_ns: u64,
    /// What it holds until it is answered: its place in the queue, and its memory.
    held: (QueuePlace, Reservation),
    reply: oneshot::Sender<BatchAnswer>,
}

impl QueuedBatch {
    pub(super) fn answer(self, answer: BatchAnswer) {
        // Given back first: whoever is answered may publish again at once.
        drop(self.held);
        let _ = self.reply.send(answer); // the publisher may have left
    }
}

/// A batch that has been taken into the queue.
#[derive(Debug)]
pub struct Publishing(oneshot::Receiver<BatchAnswer>);

impl Publishing {
    /// Waits until the batch is durable and visible; one receipt an event.
    ///
    /// # Errors
    /// Storage full, or the log cannot be written any more.
    pub async fn done(self) -> Result<Vec<Receipt>> {
        self.0.await.map_err(|_| Error::closing())?
    }
}

impl Sequencer {
    pub(super) fn new() -> Self {
        Sequencer {
            queue: Mutex::default(),
            capacity: QueueCapacity::new(),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, CommitQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Publishes one atomic batch.
    ///
    /// # Errors
    /// A bad request for an empty batch; too large for one beyond the bounds of the engine;
    /// unauthenticated when the caller's credential has ended; forbidden when it may not publish to
    /// one of the batch's topics; busy when the queue is full; what [`Publishing::done`] says.
    pub async fn publish(
        &self,
        caller: &Caller,
        batch: impl Into<NewBatch>,
    ) -> Result<Vec<Receipt>> {
        self.enqueue(caller, batch)?.done().await
    }

    /// Puts a batch into the queue, or refuses it when the queue is full.
    pub fn enqueue(&self, caller: &Caller, batch: impl Into<NewBatch>) -> Result<Publishing> {
        // A single request does not wait: it may be one of thousands.
        let batch = self.admit(caller, batch.into(), Duration::ZERO)?;
        let place = self.0.sequencer.capacity.try_take(None, batch.bytes);
        let place = place.ok_or_else(|| {
            self.0.metrics.publishing.count_refused();
            self.0.metrics.refusals.count(RefusalReason::PublishQueue);
            queue_full()
        })?;
        Ok(self.put(batch, place))
    }

    /// Opens a stream of batches, which is held back where a single request is refused.
    pub fn publish_stream(&self, caller: &Caller) -> PublishStream {
        PublishStream {
            bus: self.clone(),
            caller: caller.clone(),
            capacity: StreamCapacity::new(),
        }
    }

    /// Checks a batch, and pays for the memory that it takes until it is written. Its tokens are
    /// due within `patience`.
    fn admit(&self, caller: &Caller, batch: NewBatch, patience: Duration) -> Result<AdmittedBatch> {
        let NewBatch { events, watch } = batch;
        // What costs least comes first.
        self.0.check_serving()?;
        self.check_not_read_only(caller, &events)?;
        let bytes = check_bounds(&events, self.0.batch_bounds)?;
        caller.check_credential()?;
        // All of it is refused for one topic, as a batch is atomic.
        for event in &events {
            caller.check_publish(&event.topic)?;
        }

        let tokens = caller.allowance.take_events(events.len(), patience)?;
        let paid = self.0.memory.reserve(MemoryKind::Queue, bytes);
        let paid = paid.inspect_err(|_| self.0.metrics.publishing.count_refused())?;
        Ok(AdmittedBatch {
            events,
            watch,
            bytes,
            paid,
            tokens,
        })
    }

    /// Puts a batch into the queue, and commits it if nobody else does.
    fn put(&self, batch: AdmittedBatch, place: QueuePlace) -> Publishing {
        batch.tokens.spend();
        // Held for a push: appending is done with the queue free.
        let (reply, answer) = oneshot::channel();
        let queued_ns = steady_ns();
        let mut queue = self.0.sequencer.queue();
        queue.waiting.push_back(QueuedBatch {
            events: batch.events,
            watch: batch.watch,
            bytes: batch.bytes,
            queued_ns,
            held: (place, batch.paid),
            reply,
        });

        // Whoever finds nobody committing does so, with the queue free for others.
        let is_free = !std::mem::replace(&mut queue.is_committing, true);
        drop(queue);
        if is_free {
            CommitTurn::new(self.0.clone()).begin();
        }
        Publishing(answer)
    }
}

/// The bytes of a batch, if it fits.
fn check_bounds(events: &[NewEvent], bounds: BatchBounds) -> Result<usize> {
    if events.is_empty() {
        return Err(Error::bad_request(
            "the batch is empty; send at least one event",
        ));
    }
    let bytes = events.iter().map(NewEvent::size_bytes).sum();
    if events.len() > bounds.events || bytes > bounds.bytes {
        return Err(batch_too_large(events.len(), bytes, bounds));
    }
    Ok(bytes)
}

fn batch_too_large(events: usize, bytes: usize, bounds: BatchBounds) -> Error {
    let (most, most_bytes) = (bounds.events, bounds.bytes);
    Error::too_large(format!(
        "the batch has {events} events of {bytes} bytes; at most {most} events of {most_bytes} \
         bytes are taken together"
    ))
}

fn queue_full() -> Error {
    Error::new(
        ErrorKind::Busy,
        "the publish queue is full; nothing was taken. Try again, with the same ids if the events \
         have any",
    )
}

/// One publisher's batches, one after the other. Streams share a part of the queue, and none has
/// more than its own part of that: the rest is left to single requests.
pub struct PublishStream {
    bus: Bus,
    caller: Caller,
    capacity: StreamCapacity,
}

impl PublishStream {
    /// Ready once no more batches are taken from its publisher, with the error that says why.
    pub(crate) fn ended(&self) -> impl Future<Output = Error> + use<> {
        let (bus, caller) = (self.bus.clone(), self.caller.clone());
        // From now on, not from when it is first waited for.
        let turn = bus.stream_end();
        async move { bus.publisher_ended(&caller, turn).await }
    }

    /// Puts a batch into the queue, waiting until its client may publish so much and the stream's
    /// part of the queue has capacity, so that the sender is held back meanwhile.
    ///
    /// # Errors
    /// A bad request for an empty batch, too large, unauthenticated, forbidden; busy where its
    /// client may publish so much only after [`limits::PUBLISH_RATE_WAIT`]; closing.
    pub async fn enqueue_with_backpressure(
        &self,
        batch: impl Into<NewBatch>,
    ) -> Result<Publishing> {
        // Paid before it waits: many streams may wait, each with a batch in its hands.
        let batch = self
            .bus
            .admit(&self.caller, batch.into(), limits::PUBLISH_RATE_WAIT)?;
        self.wait_for_tokens(&batch.tokens).await?;
        let queue = &self.bus.0.sequencer.capacity;
        // Mostly there is capacity, and no task is needed.
        match queue.try_take(Some(&self.capacity), batch.bytes) {
            Some(place) => Ok(self.bus.put(batch, place)),
            None => self.enqueue_later(batch).await,
        }
    }

    /// Nobody else has to wait for this one: the tokens are its own already.
    async fn wait_for_tokens(&self, tokens: &EventTokens) -> Result<()> {
        if tokens.wait().is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = sleep(tokens.wait()) => Ok(()),
            ended = self.ended() => Err(ended),
        }
    }

    /// The waiting is a task of its own, which ends with this future: a stream whose future is not
    /// polled, because its peer reads no answers, would otherwise be given capacity and not use it.
    async fn enqueue_later(&self, batch: AdmittedBatch) -> Result<Publishing> {
        let (bus, capacity) = (self.bus.clone(), self.capacity.clone());
        let waiting = tokio::spawn(async move {
            let queue = &bus.0.sequencer.capacity;
            let place = queue.take(&capacity, batch.bytes).await?;
            Ok(bus.put(batch, place))
        });
        AbortOnDropHandle::new(waiting)
            .await
            .unwrap_or_else(|e| Err(Error::internal(format!("the publish queue failed: {e}"))))
    }
}
