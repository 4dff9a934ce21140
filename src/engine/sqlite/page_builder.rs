//! A page that is being filled from the rows of a statement.
//!
//! Invariant: no more rows are read than the page's budget says, whatever the filter.

use std::sync::Arc;

use rusqlite::{Connection, Row, Statement, params};

use super::{BLOCK_VIDS, from_sql, row, to_sql};
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::event::Event;
use crate::topic::Topic;

/// Vids after one and up to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct VidRange {
    pub(super) after: Vid,
    pub(super) through: Vid,
}

impl VidRange {
    pub(super) fn is_empty(self) -> bool {
        self.after >= self.through
    }

    fn contains(self, vid: Vid) -> bool {
        self.after < vid && vid <= self.through
    }

    /// The parts up to a vid and behind it.
    pub(super) fn split_at(self, vid: Vid) -> (Self, Self) {
        let through = self.through.min(vid);
        let after = self.after.max(vid);
        (VidRange { through, ..self }, VidRange { after, ..self })
    }

    /// The part of a block of the index.
    pub(super) fn within_block(self, block: u64) -> Self {
        // The lower bound is exclusive, so it lies one below the first vid of the block.
        let start = block * BLOCK_VIDS;
        VidRange {
            after: self.after.max(start.saturating_sub(1)),
            through: self.through.min(start + BLOCK_VIDS - 1),
        }
    }
}

/// A page that is being filled.
pub(super) struct PageBuilder<'r> {
    pub(super) request: &'r ReadRequest,
    pub(super) page: Page,
    bytes: usize,
    scanned: usize,
}

impl<'r> PageBuilder<'r> {
    pub(super) fn new(request: &'r ReadRequest, first: Vid) -> Self {
        let page = Page {
            events: Vec::new(),
            through: request.through,
            first,
        };
        PageBuilder {
            request,
            page,
            bytes: 0,
            scanned: 0,
        }
    }

    /// What is left to read of what was asked for.
    pub(super) fn range(&self) -> VidRange {
        // Nothing is left below the oldest retained vid.
        VidRange {
            after: self.request.after.max(self.page.first.saturating_sub(1)),
            through: self.request.through,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        // One event may exceed the bytes: even the largest has to fit into some page.
        let budget = &self.request.budget;
        self.page.events.len() >= budget.events
            || self.bytes >= budget.bytes
            || self.scanned >= budget.scan
    }

    /// Counts rows that SQLite has read without giving them.
    pub(super) fn add_scanned(&mut self, rows: usize) {
        self.scanned += rows;
    }

    /// Takes the rows of a statement with [`row::COLUMNS`] in vid order. False when the page became
    /// full before the last one.
    pub(super) fn take(
        &mut self,
        statement: &mut Statement<'_>,
        range: VidRange,
        names: &mut row::TopicNames<'_>,
    ) -> rusqlite::Result<bool> {
        self.take_each(statement, range, |builder, found| {
            // Most filters decide by the topic, which is known by its number.
            let Some(topic) = builder.matching(names, found.get(2)?)? else {
                return Ok(());
            };
            builder.push(row::read(found, &topic)?);
            Ok(())
        })
    }

    /// Takes events whose vid and topic a statement gives in vid order. Each is fetched only when
    /// it belongs in the page: what SQLite sorts or scans on the way has no data in it.
    pub(super) fn take_found(
        &mut self,
        connection: &Connection,
        statement: &mut Statement<'_>,
        range: VidRange,
        names: &mut row::TopicNames<'_>,
    ) -> rusqlite::Result<bool> {
        let mut fetch = connection.prepare_cached(row::SELECT_ONE)?;
        self.take_each(statement, range, |builder, found| {
            let Some(topic) = builder.matching(names, found.get(1)?)? else {
                return Ok(());
            };
            // Only now is its data read.
            let vid: i64 = found.get(0)?;
            builder.push(fetch.query_row([vid], |row| row::read(row, &topic))?);
            Ok(())
        })
    }

    /// Takes the events of these vids, in order, as far as they lie in the range. False when the
    /// page became full before the last one.
    pub(super) fn take_vids(
        &mut self,
        connection: &Connection,
        vids: &[Vid],
        range: VidRange,
        names: &mut row::TopicNames<'_>,
    ) -> rusqlite::Result<bool> {
        let mut fetch = connection.prepare_cached(row::SELECT_ONE)?;
        for vid in vids.iter().filter(|vid| range.contains(**vid)) {
            // The page ends before this event, so the next one begins with it.
            if self.is_full() {
                self.page.through = vid - 1;
                return Ok(false);
            }
            self.scanned += 1;
            let mut rows = fetch.query([to_sql(*vid)])?;
            if let Some(row) = rows.next()?
                && let Some(topic) = self.matching(names, row.get(2)?)?
            {
                self.push(row::read(row, &topic)?);
            }
        }
        Ok(true)
    }

    /// Takes rows whose first column is the vid, until the page is full.
    fn take_each(
        &mut self,
        statement: &mut Statement<'_>,
        range: VidRange,
        mut take: impl FnMut(&mut Self, &Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<bool> {
        let mut rows = statement.query(params![to_sql(range.after), to_sql(range.through)])?;
        while let Some(found) = rows.next()? {
            // The page ends before this row, so the next one begins with it.
            if self.is_full() {
                self.page.through = from_sql(found.get(0)?) - 1;
                return Ok(false);
            }
            self.scanned += 1;
            take(self, found)?;
        }
        Ok(true)
    }

    /// The topic of this number, if the filter takes it in.
    fn matching(
        &self,
        names: &mut row::TopicNames<'_>,
        topic_id: i64,
    ) -> rusqlite::Result<Option<Topic>> {
        names.wanted(topic_id, |topic| self.request.filter.matches(topic))
    }

    fn push(&mut self, event: Event) {
        self.bytes += event.size_bytes();
        self.page.events.push(Arc::new(event));
    }
}
