//! The thread that writes: one transaction for each command, and for each group that it takes.
//!
//! Invariants:
//! - the state in memory changes only after the transaction that it describes has committed;
//! - one append is one transaction: one sync for all of its batches;
//! - nothing is acknowledged that may have been written to files that are gone;
//! - a write lock that another program holds is waited for once, for a bounded time; until it is
//!   free the next ones are refused at once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::append::{AppendTransaction, KnownTopic};
use super::errors::is_busy;
use super::health::Health;
use super::high_water::HighWaterMark;
use super::import::Import;
use super::published::PublishedState;
use super::reserve::{self, Reserve};
use super::trim::{TrimBudget, TrimPlan};
use super::wal_check::before_closing;
use super::write_transaction::WriteTransaction;
use super::writer_command::{Batches, WriterCommand};
use super::writer_state::WriterState;
use super::{errors, index, removal};
use crate::engine::import::CopiedPart;
use crate::engine::memory::too_many_ids;
use crate::engine::{
    Appended, Group, GroupSource, Moment, Receipt, Removal, RemovalStep, Retention, TrimStep,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::lineage::Lineage;
use crate::metrics::{Histogram, steady_ns};
use crate::topic::Topic;

/// Topics whose numbers are kept in memory.
const CACHED_TOPICS: usize = 65_536;

/// What the thread begins with.
pub(super) struct WriterSetup {
    pub(super) connection: Connection,
    pub(super) state: WriterState,
    pub(super) lineage: Lineage,
    pub(super) reserve: Reserve,
    pub(super) health: Arc<Health>,
    pub(super) high_water: Arc<HighWaterMark>,
    pub(super) dedupe_window: Duration,
    /// How long it takes to make a group durable.
    pub(super) sync_durations: Arc<Histogram>,
}

/// The thread.
pub(super) struct WriterThread {
    setup: WriterSetup,
    /// Their numbers, so that an append need not look them up.
    topics: HashMap<Topic, KnownTopic>,
    published: Arc<PublishedState>,
}

impl WriterThread {
    pub(super) fn new(setup: WriterSetup, published: Arc<PublishedState>) -> Self {
        WriterThread {
            setup,
            topics: HashMap::new(),
            published,
        }
    }

    pub(super) fn run(&mut self, mut queue: mpsc::Receiver<WriterCommand>) {
        while let Some(command) = queue.blocking_recv() {
            self.execute(command, &mut queue);
        }

        // The probe may have ended before the last commit.
        self.setup.high_water.note(self.setup.state.last);
        before_closing(&self.setup.health, &self.setup.connection);
    }

    /// Appends group after group until the source ends. Other commands have their turn between
    /// two groups.
    fn append_groups(
        &mut self,
        mut source: Box<dyn GroupSource>,
        queue: &mut mpsc::Receiver<WriterCommand>,
    ) {
        while let Some(Group { batches, now }) = source.next_group() {
            let appended = self.write(|thread, state| thread.append(state, batches, now));
            if !settle(&mut *source, appended) {
                return;
            }
            // All of them: a round of retention is not interrupted.
            while let Ok(command) = queue.try_recv() {
                self.execute(command, queue);
            }
        }
    }

    /// Executes one command.
    fn execute(&mut self, command: WriterCommand, queue: &mut mpsc::Receiver<WriterCommand>) {
        match command {
            WriterCommand::Append {
                batches,
                now,
                reply,
            } => answer(
                reply,
                self.write(|thread, state| thread.append(state, batches, now)),
            ),
            WriterCommand::AppendGroups(source) => self.append_groups(source, queue),
            WriterCommand::Import { part, reply } => {
                answer(
                    reply,
                    self.write(|thread, state| thread.import(state, &part)),
                );
            }
            WriterCommand::Note { now, reply } => {
                answer(reply, self.write(|thread, state| thread.note(state, now)));
            }
            WriterCommand::Trim {
                retention,
                counted_ms,
                reply,
            } => answer(reply, self.trim_even_if_full(&retention, counted_ms)),
            WriterCommand::Remove { what, reply } => {
                answer(reply, self.remove(&what));
            }
            WriterCommand::TryLock => drop(self.begin()),
        }
    }

    /// Runs one transaction on a copy of the state, and takes the copy over once it has committed.
    fn write<T>(
        &mut self,
        transaction: impl FnOnce(&mut Self, &mut WriterState) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        // After a failed sync nobody knows what the disk holds until a restart reads it.
        self.setup.health.intact()?;

        // The transaction changes a draft; it counts when the commit has succeeded.
        let mut state = self.setup.state;
        let written = transaction(self, &mut state);
        let value = written.map_err(|error| self.failed(&error))??;

        // Committed, but perhaps to files that nobody finds any more.
        self.setup.health.check_files_if_due()?;
        self.setup.state = state;
        self.published.replace(&state, &self.setup.lineage);
        Ok(value)
    }

    /// What to answer when a transaction has failed; the log may be broken by it.
    fn failed(&mut self, error: &rusqlite::Error) -> Error {
        // They may hold topics that have been rolled back.
        self.topics.clear();
        let failed = errors::of_writing(error);
        if failed.breaks_log {
            self.setup.health.break_with(failed.error.clone());
        } else if failed.error.kind() == ErrorKind::StorageFull {
            self.setup.health.note_full(true);
        }
        failed.error
    }

    fn append(
        &mut self,
        state: &mut WriterState,
        batches: Batches,
        now: Moment,
    ) -> rusqlite::Result<Result<Appended>> {
        if let Err(refused) = self.check_bounds(state, || batches.iter().flatten()) {
            return Ok(Err(refused));
        }
        // Looked up again one by one, which is cheap where a few are in use.
        if self.topics.len() > CACHED_TOPICS {
            self.topics.clear();
        }

        // All batches are one transaction, and so one sync.
        let WriterThread { setup, topics, .. } = self;
        let transaction = begin(&setup.connection, &setup.health)?;
        let window = setup.dedupe_window;
        let mut append = AppendTransaction::new(&transaction, state, topics, window, now)?;
        let batches = append_all(&mut append, batches)?;
        let events = append.finish();

        // The index trails, and is brought up to date once for many events.
        index::catch_up_if_due(&transaction, state)?;
        let begun_ns = steady_ns();
        transaction.commit()?;
        let ended_ns = steady_ns();
        setup
            .sync_durations
            .observe(ended_ns.saturating_sub(begun_ns));
        Ok(Ok(Appended {
            events,
            batches,
            synced_ns: Some(begun_ns..ended_ns),
        }))
    }

    /// Writes a part of another log.
    fn import(
        &mut self,
        state: &mut WriterState,
        part: &CopiedPart,
    ) -> rusqlite::Result<Result<()>> {
        if let Err(refused) = self.check_bounds(state, || part.events.iter().map(|e| &e.sent)) {
            return Ok(Err(refused));
        }
        let WriterThread { setup, topics, .. } = self;
        let transaction = begin(&setup.connection, &setup.health)?;
        let mut import = Import {
            connection: &transaction,
            state,
            topics,
            dedupe_window: setup.dedupe_window,
        };
        let lineage = import.write(&setup.lineage, part)?;
        transaction.commit()?;
        setup.lineage = lineage;
        Ok(Ok(()))
    }

    /// Refuses what would make the log grow beyond what it may or can.
    fn check_bounds<'e, E>(&self, state: &WriterState, events: impl Fn() -> E) -> Result<()>
    where
        E: Iterator<Item = &'e NewEvent>,
    {
        // Ids are kept in the database for the dedupe window, so their number is bounded.
        let ids = events().filter(|e| e.id.is_some()).count() as u64;
        if state.ids + ids > limits::MAX_DEDUPE_IDS {
            return Err(too_many_ids());
        }

        let WriterSetup {
            connection, health, ..
        } = &self.setup;
        // Refused before the disk is full, so that trimming can free space.
        let bytes = events().map(NewEvent::size_bytes).sum::<usize>() as u64;
        if !reserve::lets_copy(connection, health.files(), bytes) {
            health.note_full(true);
            return Err(errors::storage_full());
        }
        Ok(())
    }

    fn note(&mut self, state: &mut WriterState, now: Moment) -> rusqlite::Result<Result<()>> {
        // Written with the row of `bus`, as there is no event to take it from.
        state.note(now);
        let transaction = self.begin()?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// Trimming frees space, but takes some in the write-ahead log first. Where there is none, the
    /// reserve is given up for it, and the step is a small one.
    fn trim_even_if_full(&mut self, retention: &Retention, counted_ms: i64) -> Result<TrimStep> {
        // On a full disk the reserve gives just enough for a small step.
        let trimmed = self.trim_within(&TrimBudget::USUAL, retention, counted_ms);
        let is_full = matches!(&trimmed, Err(e) if e.kind() == ErrorKind::StorageFull);
        if is_full && self.setup.reserve.give_up() {
            return self.trim_within(&TrimBudget::IF_FULL, retention, counted_ms);
        }
        self.keep_reserve(&trimmed);
        trimmed
    }

    fn trim_within(
        &mut self,
        budget: &TrimBudget,
        retention: &Retention,
        counted_ms: i64,
    ) -> Result<TrimStep> {
        self.write(|thread, state| thread.trim(state, retention, counted_ms, budget))
    }

    /// Takes the reserve again when there is space, or gives it up where the log needs it.
    fn keep_reserve(&mut self, trimmed: &Result<TrimStep>) {
        // Taken again only when the log does not need the space itself.
        let reserve = &mut self.setup.reserve;
        if !self.setup.health.cannot_copy() {
            if trimmed.is_ok() {
                reserve.take_again();
            }
        } else if trimmed.as_ref().is_ok_and(|step| step.trimmed > 0) {
            // There is space within the database now; to use it the log has to begin anew.
            reserve.give_up();
        }
    }

    fn trim(
        &mut self,
        state: &mut WriterState,
        retention: &Retention,
        counted_ms: i64,
        budget: &TrimBudget,
    ) -> rusqlite::Result<Result<TrimStep>> {
        // Found before the write lock is taken: as a rule there is nothing to do.
        let counted_ms = counted_ms.max(state.noted.counted_ms);
        let connection = &self.setup.connection;
        let plan = TrimPlan::find(connection, state, retention, counted_ms, budget)?;
        let Some(plan) = plan else {
            return Ok(Ok(TrimStep::NOTHING));
        };

        let transaction = self.begin()?;
        let outcome = plan.delete(&transaction, state)?;
        transaction.commit()?;

        // A topic that comes back gets a new number.
        for topic in &outcome.topics {
            self.topics.remove(topic);
        }
        Ok(Ok(outcome.step))
    }

    /// What is removed is overwritten in the database, and not only marked as free.
    fn remove(&mut self, what: &Removal) -> Result<RemovalStep> {
        self.write(|thread, state| {
            let connection = &thread.setup.connection;
            connection.pragma_update(None, "secure_delete", true)?;
            let removed = thread.remove_within(state, what);
            connection.pragma_update(None, "secure_delete", false)?;
            removed.map(Ok)
        })
    }

    fn remove_within(
        &self,
        state: &mut WriterState,
        what: &Removal,
    ) -> rusqlite::Result<RemovalStep> {
        let transaction = self.begin()?;
        let step = removal::remove(&transaction, state, what)?;
        transaction.commit()?;
        Ok(step)
    }

    fn begin(&self) -> rusqlite::Result<WriteTransaction<'_>> {
        begin(&self.setup.connection, &self.setup.health)
    }
}

/// False where that has panicked. What is durable stays so, and the thread goes on: the source
/// answers everybody who waits when it is dropped.
fn settle(source: &mut dyn GroupSource, appended: Result<Appended>) -> bool {
    catch_unwind(AssertUnwindSafe(|| source.settle(appended))).is_ok()
}

/// Whoever asked may have left; what was done is done.
fn answer<T>(reply: oneshot::Sender<Result<T>>, result: Result<T>) {
    let _ = reply.send(result);
}

/// Appends each batch; on this log either all are written or none.
fn append_all(
    append: &mut AppendTransaction<'_>,
    batches: Batches,
) -> rusqlite::Result<Vec<Result<Vec<Receipt>>>> {
    let mut answers = Vec::with_capacity(batches.len());
    for batch in batches {
        let receipts = batch.into_iter().map(|sent| append.append(sent));
        answers.push(Ok(receipts.collect::<rusqlite::Result<_>>()?));
    }
    Ok(answers)
}

/// Begins to write. The write lock of another program is waited for unless it is known to be held.
fn begin<'c>(
    connection: &'c Connection,
    health: &Health,
) -> rusqlite::Result<WriteTransaction<'c>> {
    // Each publisher would wait in turn behind a lock that is held for long.
    let wait = if health.is_locked() {
        Duration::ZERO
    } else {
        limits::WRITE_LOCK_WAIT
    };
    connection.busy_timeout(wait)?;
    let begun = WriteTransaction::begin(connection);
    health.note_lock(!begun.as_ref().is_err_and(is_busy));
    begun
}
