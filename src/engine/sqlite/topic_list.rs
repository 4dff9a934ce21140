//! Topics with their newest vids.
//!
//! Invariants:
//! - newest vids are those of one snapshot: of the index, and of the events behind it;
//! - topics without retained events are not listed: the oldest vid hides them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::reader::BusRow;
use super::topic_scan::{TopicScan, behind};
use super::{from_sql, to_sql};
use crate::cursor::Vid;
use crate::topic::{Filter, Topic};

const SELECT_NEWEST: &str = "SELECT newest_vid FROM topics WHERE topic_id = ?1";
/// Of about a thousand events.
const SELECT_NOT_INDEXED: &str =
    "SELECT topic_id, max(vid) FROM events WHERE vid > ?1 GROUP BY topic_id";

/// The newest vids of topics, in a snapshot.
pub(super) struct NewestVids<'c> {
    select: CachedStatement<'c>,
    not_indexed: HashMap<i64, Vid>,
}

impl<'c> NewestVids<'c> {
    pub(super) fn read(snapshot: &'c Connection, indexed: Vid) -> rusqlite::Result<Self> {
        let mut not_indexed = snapshot.prepare_cached(SELECT_NOT_INDEXED)?;
        let rows = not_indexed.query_map([to_sql(indexed)], |row| {
            Ok((row.get(0)?, from_sql(row.get(1)?)))
        })?;
        Ok(NewestVids {
            not_indexed: rows.collect::<rusqlite::Result<_>>()?,
            select: snapshot.prepare_cached(SELECT_NEWEST)?,
        })
    }

    /// None where there is no such topic.
    fn of(&mut self, topic_id: i64) -> rusqlite::Result<Option<Vid>> {
        if let Some(vid) = self.not_indexed.get(&topic_id) {
            return Ok(Some(*vid));
        }
        let newest = self.select.query_row([topic_id], |row| row.get(0));
        Ok(newest.optional()?.map(from_sql))
    }

    /// Those of some topics, in order.
    pub(super) fn of_topics(mut self, topic_ids: &[i64]) -> rusqlite::Result<Vec<Vid>> {
        let mut newest = Vec::new();
        for topic_id in topic_ids {
            newest.extend(self.of(*topic_id)?);
        }
        newest.sort_unstable();
        Ok(newest)
    }
}

/// A list that is made step by step.
pub(super) struct TopicList {
    filter: Filter,
    limit: usize,
    /// The place where it goes on; none when it is complete.
    from: Option<String>,
    pub(super) topics: Vec<(Topic, Vid)>,
}

impl TopicList {
    /// Of at most so many topics, in byte order, behind one.
    pub(super) fn new(filter: Filter, after: Option<&Topic>, limit: usize) -> Self {
        TopicList {
            filter,
            limit,
            from: Some(after.map_or_else(String::new, |topic| behind(topic.as_str()))),
            topics: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.from.is_none() || self.topics.len() >= self.limit
    }

    pub(super) fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(from) = self.from.take() else {
            return Ok(());
        };
        let snapshot = connection.unchecked_transaction()?;
        let BusRow { first, indexed } = BusRow::read(&snapshot)?;
        let mut newest = NewestVids::read(&snapshot, indexed)?;
        let TopicList { filter, topics, .. } = self;
        self.from = TopicScan::new(filter).walk(&snapshot, &from, |topic_id, name| {
            let vid = newest.of(topic_id)?.filter(|vid| *vid >= first);
            topics.extend(vid.map(|vid| (Topic::trusted(name), vid)));
            if topics.len() < self.limit {
                return Ok(ControlFlow::Continue(()));
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(())
    }
}
