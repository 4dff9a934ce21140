//! The one thread that writes.
//!
//! Invariants:
//! - the state in memory changes only after the transaction that it describes has committed;
//! - one append is one transaction: one sync for all of its batches;
//! - nothing is acknowledged that may have been written to files that are gone;
//! - a write lock that another program holds is waited for once, for a bounded time; until it is
//!   free the next ones are refused at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::append::Appending;
use super::health::Health;
use super::reserve::{self, Reserve};
use super::state::State;
use super::trim::{Budget, Due};
use super::{fault, index};
use crate::engine::OpenError;
use crate::engine::memory::too_many_ids;
use crate::engine::{Appended, LogState, Moment, Retention, TrimStep};
use crate::error::{ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use crate::lineage::Lineage;
use crate::topic::Topic;

/// Topics whose numbers are kept in memory.
const CACHED_TOPICS: usize = 65_536;
/// Commands waiting for the thread; the bus sends one append at a time.
const QUEUED_COMMANDS: usize = 4;

enum Command {
    Append {
        batches: Vec<Vec<NewEvent>>,
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
    commands: mpsc::Sender<Command>,
    published: Arc<Published>,
}

/// What anyone may know of the log: written by the thread after each commit.
struct Published {
    log_state: ArcSwap<LogState>,
    /// Held for a copy only.
    newest_moment: Mutex<Option<Moment>>,
}

impl Published {
    fn new(state: &State, lineage: &Lineage) -> Arc<Self> {
        Arc::new(Published {
            log_state: ArcSwap::from_pointee(state.log_state(lineage)),
            newest_moment: Mutex::new(state.newest_moment()),
        })
    }

    fn newest_moment(&self) -> MutexGuard<'_, Option<Moment>> {
        self.newest_moment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, state: &State, lineage: &Lineage) {
        self.log_state.store(Arc::new(state.log_state(lineage)));
        *self.newest_moment() = state.newest_moment();
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        state: State,
        lineage: Lineage,
        reserve: Reserve,
        health: Arc<Health>,
        dedupe_window: Duration,
    ) -> std::result::Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let published = Published::new(&state, &lineage);
        let mut thread = WriterThread {
            connection,
            state,
            reserve,
            dedupe_window,
            topics: HashMap::new(),
            health,
            lineage,
            published: published.clone(),
        };
        let spawned = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || thread.run(queue));
        spawned
            .map_err(|e| OpenError::new(format!("the writer thread could not be started: {e}")))?;
        Ok(Writer {
            commands,
            published,
        })
    }

    pub(super) fn log_state(&self) -> Arc<LogState> {
        self.published.log_state.load_full()
    }

    pub(super) fn newest_moment(&self) -> Option<Moment> {
        *self.published.newest_moment()
    }

    /// How others have the write lock tried.
    pub(super) fn lock_trial(&self) -> LockTrial {
        LockTrial(self.commands.downgrade())
    }

    pub(super) async fn append(
        &self,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> Result<Appended> {
        self.call(|reply| Command::Append {
            batches,
            now,
            reply,
        })
        .await
    }

    pub(super) async fn note(&self, now: Moment) -> Result<()> {
        self.call(|reply| Command::Note { now, reply }).await
    }

    pub(super) async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.call(|reply| Command::Trim {
            retention,
            counted_ms,
            reply,
        })
        .await
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| fault::broken())?;
        answer.await.map_err(|_| fault::broken())?
    }
}

/// Has the writer try the write lock.
pub(super) struct LockTrial(mpsc::WeakSender<Command>);

impl LockTrial {
    /// When there are commands waiting they try it themselves.
    pub(super) fn ask(&self) {
        if let Some(commands) = self.0.upgrade() {
            let _ = commands.try_send(Command::TryLock);
        }
    }
}

struct WriterThread {
    connection: Connection,
    state: State,
    reserve: Reserve,
    dedupe_window: Duration,
    /// Their numbers, so that an append need not look them up.
    topics: HashMap<Topic, i64>,
    health: Arc<Health>,
    lineage: Lineage,
    published: Arc<Published>,
}

impl WriterThread {
    fn run(&mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            match command {
                Command::Append {
                    batches,
                    now,
                    reply,
                } => {
                    let done = self.write(|thread, state| thread.append(state, batches, now));
                    let _ = reply.send(done);
                }
                Command::Note { now, reply } => {
                    let done = self.write(|thread, state| thread.note(state, now));
                    let _ = reply.send(done);
                }
                Command::Trim {
                    retention,
                    counted_ms,
                    reply,
                } => {
                    let done = self.trim_even_if_full(&retention, counted_ms);
                    let _ = reply.send(done);
                }
                Command::TryLock => drop(begin(&mut self.connection, &self.health)),
            }
        }
        self.health.before_closing(&self.connection);
    }

    /// Runs one transaction on a copy of the state, and takes the copy over once it has committed.
    fn write<T>(
        &mut self,
        transaction: impl FnOnce(&mut Self, &mut State) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        self.health.intact()?;
        let mut state = self.state;
        let done = transaction(self, &mut state);
        match done {
            Ok(Ok(value)) => {
                self.health.check_files_if_due()?;
                self.state = state;
                self.published.replace(&self.state, &self.lineage);
                Ok(value)
            }
            Ok(Err(refused)) => Err(refused),
            Err(failed) => {
                self.topics.clear(); // may hold topics that have been rolled back
                let failed = fault::of_writing(&failed);
                if failed.breaks {
                    self.health.break_with(failed.error.clone());
                } else if failed.error.kind() == ErrorKind::StorageFull {
                    self.health.note_full(true);
                }
                Err(failed.error)
            }
        }
    }

    fn append(
        &mut self,
        state: &mut State,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> rusqlite::Result<Result<Appended>> {
        let ids = batches.iter().flatten().filter(|e| e.id.is_some()).count() as u64;
        if state.ids + ids > limits::MAX_DEDUPE_IDS {
            return Ok(Err(too_many_ids()));
        }
        let bytes = batches
            .iter()
            .flatten()
            .map(NewEvent::size_bytes)
            .sum::<usize>();
        if !reserve::lets_copy(&self.connection, self.health.files(), bytes as u64) {
            self.health.note_full(true);
            return Ok(Err(fault::storage_full()));
        }
        if self.topics.len() > CACHED_TOPICS {
            self.topics.clear();
        }
        let transaction = begin(&mut self.connection, &self.health)?;
        let window = self.dedupe_window;
        let mut appending = Appending::new(&transaction, state, &mut self.topics, window, now)?;
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            let receipts = batch.into_iter().map(|sent| appending.append(sent));
            answers.push(Ok(receipts.collect::<rusqlite::Result<_>>()?));
        }
        let events = appending.finish();
        if state.last - state.indexed >= index::MOST_BEHIND {
            index::catch_up(&transaction, state, state.last)?;
        }
        transaction.commit()?;
        Ok(Ok(Appended {
            events,
            batches: answers,
        }))
    }

    fn note(&mut self, state: &mut State, now: Moment) -> rusqlite::Result<Result<()>> {
        state.note(now);
        let transaction = begin(&mut self.connection, &self.health)?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// Trimming makes room, but takes some in the write-ahead log first. Where there is none, the
    /// reserve is given up for it, and the step is a small one.
    fn trim_even_if_full(&mut self, retention: &Retention, counted_ms: i64) -> Result<TrimStep> {
        let done =
            self.write(|thread, state| thread.trim(state, retention, counted_ms, &Budget::USUAL));
        if matches!(&done, Err(fault) if fault.kind() == ErrorKind::StorageFull)
            && self.reserve.give_up()
        {
            return self.write(|thread, state| {
                thread.trim(state, retention, counted_ms, &Budget::IF_FULL)
            });
        }
        if !self.health.cannot_copy() {
            if done.is_ok() {
                self.reserve.take_again();
            }
        } else if done.as_ref().is_ok_and(|step| step.trimmed > 0) {
            // There is space within the database now; to use it the log has to begin anew.
            self.reserve.give_up();
        }
        done
    }

    fn trim(
        &mut self,
        state: &mut State,
        retention: &Retention,
        counted_ms: i64,
        budget: &Budget,
    ) -> rusqlite::Result<Result<TrimStep>> {
        let counted_ms = counted_ms.max(state.noted.counted_ms);
        let Some(due) = Due::find(&self.connection, state, retention, counted_ms, budget)? else {
            return Ok(Ok(TrimStep::NOTHING));
        };
        let transaction = begin(&mut self.connection, &self.health)?;
        let done = due.delete(&transaction, state)?;
        transaction.commit()?;
        for topic in &done.topics {
            self.topics.remove(topic);
        }
        Ok(Ok(done.step))
    }
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
    let is_locked = matches!(
        &begun,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
    );
    health.note_lock(!is_locked);
    begun
}
