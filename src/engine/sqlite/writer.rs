//! The one thread that writes.
//!
//! Invariants:
//! - the state in memory changes only after the transaction that it describes has committed;
//! - one append is one transaction: one sync for all of its batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::open::OpenError;
use super::{block_of, fault, from_sql, row, to_sql};
use crate::cursor::Vid;
use crate::engine::memory::too_many_ids;
use crate::engine::{Appended, Bounds, Receipt, Retention, Sizes, TrimStep, millis};
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::limits;
use crate::topic::Topic;

/// Topics whose numbers are kept in memory.
const CACHED_TOPICS: usize = 65_536;
/// Commands waiting for the thread; the bus sends one append at a time.
const QUEUED_COMMANDS: usize = 4;

/// What anyone may know of the log at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    pub(super) bounds: Bounds,
    pub(super) sizes: Sizes,
    pub(super) broken: bool,
}

/// The row of `bus`, and how many ids are remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) first: Vid,
    pub(super) last: Vid,
    pub(super) last_time_ms: i64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) ids: u64,
}

enum Command {
    Append { batches: Vec<Vec<NewEvent>>, now_ms: i64, reply: oneshot::Sender<Result<Appended>> },
    Trim { retention: Retention, now_ms: i64, reply: oneshot::Sender<Result<TrimStep>> },
}

/// A handle to the thread.
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    /// Written by the thread after each commit, read by anyone; held for a copy only.
    status: Arc<Mutex<Status>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        state: State,
        dedupe_window: Duration,
    ) -> std::result::Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let status = Arc::new(Mutex::new(state.status(false)));
        let mut thread = WriterThread {
            connection,
            state,
            dedupe_window,
            topics: HashMap::new(),
            broken: false,
            status: status.clone(),
        };
        let spawned = std::thread::Builder::new().name("sqlite-writer".into()).spawn(move || thread.run(queue));
        spawned.map_err(|e| OpenError::new(format!("the writer thread could not be started: {e}")))?;
        Ok(Writer { commands, status })
    }

    pub(super) fn status(&self) -> Status {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn append(&self, batches: Vec<Vec<NewEvent>>, now_ms: i64) -> Result<Appended> {
        self.call(|reply| Command::Append { batches, now_ms, reply }).await
    }

    pub(super) async fn trim(&self, retention: Retention, now_ms: i64) -> Result<TrimStep> {
        self.call(|reply| Command::Trim { retention, now_ms, reply }).await
    }

    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| fault::broken())?;
        answer.await.map_err(|_| fault::broken())?
    }
}

impl State {
    fn status(&self, broken: bool) -> Status {
        Status {
            bounds: Bounds { first: self.first, last: self.last },
            sizes: Sizes { events: self.events, bytes: self.bytes },
            broken,
        }
    }

    fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE bus SET first_vid = ?1, last_vid = ?2, last_time_ms = ?3, events = ?4, bytes = ?5",
        )?;
        statement.execute(params![
            to_sql(self.first),
            to_sql(self.last),
            self.last_time_ms,
            to_sql(self.events),
            to_sql(self.bytes)
        ])?;
        Ok(())
    }
}

struct WriterThread {
    connection: Connection,
    state: State,
    dedupe_window: Duration,
    topics: HashMap<Topic, CachedTopic>,
    broken: bool,
    status: Arc<Mutex<Status>>,
}

struct CachedTopic {
    topic_id: i64,
    newest_block: u64,
}

impl WriterThread {
    fn run(&mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            match command {
                Command::Append { batches, now_ms, reply } => {
                    let done = self.write(|thread, state| thread.append(state, batches, now_ms));
                    let _ = reply.send(done);
                }
                Command::Trim { retention, now_ms, reply } => {
                    let done = self.write(|thread, state| thread.trim(state, &retention, now_ms));
                    let _ = reply.send(done);
                }
            }
        }
    }

    /// Runs one transaction on a copy of the state, and takes the copy over once it has committed.
    fn write<T>(
        &mut self,
        transaction: impl FnOnce(&mut Self, &mut State) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        if self.broken {
            return Err(fault::broken());
        }
        let mut state = self.state;
        let done = transaction(self, &mut state);
        match done {
            Ok(Ok(value)) => {
                self.state = state;
                self.publish_status();
                Ok(value)
            }
            Ok(Err(refused)) => Err(refused),
            Err(failed) => {
                self.topics.clear(); // may hold topics that have been rolled back
                let failed = fault::of_writing(&failed);
                self.broken = failed.breaks;
                self.publish_status();
                Err(failed.error)
            }
        }
    }

    fn publish_status(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = self.state.status(self.broken);
    }

    fn append(
        &mut self,
        state: &mut State,
        batches: Vec<Vec<NewEvent>>,
        now_ms: i64,
    ) -> rusqlite::Result<Result<Appended>> {
        let ids = batches.iter().flatten().filter(|e| e.id.is_some()).count() as u64;
        if state.ids + ids > limits::MAX_DEDUPE_IDS {
            return Ok(Err(too_many_ids()));
        }
        if self.topics.len() > CACHED_TOPICS {
            self.topics.clear();
        }
        state.last_time_ms = state.last_time_ms.max(now_ms);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut appending = Appending::new(&transaction, state, &mut self.topics, self.dedupe_window)?;
        let mut receipts = Vec::with_capacity(batches.len());
        for batch in batches {
            receipts.push(batch.into_iter().map(|sent| appending.append(sent)).collect::<rusqlite::Result<_>>()?);
        }
        let events = appending.finish()?;
        if !events.is_empty() {
            state.save(&transaction)?;
        }
        transaction.commit()?;
        Ok(Ok(Appended { events, receipts }))
    }

    fn trim(&mut self, state: &mut State, retention: &Retention, now_ms: i64) -> rusqlite::Result<Result<TrimStep>> {
        let now_ms = now_ms.max(state.last_time_ms);
        let mut due = Due::find(&self.connection, state, retention, now_ms)?;
        if due.step.trimmed == 0 && !due.ids_expired(&self.connection, retention, now_ms)? {
            return Ok(Ok(due.step));
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        due.delete(&transaction, state, retention, now_ms)?;
        transaction.commit()?;
        self.topics.clear(); // some may have gone
        Ok(Ok(due.step))
    }
}

/// One append transaction.
struct Appending<'t> {
    state: &'t mut State,
    topics: &'t mut HashMap<Topic, CachedTopic>,
    remembered_since_ms: i64,
    /// The newest vid of each topic that has been appended to, written once a transaction.
    newest: HashMap<i64, Vid>,
    events: Vec<Arc<Event>>,
    insert_event: CachedStatement<'t>,
    insert_block: CachedStatement<'t>,
    find_topic: CachedStatement<'t>,
    insert_topic: CachedStatement<'t>,
    find_id: CachedStatement<'t>,
    insert_id: CachedStatement<'t>,
    update_newest: CachedStatement<'t>,
}

impl<'t> Appending<'t> {
    fn new(
        connection: &'t Connection,
        state: &'t mut State,
        topics: &'t mut HashMap<Topic, CachedTopic>,
        dedupe_window: Duration,
    ) -> rusqlite::Result<Self> {
        Ok(Appending {
            remembered_since_ms: state.last_time_ms.saturating_sub(millis(dedupe_window)),
            state,
            topics,
            newest: HashMap::new(),
            events: Vec::new(),
            insert_event: connection.prepare_cached(row::INSERT)?,
            insert_block: connection.prepare_cached("INSERT OR IGNORE INTO topic_blocks VALUES (?1, ?2)")?,
            find_topic: connection.prepare_cached("SELECT topic_id FROM topics WHERE topic = ?1")?,
            insert_topic: connection
                .prepare_cached("INSERT INTO topics (topic, newest_vid) VALUES (?1, ?2) RETURNING topic_id")?,
            find_id: connection.prepare_cached("SELECT vid, time_ms FROM dedupe WHERE id = ?1")?,
            insert_id: connection.prepare_cached("INSERT OR REPLACE INTO dedupe VALUES (?1, ?2, ?3)")?,
            update_newest: connection.prepare_cached("UPDATE topics SET newest_vid = ?2 WHERE topic_id = ?1")?,
        })
    }

    fn append(&mut self, sent: NewEvent) -> rusqlite::Result<Receipt> {
        if let Some(vid) = self.duplicate_of(&sent)? {
            return Ok(Receipt { vid, duplicate: true });
        }
        let vid = self.state.last + 1;
        self.state.last = vid;
        let topic_id = self.topic_id(&sent.topic, vid)?;
        self.newest.insert(topic_id, vid);
        if let Some(id) = &sent.id {
            self.insert_id.execute(params![to_sql(vid), self.state.last_time_ms, &**id])?;
            self.state.ids += 1;
        }
        let event = Arc::new(Event::new(vid, self.state.last_time_ms, sent));
        row::insert(&mut self.insert_event, &event, topic_id)?;
        self.state.events += 1;
        self.state.bytes += event.size_bytes() as u64;
        self.events.push(event);
        Ok(Receipt { vid, duplicate: false })
    }

    fn duplicate_of(&mut self, sent: &NewEvent) -> rusqlite::Result<Option<Vid>> {
        let Some(id) = &sent.id else { return Ok(None) };
        let found: Option<(i64, i64)> = self.find_id.query_row([&**id], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        Ok(found.filter(|(_, time_ms)| *time_ms >= self.remembered_since_ms).map(|(vid, _)| from_sql(vid)))
    }

    fn topic_id(&mut self, topic: &Topic, vid: Vid) -> rusqlite::Result<i64> {
        let block = block_of(vid);
        if let Some(cached) = self.topics.get_mut(topic) {
            if cached.newest_block != block {
                self.insert_block.execute(params![cached.topic_id, to_sql(block)])?;
                cached.newest_block = block;
            }
            return Ok(cached.topic_id);
        }
        let known: Option<i64> = self.find_topic.query_row([topic.as_str()], |r| r.get(0)).optional()?;
        let topic_id = match known {
            Some(topic_id) => topic_id,
            None => self.insert_topic.query_row(params![topic.as_str(), to_sql(vid)], |r| r.get(0))?,
        };
        self.insert_block.execute(params![topic_id, to_sql(block)])?;
        self.topics.insert(topic.clone(), CachedTopic { topic_id, newest_block: block });
        Ok(topic_id)
    }

    fn finish(mut self) -> rusqlite::Result<Vec<Arc<Event>>> {
        for (topic_id, vid) in &self.newest {
            self.update_newest.execute(params![topic_id, to_sql(*vid)])?;
        }
        Ok(self.events)
    }
}

/// The oldest events, as far as they are due.
struct Due {
    step: TrimStep,
    /// Events up to this vid are deleted.
    through: Vid,
    bytes: u64,
    /// The topic and block of each of them, once.
    blocks: Vec<(i64, u64)>,
}

impl Due {
    fn find(connection: &Connection, state: &State, retention: &Retention, now_ms: i64) -> rusqlite::Result<Self> {
        let oldest_ms = retention.oldest_time_ms(now_ms);
        let mut due = Due {
            step: TrimStep { trimmed: 0, more: false },
            through: state.first.saturating_sub(1),
            bytes: 0,
            blocks: Vec::new(),
        };
        let mut statement =
            connection.prepare_cached("SELECT vid, time_ms, topic_id, bytes FROM events ORDER BY vid LIMIT ?1")?;
        let mut rows = statement.query([limits::TRIM_STEP_EVENTS + 1])?;
        while let Some(row) = rows.next()? {
            let is_over = state.events - u64::from(due.step.trimmed) > retention.max_events
                || state.bytes - due.bytes > retention.max_bytes;
            if !is_over && row.get::<_, i64>(1)? >= oldest_ms {
                break;
            }
            if due.step.trimmed == limits::TRIM_STEP_EVENTS {
                due.step.more = true;
                break;
            }
            due.through = from_sql(row.get(0)?);
            due.bytes += from_sql(row.get(3)?);
            due.step.trimmed += 1;
            due.blocks.push((row.get(2)?, block_of(due.through)));
        }
        due.blocks.sort_unstable();
        due.blocks.dedup();
        Ok(due)
    }

    fn ids_expired(&self, connection: &Connection, retention: &Retention, now_ms: i64) -> rusqlite::Result<bool> {
        let oldest: Option<i64> = connection
            .prepare_cached("SELECT time_ms FROM dedupe ORDER BY vid LIMIT 1")?
            .query_row([], |r| r.get(0))
            .optional()?;
        Ok(oldest.is_some_and(|time_ms| time_ms < retention.oldest_id_ms(now_ms)))
    }

    fn delete(
        &mut self,
        connection: &Connection,
        state: &mut State,
        retention: &Retention,
        now_ms: i64,
    ) -> rusqlite::Result<()> {
        let through = to_sql(self.through);
        connection.prepare_cached("DELETE FROM events WHERE vid <= ?1")?.execute([through])?;
        let whole_block = block_of(self.through + 1);
        let mut delete_block =
            connection.prepare_cached("DELETE FROM topic_blocks WHERE topic_id = ?1 AND block = ?2")?;
        for (topic_id, block) in self.blocks.iter().filter(|(_, block)| *block < whole_block) {
            delete_block.execute(params![topic_id, to_sql(*block)])?;
        }
        connection
            .prepare_cached(
                "DELETE FROM topic_blocks WHERE topic_id IN (SELECT topic_id FROM topics WHERE newest_vid <= ?1)",
            )?
            .execute([through])?;
        connection.prepare_cached("DELETE FROM topics WHERE newest_vid <= ?1")?.execute([through])?;
        let ids = connection
            .prepare_cached(
                "DELETE FROM dedupe WHERE time_ms < ?1 AND vid IN (SELECT vid FROM dedupe ORDER BY vid LIMIT ?2)",
            )?
            .execute(params![retention.oldest_id_ms(now_ms), limits::TRIM_STEP_EVENTS])?;
        self.step.more |= ids == limits::TRIM_STEP_EVENTS as usize;
        state.events -= u64::from(self.step.trimmed);
        state.bytes -= self.bytes;
        state.ids = state.ids.saturating_sub(ids as u64);
        if self.step.trimmed > 0 {
            state.first = self.through + 1;
        }
        state.save(connection)
    }
}
