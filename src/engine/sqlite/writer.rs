//! The one thread that writes.
//!
//! Invariants:
//! - the state in memory changes only after the transaction that it describes has committed;
//! - one append is one transaction: one sync for all of its batches;
//! - nothing is acknowledged that may have been written to files that are gone;
//! - a write lock that another program holds is waited for once, for a bounded time; until it is
//!   free the next ones are refused at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::append::AppendTransaction;
use super::health::Health;
use super::high_water::HighWaterMark;
use super::published::PublishedState;
use super::refusal::{OpenError, no_thread};
use super::reserve::{self, Reserve};
use super::trim::{TrimBudget, TrimPlan};
use super::wal_check::before_closing;
use super::writer_state::WriterState;
use super::{errors, index};
use crate::engine::memory::too_many_ids;
use crate::engine::{Appended, LogState, Moment, Receipt, Retention, TrimStep};
use crate::error::{ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::lineage::Lineage;
use crate::topic::Topic;

/// Topics whose numbers are kept in memory.
const CACHED_TOPICS: usize = 65_536;
/// Commands waiting for the thread; the bus sends one append at a time.
const QUEUED_COMMANDS: usize = 4;

const THREAD_NAME: &str = "sqlite-writer";

type Batches = Vec<Vec<NewEvent>>;

enum WriterCommand {
    Append {
        batches: Batches,
        now: Moment,
        reply: oneshot::Sender<Result<Appended>>,
    },
    Note {
        now: Moment,
        reply: oneshot::Sender<Result<()>>,
    },
    Trim {
        retention: Retention,
        counted_ms: i64,
        reply: oneshot::Sender<Result<TrimStep>>,
    },
    /// Take the write lock for a moment, to learn whether it is free.
    TryLock,
}

/// A handle to the thread.
pub(super) struct Writer {
    commands: mpsc::Sender<WriterCommand>,
    published: Arc<PublishedState>,
}

/// What the thread begins with.
pub(super) struct WriterSetup {
    pub(super) connection: Connection,
    pub(super) state: WriterState,
    pub(super) lineage: Lineage,
    pub(super) reserve: Reserve,
    pub(super) health: Arc<Health>,
    pub(super) high_water: Arc<HighWaterMark>,
    pub(super) dedupe_window: Duration,
}

impl Writer {
    pub(super) fn start(setup: WriterSetup) -> std::result::Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let published = Arc::new(PublishedState::new(&setup.state, &setup.lineage));
        let mut thread = WriterThread {
            setup,
            topics: HashMap::new(),
            published: published.clone(),
        };
        let builder = thread::Builder::new().name(THREAD_NAME.into());
        let spawned = builder.spawn(move || thread.run(queue));
        spawned.map_err(|e| no_thread(THREAD_NAME, &e))?;
        Ok(Writer {
            commands,
            published,
        })
    }

    pub(super) fn log_state(&self) -> Arc<LogState> {
        self.published.log_state()
    }

    pub(super) fn newest_moment(&self) -> Option<Moment> {
        self.published.newest_moment()
    }

    /// For the probe, which does not keep the thread running.
    pub(super) fn observer(&self) -> WriterObserver {
        WriterObserver {
            commands: self.commands.downgrade(),
            published: self.published.clone(),
        }
    }

    pub(super) async fn append(&self, batches: Batches, now: Moment) -> Result<Appended> {
        self.call(|reply| WriterCommand::Append {
            batches,
            now,
            reply,
        })
        .await
    }

    pub(super) async fn note(&self, now: Moment) -> Result<()> {
        self.call(|reply| WriterCommand::Note { now, reply }).await
    }

    pub(super) async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.call(|reply| WriterCommand::Trim {
            retention,
            counted_ms,
            reply,
        })
        .await
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> WriterCommand,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| errors::broken())?;
        answer.await.map_err(|_| errors::broken())?
    }
}

/// Watches the writer, and has it try the write lock.
pub(super) struct WriterObserver {
    commands: mpsc::WeakSender<WriterCommand>,
    published: Arc<PublishedState>,
}

impl WriterObserver {
    /// When there are commands waiting they try it themselves.
    pub(super) fn try_lock(&self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.try_send(WriterCommand::TryLock);
        }
    }

    /// The newest durable vid.
    pub(super) fn last_vid(&self) -> u64 {
        self.published.log_state().bounds.last
    }
}

struct WriterThread {
    setup: WriterSetup,
    /// Their numbers, so that an append need not look them up.
    topics: HashMap<Topic, i64>,
    published: Arc<PublishedState>,
}

impl WriterThread {
    fn run(&mut self, mut queue: mpsc::Receiver<WriterCommand>) {
        while let Some(command) = queue.blocking_recv() {
            self.execute(command);
        }
        self.setup.high_water.note(self.setup.state.last);
        before_closing(&self.setup.health, &self.setup.connection);
    }

    /// Executes one command. Whoever sent it may have left; it is done all the same.
    fn execute(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Append {
                batches,
                now,
                reply,
            } => {
                let appended = self.write(|thread, state| thread.append(state, batches, now));
                let _ = reply.send(appended);
            }
            WriterCommand::Note { now, reply } => {
                let noted = self.write(|thread, state| thread.note(state, now));
                let _ = reply.send(noted);
            }
            WriterCommand::Trim {
                retention,
                counted_ms,
                reply,
            } => {
                let trimmed = self.trim_even_if_full(&retention, counted_ms);
                let _ = reply.send(trimmed);
            }
            WriterCommand::TryLock => drop(self.begin()),
        }
    }

    /// Runs one transaction on a copy of the state, and takes the copy over once it has committed.
    fn write<T>(
        &mut self,
        transaction: impl FnOnce(&mut Self, &mut WriterState) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        self.setup.health.intact()?;
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
    fn failed(&mut self, error: &rusqlite::Error) -> crate::error::Error {
        self.topics.clear(); // may hold topics that have been rolled back
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
        if let Err(refused) = self.check_bounds(state, &batches) {
            return Ok(Err(refused));
        }
        if self.topics.len() > CACHED_TOPICS {
            self.topics.clear();
        }

        let WriterThread { setup, topics, .. } = self;
        let transaction = begin(&mut setup.connection, &setup.health)?;
        let window = setup.dedupe_window;
        let mut append = AppendTransaction::new(&transaction, state, topics, window, now)?;
        let batches = append_all(&mut append, batches)?;
        let events = append.finish();
        index::catch_up_if_due(&transaction, state)?;
        transaction.commit()?;
        Ok(Ok(Appended { events, batches }))
    }

    /// Refuses what would make the log grow beyond what it may or can.
    fn check_bounds(&self, state: &WriterState, batches: &Batches) -> Result<()> {
        let events = || batches.iter().flatten();
        let ids = events().filter(|e| e.id.is_some()).count() as u64;
        if state.ids + ids > limits::MAX_DEDUPE_IDS {
            return Err(too_many_ids());
        }

        let WriterSetup {
            connection, health, ..
        } = &self.setup;
        let bytes = events().map(NewEvent::size_bytes).sum::<usize>() as u64;
        if !reserve::lets_copy(connection, health.files(), bytes) {
            health.note_full(true);
            return Err(errors::storage_full());
        }
        Ok(())
    }

    fn note(&mut self, state: &mut WriterState, now: Moment) -> rusqlite::Result<Result<()>> {
        state.note(now);
        let transaction = self.begin()?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// Trimming frees space, but takes some in the write-ahead log first. Where there is none, the
    /// reserve is given up for it, and the step is a small one.
    fn trim_even_if_full(&mut self, retention: &Retention, counted_ms: i64) -> Result<TrimStep> {
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
        let counted_ms = counted_ms.max(state.noted.counted_ms);
        let connection = &self.setup.connection;
        let plan = TrimPlan::find(connection, state, retention, counted_ms, budget)?;
        let Some(plan) = plan else {
            return Ok(Ok(TrimStep::NOTHING));
        };

        let transaction = self.begin()?;
        let outcome = plan.delete(&transaction, state)?;
        transaction.commit()?;
        for topic in &outcome.topics {
            self.topics.remove(topic);
        }
        Ok(Ok(outcome.step))
    }

    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        begin(&mut self.setup.connection, &self.setup.health)
    }
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
fn begin<'c>(connection: &'c mut Connection, health: &Health) -> rusqlite::Result<Transaction<'c>> {
    let wait = if health.is_locked() {
        Duration::ZERO
    } else {
        limits::WRITE_LOCK_WAIT
    };
    connection.busy_timeout(wait)?;
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    health.note_lock(!begun.as_ref().is_err_and(is_busy));
    begun
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
