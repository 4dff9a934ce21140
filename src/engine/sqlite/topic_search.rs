//! Which topics a filter takes in, by their numbers.
//!
//! Invariants:
//! - what is found in a snapshot of the log has every topic of the filter that has an event there;
//! - one step looks at a bounded number of topics; a search that takes several goes on in later
//!   snapshots, with what has come meanwhile: numbers rise, and none is given twice (see
//!   `trim.rs`);
//! - a topic that has gone may still be among them: nothing is found for its number.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension};

use super::to_sql;
use super::topic_scan::TopicScan;
use crate::cursor::Vid;
use crate::limits;
use crate::topic::{Filter, Pattern};

const FIND_TOPIC: &str = "SELECT topic_id FROM topics WHERE topic = ?1";
const NEWEST_NUMBER: &str = "SELECT ifnull(max(topic_id), 0) FROM topics";
const SELECT_LATER: &str =
    "SELECT topic_id, topic FROM topics WHERE topic_id > ?1 ORDER BY topic_id LIMIT ?2";

/// What has been found of a filter.
#[derive(Debug, Clone)]
pub(super) struct FoundTopics {
    /// None where they are so many that looking at every event is better.
    pub(super) ids: Option<Vec<i64>>,
    /// Topics with greater numbers have not been looked at.
    through_id: i64,
    /// The newest event when the search began.
    pub(super) as_of: Vid,
}

/// A search, step by step.
pub(super) struct TopicSearch {
    pub(super) filter: Filter,
    found: FoundTopics,
    stage: Stage,
    /// It went on from what an earlier search had found.
    is_resumed: bool,
    /// Topics looked at.
    pub(super) scanned: usize,
}

enum Stage {
    /// All patterns are exact: they are looked up.
    Exact,
    /// From this place on by the names; begun in this or in an earlier snapshot.
    Names {
        from: String,
        is_begun: bool,
    },
    /// Those that have come since.
    Later,
    Done,
}

impl TopicSearch {
    pub(super) fn new(filter: &Filter, last: Vid) -> Self {
        let is_exact = filter.patterns().iter().all(|p| p.exact().is_some());
        let mut search = TopicSearch {
            filter: filter.clone(),
            found: FoundTopics {
                ids: Some(Vec::new()),
                through_id: 0,
                as_of: last,
            },
            stage: Stage::Exact,
            is_resumed: false,
            scanned: 0,
        };
        if takes_in_all(filter) {
            search.give_up();
        } else if !is_exact {
            search.stage = from_the_first_name();
        }
        search
    }

    /// A search that begins with what an earlier one has found.
    pub(super) fn resume(filter: &Filter, found: FoundTopics) -> Self {
        let is_done = found.ids.is_none();
        TopicSearch {
            filter: filter.clone(),
            found,
            stage: if is_done { Stage::Done } else { Stage::Later },
            is_resumed: true,
            scanned: 0,
        }
    }

    /// Too many.
    fn give_up(&mut self) {
        self.found.ids = None;
        self.stage = Stage::Done;
    }

    /// Takes one step. What it finds when it is done is good for this snapshot.
    pub(super) fn step(&mut self, snapshot: &Connection) -> rusqlite::Result<()> {
        match &mut self.stage {
            Stage::Exact => self.look_up(snapshot),
            Stage::Names { from, is_begun } => {
                let (from, is_begun) = (std::mem::take(from), *is_begun);
                self.walk(snapshot, &from, is_begun)
            }
            Stage::Later => self.add_later(snapshot),
            Stage::Done => Ok(()),
        }
    }

    /// What has been found, once the search is done.
    pub(super) fn found(&self) -> Option<&FoundTopics> {
        matches!(self.stage, Stage::Done).then_some(&self.found)
    }

    fn look_up(&mut self, snapshot: &Connection) -> rusqlite::Result<()> {
        let mut find = snapshot.prepare_cached(FIND_TOPIC)?;
        let ids = self.found.ids.get_or_insert_default();
        for topic in self.filter.patterns().iter().filter_map(Pattern::exact) {
            ids.extend(find.query_row([topic], |r| r.get::<_, i64>(0)).optional()?);
        }
        self.end();
        Ok(())
    }

    fn walk(&mut self, snapshot: &Connection, from: &str, is_begun: bool) -> rusqlite::Result<()> {
        if !is_begun {
            // Before the first name, so that none is missed which comes during the walk.
            let mut newest = snapshot.prepare_cached(NEWEST_NUMBER)?;
            self.found.through_id = newest.query_row([], |r| r.get(0))?;
        }
        let mut scan = TopicScan::new(&self.filter);
        let ids = self.found.ids.get_or_insert_default();
        let next = scan.walk(snapshot, from, |topic_id, _| {
            ids.push(topic_id);
            if ids.len() > limits::MAX_EXPANDED_TOPICS {
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.scanned += scan.scanned();
        let are_too_many = ids.len() > limits::MAX_EXPANDED_TOPICS;
        match next {
            _ if are_too_many => self.give_up(),
            Some(from) => {
                let is_begun = true;
                self.stage = Stage::Names { from, is_begun };
            }
            None if is_begun => return self.add_later(snapshot),
            // Within one snapshot: nothing has come meanwhile.
            None => self.end(),
        }
        Ok(())
    }

    /// Adds topics that have come since the walk began.
    fn add_later(&mut self, snapshot: &Connection) -> rusqlite::Result<()> {
        self.stage = Stage::Later;
        let mut later = snapshot.prepare_cached(SELECT_LATER)?;
        let step = limits::TOPIC_SCAN_STEP;
        let mut rows = later.query([self.found.through_id, to_sql(step as u64)])?;
        let ids = self.found.ids.get_or_insert_default();
        let mut scanned = 0;
        while let Some(row) = rows.next()? {
            scanned += 1;
            self.found.through_id = row.get(0)?;
            if self.filter.matches_text(row.get_ref(1)?.as_str()?) {
                ids.push(self.found.through_id);
            }
        }
        self.scanned += scanned;
        if ids.len() > limits::MAX_EXPANDED_TOPICS {
            self.begin_anew_or_give_up();
        } else if scanned < step {
            self.end();
        }
        Ok(())
    }

    /// Of what an earlier search has found some may have gone.
    fn begin_anew_or_give_up(&mut self) {
        if !std::mem::take(&mut self.is_resumed) {
            return self.give_up();
        }
        self.found.ids = Some(Vec::new());
        self.stage = from_the_first_name();
    }

    fn end(&mut self) {
        // One that came during the walk may have been found twice.
        if let Some(ids) = &mut self.found.ids {
            ids.sort_unstable();
            ids.dedup();
        }
        self.stage = Stage::Done;
    }
}

/// Does the filter take in every topic, so that there is nothing to search for?
pub(super) fn takes_in_all(filter: &Filter) -> bool {
    filter.patterns().iter().any(|p| p.as_str() == ">")
}

fn from_the_first_name() -> Stage {
    Stage::Names {
        from: String::new(),
        is_begun: false,
    }
}
