//! One append transaction.
//!
//! Invariant: whatever the transaction changes is in the draft of the state that it was given, and
//! counts once the transaction has committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::state::State;
use super::{from_sql, row, to_sql};
use crate::cursor::Vid;
use crate::engine::{Moment, Receipt, millis};
use crate::event::{Event, NewEvent};
use crate::topic::Topic;

/// One append transaction.
pub(super) struct Appending<'t> {
    state: &'t mut State,
    topics: &'t mut HashMap<Topic, i64>,
    /// What the events get, and when they come.
    time_ms: i64,
    now: Moment,
    remembered_since_ms: i64,
    events: Vec<Arc<Event>>,
    insert_event: CachedStatement<'t>,
    find_topic: CachedStatement<'t>,
    insert_topic: CachedStatement<'t>,
    find_id: CachedStatement<'t>,
    insert_id: CachedStatement<'t>,
    forget_id: CachedStatement<'t>,
}

impl<'t> Appending<'t> {
    pub(super) fn new(
        connection: &'t Connection,
        state: &'t mut State,
        topics: &'t mut HashMap<Topic, i64>,
        dedupe_window: Duration,
        now: Moment,
    ) -> rusqlite::Result<Self> {
        let counted_ms = now.counted_ms.max(state.noted.counted_ms);
        let now = Moment { counted_ms, ..now };
        Ok(Appending {
            time_ms: state.last_time_ms.max(now.time_ms),
            now,
            remembered_since_ms: counted_ms.saturating_sub(millis(dedupe_window)),
            state,
            topics,
            events: Vec::new(),
            insert_event: connection.prepare_cached(row::INSERT)?,
            find_topic: connection
                .prepare_cached("SELECT topic_id FROM topics WHERE topic = ?1")?,
            insert_topic: connection.prepare_cached(
                "INSERT INTO topics (topic, newest_vid) VALUES (?1, ?2) RETURNING topic_id",
            )?,
            find_id: connection.prepare_cached("SELECT vid, time_ms FROM dedupe WHERE id = ?1")?,
            insert_id: connection.prepare_cached("INSERT INTO dedupe VALUES (?1, ?2, ?3)")?,
            forget_id: connection.prepare_cached("DELETE FROM dedupe WHERE vid = ?1")?,
        })
    }

    pub(super) fn append(&mut self, sent: NewEvent) -> rusqlite::Result<Receipt> {
        if let Some(vid) = self.duplicate_of(&sent)? {
            return Ok(Receipt {
                vid,
                duplicate: true,
            });
        }
        let vid = self.state.last + 1;
        self.state.last = vid;
        let topic_id = self.topic_id(&sent.topic, vid)?;
        if let Some(id) = &sent.id {
            self.insert_id
                .execute(params![to_sql(vid), self.now.counted_ms, &**id])?;
            self.state.ids += 1;
        }
        let event = Arc::new(Event::new(vid, self.time_ms, sent));
        let skew_ms = self.time_ms - self.now.counted_ms;
        row::insert(&mut self.insert_event, &event, skew_ms, topic_id)?;
        // Only now: what is written to the log is all that a restart knows of time.
        self.state.last_time_ms = self.time_ms;
        self.state.note(self.now);
        self.state.events += 1;
        self.state.bytes += event.size_bytes() as u64;
        self.events.push(event);
        Ok(Receipt {
            vid,
            duplicate: false,
        })
    }

    fn duplicate_of(&mut self, sent: &NewEvent) -> rusqlite::Result<Option<Vid>> {
        let Some(id) = &sent.id else { return Ok(None) };
        let found = self
            .find_id
            .query_row([&**id], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        let Some((vid, time_ms)): Option<(i64, i64)> = found else {
            return Ok(None);
        };
        if time_ms >= self.remembered_since_ms {
            return Ok(Some(from_sql(vid)));
        }
        self.forget_id.execute([vid])?;
        self.state.ids = self.state.ids.saturating_sub(1);
        Ok(None)
    }

    fn topic_id(&mut self, topic: &Topic, vid: Vid) -> rusqlite::Result<i64> {
        if let Some(topic_id) = self.topics.get(topic) {
            return Ok(*topic_id);
        }
        let known: Option<i64> = self
            .find_topic
            .query_row([topic.as_str()], |r| r.get(0))
            .optional()?;
        let topic_id = match known {
            Some(topic_id) => topic_id,
            None => self
                .insert_topic
                .query_row(params![topic.as_str(), to_sql(vid)], |r| r.get(0))?,
        };
        self.topics.insert(topic.clone(), topic_id);
        Ok(topic_id)
    }

    /// The events that are new on the log.
    pub(super) fn finish(self) -> Vec<Arc<Event>> {
        self.events
    }
}
