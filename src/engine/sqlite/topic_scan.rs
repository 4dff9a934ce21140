//! Walks through the topics in the order of their names.
//!
//! Where a pattern says that nothing can match before some place, SQLite is asked to go on from
//! there: `*.7` of a thousand rooms with a thousand doors each takes a thousand looks, not a
//! million. Invariant: a walk looks at no more topics than its step allows, whatever the filter.

use std::ops::ControlFlow;

use rusqlite::Connection;

use crate::limits;
use crate::topic::Filter;

const SELECT: &str = "SELECT topic_id, topic FROM topics WHERE topic >= ?1 ORDER BY topic";

/// Topics in a row that do not match before it is asked where the next one can be.
const FEW_MISSES: usize = 4;
/// Topics in front of that place that are passed one by one: about what going there costs.
const FEW_PASSED: usize = 8;

/// One step of a walk.
pub(super) struct TopicScan<'f> {
    filter: &'f Filter,
    /// How many topics it may still look at.
    left: usize,
}

impl<'f> TopicScan<'f> {
    pub(super) fn new(filter: &'f Filter) -> Self {
        TopicScan {
            filter,
            left: limits::TOPIC_SCAN_STEP,
        }
    }

    /// How many topics it has looked at.
    pub(super) fn scanned(&self) -> usize {
        limits::TOPIC_SCAN_STEP - self.left
    }

    /// Gives each topic from a place on that the filter takes in. Ends where `found` breaks off or
    /// the step is over; the place where the walk goes on, or none where it is over.
    pub(super) fn walk(
        &mut self,
        connection: &Connection,
        from: &str,
        mut found: impl FnMut(i64, &str) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<Option<String>> {
        let mut place = self.filter.first_place_from(from);
        while let Some(from) = place {
            match self.walk_on(connection, from, &mut found)? {
                ControlFlow::Continue(next) => place = next,
                ControlFlow::Break(next) => return Ok(Some(next)),
            }
        }
        Ok(None)
    }

    /// Walks from topic to topic, until the next one that can match is far away. Goes on with that
    /// one, or breaks off.
    fn walk_on(
        &mut self,
        connection: &Connection,
        from: String,
        found: &mut impl FnMut(i64, &str) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<String, Option<String>>> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(from));
        }
        let mut statement = connection.prepare_cached(SELECT)?;
        let mut rows = statement.query([from])?;
        let (mut misses, mut passed, mut place) = (0, 0, None::<String>);
        while let Some(row) = rows.next()? {
            let topic = row.get_ref(1)?.as_str()?;
            if self.left == 0 {
                return Ok(ControlFlow::Break(topic.to_owned()));
            }
            self.left -= 1;
            if place.as_deref().is_some_and(|place| topic < place) {
                passed += 1;
                if passed == FEW_PASSED {
                    return Ok(ControlFlow::Continue(place));
                }
                continue;
            }

            (passed, place) = (0, None);
            if self.filter.matches_text(topic) {
                misses = 0;
                if found(row.get(0)?, topic)?.is_break() {
                    return Ok(ControlFlow::Break(behind(topic)));
                }
                continue;
            }
            misses += 1;
            if misses == FEW_MISSES {
                misses = 0;
                let next = self.filter.first_place_from(topic);
                if next.is_none() {
                    return Ok(ControlFlow::Continue(None));
                }
                place = next;
            }
        }
        Ok(ControlFlow::Continue(None))
    }
}

/// The first text that follows a topic.
pub(super) fn behind(topic: &str) -> String {
    format!("{topic}\0")
}
