//! Cursors, topics and filters: what is read, and what it means.

use super::{Checked, oracle};
use crate::cursor::{Cursor, Epoch};
use crate::topic::{Filter, Pattern, Topic};

/// What is read is written back the same, and read exactly when contract §3 allows it.
pub fn cursor(text: &str) -> Checked {
    let (read, expected) = (text.parse::<Cursor>(), oracle::cursor(text));
    let Ok(read) = read else {
        hold!(expected.is_none(), "the cursor {text:?} was refused");
        return Ok(());
    };
    hold!(
        Some((read.vid, read.epoch.as_ref().map(Epoch::as_str))) == expected,
        "{text:?} was read as {read:?}"
    );
    hold!(
        read.to_string()
            .parse::<Cursor>()
            .is_ok_and(|again| again == read),
        "{read:?} does not read back"
    );
    Ok(())
}

/// A topic is taken exactly when contract §1 allows it, and kept as it is; as a filter it then
/// takes in itself.
pub fn topic(text: &str) -> Checked {
    let expected =
        oracle::topic(text) && !text.contains(['*', '>']) && !text.starts_with("vidette.");
    let Ok(topic) = Topic::for_publisher(text) else {
        hold!(!expected, "the topic {text:?} was refused");
        return Ok(());
    };
    hold!(expected, "the topic {text:?} was taken");
    hold!(
        topic.as_str() == text && Filter::all().matches(&topic),
        "{text:?} became {topic:?}"
    );
    hold!(
        Pattern::parse(text).is_ok_and(|p| p.exact() == Some(text) && p.matches(text)),
        "{text:?} is not itself"
    );
    Ok(())
}

/// The first line is a topic, each further one a pattern.
pub fn filter(text: &str) -> Checked {
    let mut lines = text.split('\n');
    let topic = lines
        .next()
        .filter(|t| oracle::topic(t) && !t.contains(['*', '>']))
        .unwrap_or("door.3.opened");
    let patterns: Vec<&str> = lines.collect();
    for text in &patterns {
        let Ok(pattern) = Pattern::parse(text) else {
            hold!(!oracle::pattern(text), "the pattern {text:?} was refused");
            continue;
        };
        hold!(oracle::pattern(text), "the pattern {text:?} was taken");
        let matches = pattern.matches(topic);
        hold!(
            matches == oracle::matches(text, topic),
            "{text:?} matches {topic:?}: {matches}"
        );
        let prefix = pattern.literal_prefix();
        hold!(
            text.starts_with(prefix),
            "{prefix:?} is no prefix of {text:?}"
        );
        hold!(
            !matches || topic.starts_with(prefix),
            "{text:?} matches {topic:?}, which does not begin with {prefix:?}"
        );
    }
    let Ok(filter) = Filter::parse(patterns.iter().copied()) else {
        return Ok(());
    };
    let expected = if patterns.is_empty() {
        !topic.starts_with("vidette.")
    } else {
        patterns.iter().any(|p| oracle::matches(p, topic))
    };
    hold!(
        filter.matches(&Topic::trusted(topic)) == expected,
        "{patterns:?} on {topic:?} is not {expected}"
    );
    Ok(())
}
