//! Group commit: from queued batches to vids.
//!
//! An engine with a thread of its own has the turn there: it takes a group, commits it and settles
//! it without waking anybody but those who are answered. Any other one appends for whoever has the
//! turn, a publisher or a task.
//!
//! Invariants:
//! - a group holds no more than the engine takes as one batch, unless a single batch is larger;
//! - publishers are answered after their events are visible, and they are visible after they are
//!   durable;
//! - a turn that breaks off answers everybody who waits.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Shared;
use super::commit_watch::{CommitTimes, CommitWatch};
use super::sequencer::{BatchAnswer, CommitQueue, QueuedBatch};
use super::visible::Unnotified;
use crate::engine::{Appended, BatchBounds, Group, GroupSource};
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::metrics::{Metrics, steady_ns};

/// The right to commit. There is one at a time.
pub(super) struct CommitTurn {
    bus: Arc<Shared>,
    is_over: bool,
    /// What the engine's own thread has taken and not settled.
    taken: Option<CommitGroup>,
}

impl CommitTurn {
    /// For whoever has set `is_committing`.
    pub(super) fn new(bus: Arc<Shared>) -> Self {
        CommitTurn {
            bus,
            is_over: false,
            taken: None,
        }
    }

    /// Has everything committed that waits.
    pub(super) fn begin(self) {
        let engine = self.bus.engine.clone();
        match engine.group_thread() {
            Some(thread) => thread.append_groups(Box::new(self)),
            None => self.begin_here(),
        }
    }

    /// Commits the first group here, if the engine does not have to wait for it. A task does the
    /// rest.
    fn begin_here(mut self) {
        let Some(mut group) = self.take_group() else {
            return;
        };

        // Polled once by whoever has brought the batch.
        let mut append = group.append();
        let mut context = Context::from_waker(Waker::noop());
        match append.as_mut().poll(&mut context) {
            Poll::Ready(appended) => {
                group.settle(appended);
                // Others may have come meanwhile, and are not this publisher's to wait for.
                if !self.ends() {
                    tokio::spawn(self.go_on());
                }
            }
            Poll::Pending => drop(tokio::spawn(async move {
                group.settle(append.await);
                self.go_on().await;
            })),
        }
    }

    /// Commits until nothing waits.
    ///
    /// Publishers who were just answered are not waited for, though they mostly come back at once:
    /// while one part of them is on its way, the other part's commit is. Waiting brought 8
    /// publishers 1.15 times as many events, and took 32 a fifth of theirs.
    async fn go_on(mut self) {
        while let Some(mut group) = self.take_group() {
            let appended = group.append().await;
            group.settle(appended);
        }
    }

    /// What waits, up to the bounds of a group; or nothing, and then the turn is over.
    fn take_group(&mut self) -> Option<CommitGroup> {
        let bus = self.bus.clone();
        let mut queue = bus.sequencer.queue();
        let batches = queue.take_group(bus.batch_bounds);
        // Under the lock: the next batch that comes finds nobody committing, and begins a turn.
        if batches.is_empty() {
            self.is_over = true;
            queue.is_committing = false;
            return None;
        }
        drop(queue);
        let generation = bus.log.generation();
        let is_watched = batches.iter().any(|batch| batch.watch.is_some());
        Some(CommitGroup {
            bus,
            batches,
            generation,
            watched_from_ns: is_watched.then(steady_ns),
        })
    }

    /// Ends the turn if nothing waits.
    fn ends(&mut self) -> bool {
        let mut queue = self.bus.sequencer.queue();
        self.is_over = queue.waiting.is_empty();
        queue.is_committing = !self.is_over;
        self.is_over
    }
}

/// The turn on a thread of the engine.
impl GroupSource for CommitTurn {
    fn next_group(&mut self) -> Option<Group> {
        let mut group = self.take_group()?;
        let batches = group.take_events();
        self.taken = Some(group);
        Some(Group {
            batches,
            now: self.bus.clock.now(),
        })
    }

    fn settle(&mut self, appended: Result<Appended>) {
        // Waking readers may need timers and tasks.
        let runtime = self.bus.runtime.clone();
        let _entered = runtime.enter();
        if let Some(group) = self.taken.take() {
            group.settle(appended);
        }
    }
}

impl CommitQueue {
    fn take_group(&mut self, bounds: BatchBounds) -> Vec<QueuedBatch> {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        while events < limits::GROUP_EVENTS && bytes < limits::GROUP_BYTES {
            let Some(batch) = self.waiting.pop_front() else {
                break;
            };
            // Cut between two batches, never within one.
            events += batch.events.len();
            bytes += batch.bytes;
            if !group.is_empty() && (events > bounds.events || bytes > bounds.bytes) {
                self.waiting.push_front(batch);
                break;
            }
            group.push(batch);
        }
        group
    }
}

impl Drop for CommitTurn {
    /// A turn that was broken off is over, too. Nobody would commit what waits until the next batch
    /// comes, so it is answered.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(group) = self.taken.take() {
            group.refuse_all(&Error::internal(
                "a commit broke off; it is not known whether this was written",
            ));
        }
        let mut queue = self.bus.sequencer.queue();
        queue.is_committing = false;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);

        // With the queue free: whoever is answered may come back at once.
        for batch in waiting {
            batch.answer(Err(Error::internal(
                "a commit broke off; nothing was written of this",
            )));
        }
    }
}

/// Batches that are committed together.
struct CommitGroup {
    bus: Arc<Shared>,
    batches: Vec<QueuedBatch>,
    /// Of the log that was served when the group was formed.
    generation: u64,
    /// When it was formed, where somebody traces one of its batches.
    watched_from_ns: Option<u64>,
}

type Appending = Pin<Box<dyn Future<Output = Result<Appended>> + Send>>;

impl CommitGroup {
    /// The events of each batch. What publishers are answered by stays here.
    fn take_events(&mut self) -> Vec<Vec<NewEvent>> {
        let batches = self.batches.iter_mut();
        batches.map(|b| std::mem::take(&mut b.events)).collect()
    }

    fn append(&mut self) -> Appending {
        let events = self.take_events();
        let bus = self.bus.clone();
        Box::pin(async move { bus.engine.append(events, bus.clock.now()).await })
    }

    /// Makes what is durable visible, and answers.
    fn settle(self, appended: Result<Appended>) {
        if let Some(begun_ns) = self.watched_from_ns {
            let sync_ns = appended.as_ref().ok().and_then(|a| a.synced_ns.clone());
            self.note_times(&CommitTimes {
                append_ns: begun_ns..steady_ns(),
                sync_ns,
            });
        }
        match appended {
            Ok(appended) => self.settle_durable(appended),
            Err(error) => {
                self.bus.metrics.publishing.count_failure();
                self.refuse_all(&error);
            }
        }
    }

    fn note_times(&self, times: &CommitTimes) {
        let watches = self.batches.iter().filter_map(|b| b.watch.as_deref());
        watches.for_each(|watch: &CommitWatch| watch.note(times));
    }

    fn settle_durable(self, appended: Appended) {
        self.bus.metrics.count_commit(&appended.batches);
        if self.bus.follows_tail() {
            // It comes back by the tail; meanwhile the next group is committed.
            tokio::spawn(self.answer_once_visible(appended.batches));
            return;
        }
        // Visible first, then answered; nothing is where all events were duplicates.
        let bus = self.bus.clone();
        let newest = appended.events.last();
        let published_ns = self.oldest_ns();
        let unnotified =
            newest.map(|newest| bus.make_visible(&appended.events, newest.vid, published_ns));
        self.answer(appended.batches);

        // Publishers come first: they are few, and send the next events meanwhile.
        unnotified.into_iter().for_each(Unnotified::notify);
    }

    async fn answer_once_visible(self, answers: Vec<BatchAnswer>) {
        let receipts = answers.iter().flatten().flatten();
        if let Some(newest) = receipts.map(|receipt| receipt.vid).max() {
            // What is durable and not visible in time is a success all the same.
            self.bus.wait_for(newest, limits::VISIBLE_WAIT).await;
        }

        // A vid of the log before would be answered with the epoch of this one.
        if self.bus.log.generation() != self.generation {
            return self.refuse_all(&log_was_replaced());
        }
        self.answer(answers);
    }

    fn refuse_all(self, error: &Error) {
        for batch in self.batches {
            batch.answer(Err(error.clone()));
        }
    }

    /// When the batch came that has waited longest.
    fn oldest_ns(&self) -> u64 {
        self.batches.first().map_or(0, |batch| batch.queued_ns)
    }

    fn answer(self, answers: Vec<BatchAnswer>) {
        // One look at the clock for all who are answered together.
        let (now_ns, publishing) = (steady_ns(), &self.bus.metrics.publishing);
        for (batch, answer) in self.batches.into_iter().zip(answers) {
            publishing.count_answer(batch.queued_ns, now_ns);
            batch.answer(answer);
        }
    }
}

fn log_was_replaced() -> Error {
    let detail = "the log was replaced while this was being published; publish it again, with the \
                  same ids if the events have any";
    Error::new(ErrorKind::Behind, detail)
}

impl Metrics {
    fn count_commit(&self, answers: &[BatchAnswer]) {
        let mut events = 0;
        for answer in answers {
            // On a shared log one batch may be refused and the next one not.
            let Ok(receipts) = answer else {
                self.publishing.count_failure();
                continue;
            };
            let duplicates = receipts.iter().filter(|r| r.duplicate).count();
            self.publishing.count_batch(receipts.len(), duplicates);
            events += receipts.len();
        }
        self.publishing.count_commit(events);
    }
}
