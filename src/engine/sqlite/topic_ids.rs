//! The topics that a filter takes in, by their numbers.

use rusqlite::{Connection, params};

use crate::limits;
use crate::topic::{Filter, Pattern};

const SELECT_TOPICS: &str =
    "SELECT topic_id, topic FROM topics WHERE topic >= ?1 AND topic <= ?2 ORDER BY topic";

/// The numbers of the topics that the filter takes in, or none when they are so many that a scan is
/// better.
pub(super) fn find(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut ids = Vec::new();
    for pattern in filter.patterns() {
        // A pattern that begins with a wildcard may match anything.
        if pattern.literal_prefix().is_empty() || !add_matching(connection, pattern, &mut ids)? {
            return Ok(None);
        }
    }

    // Patterns may overlap.
    ids.sort_unstable();
    ids.dedup();
    Ok((ids.len() <= limits::MAX_EXPANDED_TOPICS).then_some(ids))
}

/// Adds the topics of one pattern. False when too many share its prefix.
fn add_matching(
    connection: &Connection,
    pattern: &Pattern,
    ids: &mut Vec<i64>,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(SELECT_TOPICS)?;
    let mut rows = statement.query(params![pattern.literal_prefix(), last_text(pattern)])?;
    let mut scanned = 0;
    while let Some(found) = rows.next()? {
        // Counted by what is read: a prefix may have many topics that do not match.
        scanned += 1;
        if scanned > limits::MAX_EXPANDED_TOPICS {
            return Ok(false);
        }
        if pattern.matches(found.get_ref(1)?.as_str()?) {
            ids.push(found.get(0)?);
        }
    }
    Ok(true)
}

/// The last text in byte order that a pattern can match: itself, or whatever begins with its
/// prefix.
fn last_text(pattern: &Pattern) -> String {
    if let Some(exact) = pattern.exact() {
        return exact.to_owned();
    }
    // As many of the last character as a topic can hold.
    let last_characters = "\u{10FFFF}".repeat(limits::MAX_TOPIC_BYTES / 4 + 1);
    [pattern.literal_prefix(), &last_characters].concat()
}
