//! Parts of another log, as they are written into this one.
//!
//! Invariants:
//! - a part, the index of its topics and how far the copy has come are one transaction;
//! - events that keep their vids leave the same vids out as on the source;
//! - times never fall, and ages grow by as much as the times of the source do.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::append::{AppendTransaction, KnownTopic};
use super::writer_state::WriterState;
use super::{SqliteEngine, epochs, from_sql, index, to_sql};
use crate::cursor::Vid;
use crate::engine::import::{CopiedPart, CopiedVids, CopyError, CopyTarget, Standing};
use crate::engine::{Engine as _, LogState, Moment, millis};
use crate::event::Event;
use crate::lineage::Lineage;
use crate::topic::Topic;

/// Up to which vid of another log its events are here under other vids. Only a log that has got
/// such events has this table.
const CREATE_COPIED: &str = "
CREATE TABLE IF NOT EXISTS copied_from (
    epoch    TEXT    PRIMARY KEY, -- of the other log
    through  INTEGER NOT NULL
) STRICT";
const SAVE_COPIED: &str = "
INSERT INTO copied_from VALUES (?1, ?2)
    ON CONFLICT (epoch) DO UPDATE SET through = excluded.through";
const HAS_COPIED: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'copied_from'";
const FIND_COPIED: &str = "SELECT through FROM copied_from WHERE epoch = ?1";

/// A transaction that writes a part of another log.
pub(super) struct Import<'t> {
    pub(super) connection: &'t Connection,
    pub(super) state: &'t mut WriterState,
    pub(super) topics: &'t mut HashMap<Topic, KnownTopic>,
    pub(super) dedupe_window: Duration,
}

impl Import<'_> {
    /// Writes a part, and gives what the lineage of the log is with it.
    pub(super) fn write(
        &mut self,
        lineage: &Lineage,
        part: &CopiedPart,
    ) -> rusqlite::Result<Lineage> {
        match part.vids {
            CopiedVids::Kept => self.keep_vids(lineage, part),
            CopiedVids::New => self.renumber(part).map(|()| lineage.clone()),
        }
    }

    fn keep_vids(&mut self, lineage: &Lineage, part: &CopiedPart) -> rusqlite::Result<Lineage> {
        // An empty log begins where the source does.
        if self.state.events == 0 {
            self.state.first = part.after + 1;
        }
        let now_ms = wall_clock_ms();
        let remembered_since_ms = now_ms.saturating_sub(millis(self.dedupe_window));
        self.import_all(part, |state, event| {
            let time = source_time(state, event);
            (event.vid, time, event.time_ms >= remembered_since_ms)
        })?;

        // Vids that are missing at the end are never given here either.
        self.state.last = part.through;
        if self.state.events == 0 {
            self.state.first = part.through + 1;
        }
        index::catch_up(self.connection, self.state, part.through)?;
        let lineage = lineage.with_copied(&part.source, part.through);
        epochs::save_earlier(self.connection, &lineage)?;
        Ok(lineage)
    }

    /// Writes events as if they came now.
    fn renumber(&mut self, part: &CopiedPart) -> rusqlite::Result<()> {
        let now_ms = wall_clock_ms();
        self.import_all(part, |state, _| {
            // The clock by which ages are counted is the gateway's to move.
            let counted_ms = match state.noted.counted_ms {
                0 => now_ms,
                counted_ms => counted_ms,
            };
            let time_ms = now_ms.max(state.last_time_ms);
            let now = Moment {
                time_ms,
                counted_ms,
            };
            (state.last + 1, now, false)
        })?;
        index::catch_up(self.connection, self.state, self.state.last)?;
        self.connection.execute_batch(CREATE_COPIED)?;
        let copied = params![part.source.epoch().as_str(), to_sql(part.through)];
        self.connection.execute(SAVE_COPIED, copied).map(drop)
    }

    /// Writes all events of a part, each with the vid and the time that it is given; its id may be
    /// remembered.
    fn import_all(
        &mut self,
        part: &CopiedPart,
        place: impl Fn(&WriterState, &Event) -> (Vid, Moment, bool),
    ) -> rusqlite::Result<()> {
        let (state, topics) = (&mut *self.state, &mut *self.topics);
        let noted = state.noted;
        let mut append =
            AppendTransaction::new(self.connection, state, topics, self.dedupe_window, noted)?;
        for event in &part.events {
            let (vid, time, remembers_id) = place(append.state(), event);
            append.import(vid, time, event.sent.clone(), remembers_id)?;
        }
        Ok(())
    }
}

/// The time of an event on its source, by both clocks: ages grow as its times do.
fn source_time(state: &WriterState, event: &Event) -> Moment {
    let noted = state.noted;
    let time_ms = event.time_ms.max(state.last_time_ms);
    let ahead_ms = noted.time_ms - noted.counted_ms;
    Moment {
        time_ms,
        counted_ms: (time_ms - ahead_ms).max(noted.counted_ms),
    }
}

fn wall_clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, millis)
}

/// Up to which vid of a source its events are here under other vids.
fn renumbered_through(connection: &Connection, source: &Lineage) -> rusqlite::Result<Option<Vid>> {
    let has_any = connection
        .query_row(HAS_COPIED, [], |_| Ok(()))
        .optional()?;
    if has_any.is_none() {
        return Ok(None);
    }
    let mut find = connection.prepare(FIND_COPIED)?;
    let mut newest = None;
    for epoch in source.epochs() {
        let found = find.query_row([epoch.as_str()], |r| r.get(0)).optional()?;
        let good_through = source.good_through(epoch);
        newest = newest.max(found.map(from_sql).min(good_through));
    }
    Ok(newest)
}

#[async_trait]
impl CopyTarget for SqliteEngine {
    async fn standing(&self, source: &LogState) -> Result<Standing, CopyError> {
        let own = self.state();
        let lineage = source.lineage.clone();
        let find = move |connection: &Connection| renumbered_through(connection, &lineage);
        let renumbered_through = self.readers.run(find).await?;
        Ok(Standing {
            bounds: own.bounds,
            sizes: own.sizes,
            same_through: own.same_through(source),
            renumbered_through,
            // Its gateway's configuration says so.
            max_events: u64::MAX,
            max_bytes: u64::MAX,
            overhead_bytes: 0,
        })
    }

    async fn take(&self, part: CopiedPart) -> Result<(), CopyError> {
        Ok(self.writer.import(part).await?)
    }
}
