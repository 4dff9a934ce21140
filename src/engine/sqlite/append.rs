//! One append transaction.
//!
//! Invariant: whatever the transaction changes is in the draft of the state that it was given, and
//! counts once the transaction has committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::writer_state::WriterState;
use super::{from_sql, row, to_sql};
use crate::cursor::Vid;
use crate::engine::{Moment, Receipt, millis};
use crate::event::{Event, NewEvent};
use crate::topic::Topic;

const FIND_TOPIC: &str = "SELECT topic_id FROM topics WHERE topic = ?1";
const INSERT_TOPIC: &str =
    "INSERT INTO topics (topic, newest_vid) VALUES (?1, ?2) RETURNING topic_id";
const FIND_ID: &str = "SELECT vid, time_ms FROM dedupe WHERE id = ?1";
const INSERT_ID: &str = "INSERT INTO dedupe VALUES (?1, ?2, ?3)";
const FORGET_ID: &str = "DELETE FROM dedupe WHERE vid = ?1";
/// An id that the row of `bus` counts.
const COUNT_FORGOTTEN: &str = "UPDATE bus SET ids = ids - 1 WHERE last_vid >= ?1";

/// A topic of which the writer need not ask the database.
pub(super) struct KnownTopic {
    topic_id: i64,
    /// Of its events that the writer knows of.
    newest: Vid,
}

/// One append transaction.
pub(super) struct AppendTransaction<'t> {
    state: &'t mut WriterState,
    topics: &'t mut HashMap<Topic, KnownTopic>,
    /// What the events get, and when they come.
    time_ms: i64,
    now: Moment,
    remembered_since_ms: i64,
    events: Vec<Arc<Event>>,
    statements: AppendStatements<'t>,
}

struct AppendStatements<'t> {
    insert_event: CachedStatement<'t>,
    find_topic: CachedStatement<'t>,
    insert_topic: CachedStatement<'t>,
    find_id: CachedStatement<'t>,
    insert_id: CachedStatement<'t>,
    forget_id: CachedStatement<'t>,
    count_forgotten: CachedStatement<'t>,
}

impl<'t> AppendStatements<'t> {
    fn prepare(connection: &'t Connection) -> rusqlite::Result<Self> {
        Ok(AppendStatements {
            insert_event: connection.prepare_cached(row::INSERT)?,
            find_topic: connection.prepare_cached(FIND_TOPIC)?,
            insert_topic: connection.prepare_cached(INSERT_TOPIC)?,
            find_id: connection.prepare_cached(FIND_ID)?,
            insert_id: connection.prepare_cached(INSERT_ID)?,
            forget_id: connection.prepare_cached(FORGET_ID)?,
            count_forgotten: connection.prepare_cached(COUNT_FORGOTTEN)?,
        })
    }
}

impl<'t> AppendTransaction<'t> {
    pub(super) fn new(
        connection: &'t Connection,
        state: &'t mut WriterState,
        topics: &'t mut HashMap<Topic, KnownTopic>,
        dedupe_window: Duration,
        now: Moment,
    ) -> rusqlite::Result<Self> {
        // Neither clock goes back, whatever the machine's does.
        let counted_ms = now.counted_ms.max(state.noted.counted_ms);
        Ok(AppendTransaction {
            time_ms: state.last_time_ms.max(now.time_ms),
            now: Moment { counted_ms, ..now },
            remembered_since_ms: counted_ms.saturating_sub(millis(dedupe_window)),
            state,
            topics,
            events: Vec::new(),
            statements: AppendStatements::prepare(connection)?,
        })
    }

    pub(super) fn append(&mut self, sent: NewEvent) -> rusqlite::Result<Receipt> {
        // Whoever publishes again after a lost answer gets the first vid (contract §2).
        if let Some(vid) = self.duplicate_of(&sent)? {
            return Ok(Receipt {
                vid,
                duplicate: true,
            });
        }

        // In the draft only: a transaction that is rolled back has given no vid.
        let vid = self.state.last + 1;
        self.state.last = vid;
        self.write(vid, sent, true)?;
        Ok(Receipt {
            vid,
            duplicate: false,
        })
    }

    /// Writes an event of another log at a place and a time that are given.
    pub(super) fn import(
        &mut self,
        vid: Vid,
        time: Moment,
        sent: NewEvent,
        remembers_id: bool,
    ) -> rusqlite::Result<()> {
        // An id may come again where the other log had forgotten it; the newest counts.
        if let Some(id) = sent.id.as_ref().filter(|_| remembers_id)
            && let Some((known, _)) = self.find_id(id)?
        {
            self.forget_id(known)?;
        }
        (self.time_ms, self.now) = (time.time_ms, time);
        self.state.last = vid;
        self.write(vid, sent, remembers_id)
    }

    fn write(&mut self, vid: Vid, sent: NewEvent, remembers_id: bool) -> rusqlite::Result<()> {
        let topic_id = self.topic_id(&sent.topic, vid)?;
        if let Some(id) = sent.id.as_ref().filter(|_| remembers_id) {
            self.remember_id(vid, id)?;
        }

        // Its age is counted by the clock that never jumps, which the row keeps as a difference.
        let event = Arc::new(Event::new(vid, self.time_ms, sent));
        let skew_ms = self.time_ms - self.now.counted_ms;
        row::insert(&mut self.statements.insert_event, &event, skew_ms, topic_id)?;

        // Only now: what is written to the log is all that a restart knows of time.
        self.state.last_time_ms = self.time_ms;
        self.state.note(self.now);
        self.state.events += 1;
        self.state.bytes += event.size_bytes() as u64;
        self.events.push(event);
        Ok(())
    }

    /// The vid of the event that had this id first, if that is remembered.
    fn duplicate_of(&mut self, sent: &NewEvent) -> rusqlite::Result<Option<Vid>> {
        let Some(id) = &sent.id else { return Ok(None) };
        // Outside of the window it is a new event, and the id may be given again.
        match self.find_id(id)? {
            Some((vid, time_ms)) if time_ms >= self.remembered_since_ms => Ok(Some(from_sql(vid))),
            Some((vid, _)) => self.forget_id(vid).map(|()| None),
            None => Ok(None),
        }
    }

    /// The vid of the event that had an id, and when it came.
    fn find_id(&mut self, id: &str) -> rusqlite::Result<Option<(i64, i64)>> {
        let find = &mut self.statements.find_id;
        let found = find.query_row([id], |r| Ok((r.get(0)?, r.get(1)?)));
        found.optional()
    }

    fn remember_id(&mut self, vid: Vid, id: &str) -> rusqlite::Result<()> {
        let row = params![to_sql(vid), self.now.counted_ms, id];
        self.statements.insert_id.execute(row)?;
        self.state.ids += 1;
        Ok(())
    }

    fn forget_id(&mut self, vid: i64) -> rusqlite::Result<()> {
        self.statements.forget_id.execute([vid])?;
        let is_counted = self.statements.count_forgotten.execute([vid])? > 0;
        self.state.ids = self.state.ids.saturating_sub(1);
        self.state.indexed_ids -= u64::from(is_counted).min(self.state.indexed_ids);
        Ok(())
    }

    /// The number of a topic, which gets one with its first event.
    fn topic_id(&mut self, topic: &Topic, vid: Vid) -> rusqlite::Result<i64> {
        if let Some(known) = self.topics.get_mut(topic) {
            // The index is changed once for all of a topic's events behind it.
            self.state.topics_behind += u64::from(known.newest <= self.state.indexed);
            known.newest = vid;
            return Ok(known.topic_id);
        }
        // Not in memory: never seen, or forgotten since.
        let topic_id = match self.find_topic(topic)? {
            Some(topic_id) => topic_id,
            None => self.insert_topic(topic, vid)?,
        };

        // Spares later events of this topic the query.
        let newest = vid;
        let known = KnownTopic { topic_id, newest };
        self.topics.insert(topic.clone(), known);
        self.state.topics_behind += 1;
        Ok(topic_id)
    }

    fn find_topic(&mut self, topic: &Topic) -> rusqlite::Result<Option<i64>> {
        let find = &mut self.statements.find_topic;
        let found = find.query_row([topic.as_str()], |r| r.get(0));
        found.optional()
    }

    fn insert_topic(&mut self, topic: &Topic, vid: Vid) -> rusqlite::Result<i64> {
        let row = params![topic.as_str(), to_sql(vid)];
        let insert = &mut self.statements.insert_topic;
        insert.query_row(row, |r| r.get(0))
    }

    /// The log with what has been written so far.
    pub(super) fn state(&self) -> &WriterState {
        self.state
    }

    /// The events that are new on the log.
    pub(super) fn finish(self) -> Vec<Arc<Event>> {
        self.events
    }
}
