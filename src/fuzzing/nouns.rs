//! Cursors, topics and filters: what is read, and what it means.

use super::{Checked, oracle};
use crate::cursor::{Cursor, Epoch};
use crate::topic::{Filter, Pattern, Topic};

/// What is read is written back the same, and read exactly when contract §3 allows it.
pub fn cursor(text: &str) -> Checked {
    let expected = oracle::cursor(text);
    let Ok(read) = text.parse::<Cursor>() else {
        hold!(expected.is_none(), "the cursor {text:?} was refused");
        return Ok(());
    };
    hold!(
        Some(meaning(&read)) == expected,
        "{text:?} was read as {read:?}"
    );

    // Clients store the text and send it back later, so writing it must lose nothing.
    hold!(is_written_back(&read), "{read:?} does not read back");
    Ok(())
}

fn meaning(cursor: &Cursor) -> (u64, Option<&str>) {
    (cursor.vid, cursor.epoch.as_ref().map(Epoch::as_str))
}

fn is_written_back(cursor: &Cursor) -> bool {
    let again = cursor.to_string().parse::<Cursor>();
    again.is_ok_and(|again| again == *cursor)
}

/// A topic is taken exactly when contract §1 allows it, and kept as it is; as a filter it then
/// takes in itself.
pub fn topic(text: &str) -> Checked {
    let expected = may_be_published(text);
    let Ok(topic) = Topic::for_publisher(text) else {
        hold!(!expected, "the topic {text:?} was refused");
        return Ok(());
    };
    hold!(expected, "the topic {text:?} was taken");
    topic_is_kept(&topic, text)
}

fn topic_is_kept(topic: &Topic, text: &str) -> Checked {
    hold!(topic.as_str() == text, "{text:?} became {topic:?}");
    hold!(Filter::all().matches(topic), "{topic:?} is not of all");

    // Else nobody could subscribe to exactly what was published.
    hold!(matches_itself(text), "{text:?} is not itself");
    Ok(())
}

fn may_be_published(text: &str) -> bool {
    // Subscribers may name the gateway's own topics; publishers may not.
    is_exact(text) && !text.starts_with("vidette.")
}

fn is_exact(text: &str) -> bool {
    oracle::topic(text) && !text.contains(['*', '>'])
}

fn matches_itself(text: &str) -> bool {
    let pattern = Pattern::parse(text);
    pattern.is_ok_and(|pattern| pattern.exact() == Some(text) && pattern.matches(text))
}

/// The first line is a topic, each further one a pattern.
pub fn filter(text: &str) -> Checked {
    // A line that is no topic is replaced, so that the patterns are tried all the same.
    let mut lines = text.split('\n');
    let topic = lines.next().filter(|topic| is_exact(topic));
    let topic = topic.unwrap_or("door.3.opened");
    let patterns: Vec<&str> = lines.collect();
    for text in &patterns {
        pattern_matches(text, topic)?;
    }
    filter_matches(&patterns, topic)
}

/// A pattern is taken exactly when it is one, and matches what the oracle says.
fn pattern_matches(text: &str, topic: &str) -> Checked {
    let expected = oracle::pattern(text);
    let Ok(pattern) = Pattern::parse(text) else {
        hold!(!expected, "the pattern {text:?} was refused");
        return Ok(());
    };
    hold!(expected, "the pattern {text:?} was taken");
    matches_as_expected(&pattern, topic)?;
    prefix_fits(&pattern, topic)
}

fn matches_as_expected(pattern: &Pattern, topic: &str) -> Checked {
    let matches = pattern.matches(topic);
    let is_right = matches == oracle::matches(pattern.as_str(), topic);
    hold!(is_right, "{pattern:?} matches {topic:?}: {matches}");
    Ok(())
}

/// An engine looks for a pattern's topics by its literal prefix alone.
fn prefix_fits(pattern: &Pattern, topic: &str) -> Checked {
    // A prefix of another pattern's text would find other topics.
    let prefix = pattern.literal_prefix();
    let is_prefix = pattern.as_str().starts_with(prefix);
    hold!(is_prefix, "{prefix:?} does not begin {pattern:?}");
    let is_found = topic.starts_with(prefix) || !pattern.matches(topic);
    hold!(is_found, "{prefix:?} of {pattern:?} hides {topic:?}");
    Ok(())
}

/// A filter of several patterns matches what one of them matches.
fn filter_matches(patterns: &[&str], topic: &str) -> Checked {
    // Whether each pattern is taken was checked before; here only what they match counts.
    let Ok(filter) = Filter::parse(patterns.iter().copied()) else {
        return Ok(());
    };
    let expected = any_matches(patterns, topic);
    let matches = filter.matches(&Topic::trusted(topic));
    hold!(
        matches == expected,
        "{patterns:?} on {topic:?} is not {expected}"
    );
    Ok(())
}

fn any_matches(patterns: &[&str], topic: &str) -> bool {
    // No pattern stands for all topics but the gateway's own.
    if patterns.is_empty() {
        return !topic.starts_with("vidette.");
    }
    let mut patterns = patterns.iter();
    patterns.any(|pattern| oracle::matches(pattern, topic))
}
