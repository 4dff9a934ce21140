//! From publish requests to vids: one writer, group commit.
//!
//! Invariants:
//! - while one group is being made durable, the next one gathers in a bounded queue; a full queue refuses;
//! - a publisher is answered after its events are visible, and they are visible after they are durable.

use std::sync::{Arc, Weak};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Bus, Shared, now_ms};
use crate::engine::Receipt;
use crate::error::{Error, Kind, Result};
use crate::event::NewEvent;
use crate::limits;

/// One atomic batch on its way.
pub(super) struct Job {
    batch: Vec<NewEvent>,
    bytes: usize,
    /// Gives the bytes back to the queue's bound when the job is done.
    _bytes_permit: OwnedSemaphorePermit,
    reply: oneshot::Sender<Result<Vec<Receipt>>>,
}

/// A batch that has been taken into the queue.
#[derive(Debug)]
pub struct Publishing(oneshot::Receiver<Result<Vec<Receipt>>>);

impl Publishing {
    /// Waits until the batch is durable and visible; one receipt an event.
    ///
    /// # Errors
    /// Storage full, or the log cannot be written any more.
    pub async fn done(self) -> Result<Vec<Receipt>> {
        self.0.await.map_err(|_| Error::closing())?
    }
}

impl Bus {
    /// Publishes one atomic batch.
    ///
    /// # Errors
    /// A bad request for an empty or too long batch; busy when the queue is full; what [`Publishing::done`] says.
    pub async fn publish(&self, batch: Vec<NewEvent>) -> Result<Vec<Receipt>> {
        self.enqueue(batch)?.done().await
    }

    /// Puts a batch into the queue, or refuses it when the queue is full.
    pub fn enqueue(&self, batch: Vec<NewEvent>) -> Result<Publishing> {
        let bytes = self.check_batch(&batch)?;
        let room = self.0.queue_bytes.clone().try_acquire_many_owned(permits(bytes));
        let (Ok(room), Ok(place)) = (room, self.0.queue.try_reserve()) else {
            self.0.metrics.publishes_refused.inc();
            let detail =
                "the publish queue is full; nothing was taken. Try again, with the same ids if the events have any";
            return Err(Error::new(Kind::Busy, detail));
        };
        let (job, publishing) = Job::new(batch, bytes, room);
        place.send(job);
        Ok(publishing)
    }

    /// Puts a batch into the queue, waiting for room: for streams, whose sender is held back meanwhile.
    pub async fn enqueue_when_there_is_room(&self, batch: Vec<NewEvent>) -> Result<Publishing> {
        let bytes = self.check_batch(&batch)?;
        let room = self.0.queue_bytes.clone().acquire_many_owned(permits(bytes)).await.map_err(|_| Error::closing())?;
        let place = self.0.queue.reserve().await.map_err(|_| Error::closing())?;
        let (job, publishing) = Job::new(batch, bytes, room);
        place.send(job);
        Ok(publishing)
    }

    fn check_batch(&self, batch: &[NewEvent]) -> Result<usize> {
        if self.is_closing() {
            return Err(Error::closing());
        }
        if batch.is_empty() {
            return Err(Error::bad_request("the batch is empty; send at least one event"));
        }
        let (events, bytes) = (batch.len(), batch.iter().map(NewEvent::size_bytes).sum());
        if events > limits::MAX_BATCH_EVENTS || bytes > limits::PUBLISH_QUEUE_BYTES {
            let (most, most_bytes) = (limits::MAX_BATCH_EVENTS, limits::PUBLISH_QUEUE_BYTES);
            return Err(Error::too_large(format!(
                "the batch has {events} events of {bytes} bytes; at most {most} events of {most_bytes} bytes are taken together"
            )));
        }
        Ok(bytes)
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Job {
    fn new(batch: Vec<NewEvent>, bytes: usize, room: OwnedSemaphorePermit) -> (Self, Publishing) {
        let (reply, answer) = oneshot::channel();
        (Job { batch, bytes, _bytes_permit: room, reply }, Publishing(answer))
    }
}

/// Takes jobs until the bus has gone.
pub(super) async fn run(bus: Weak<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut publishers = 0;
    while let Some(first) = jobs.recv().await {
        let Some(bus) = bus.upgrade() else { return };
        if publishers > FEW_PUBLISHERS {
            let_them_come(&jobs).await;
        }
        let group = gather(first, &mut jobs);
        publishers = group.len();
        commit(&bus, group).await;
    }
}

/// Publishers of the last group up to which the next one is not waited for.
const FEW_PUBLISHERS: usize = 2;

/// Those who were just answered are on their way back: while others bring more, they go first, and fewer commits do.
async fn let_them_come(jobs: &mpsc::Receiver<Job>) {
    let mut waiting = jobs.len();
    for _ in 0..limits::GATHER_YIELDS {
        tokio::task::yield_now().await;
        if jobs.len() == waiting {
            return;
        }
        waiting = jobs.len();
    }
}

/// The first job and whatever waits behind it, up to the bounds of a group.
fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let (mut events, mut bytes) = (first.batch.len(), first.bytes);
    let mut group = vec![first];
    while events < limits::GROUP_EVENTS && bytes < limits::GROUP_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        events += job.batch.len();
        bytes += job.bytes;
        group.push(job);
    }
    group
}

async fn commit(bus: &Arc<Shared>, mut group: Vec<Job>) {
    let batches = group.iter_mut().map(|job| std::mem::take(&mut job.batch)).collect();
    match bus.engine.append(batches, now_ms()).await {
        Ok(appended) => {
            bus.show(&appended.events);
            bus.metrics.commits.inc();
            bus.metrics.events_published.inc_by(appended.events.len() as u64);
            for (job, receipts) in group.into_iter().zip(appended.receipts) {
                bus.metrics.duplicates.inc_by(receipts.iter().filter(|r| r.duplicate).count() as u64);
                let _ = job.reply.send(Ok(receipts)); // the publisher may have left
            }
        }
        Err(fault) => {
            bus.metrics.commit_failures.inc();
            for job in group {
                let _ = job.reply.send(Err(fault.clone()));
            }
        }
    }
}
