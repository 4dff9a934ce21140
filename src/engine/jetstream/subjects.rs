//! Topics as subjects of NATS: a prefix, a dot, and the topic as it is.
//!
//! Invariant: each valid topic has one subject, and no other topic has that one. Plain clients of
//! NATS can store subjects that are no topics; those have none.

use std::sync::Arc;

use crate::topic::Topic;

/// The subjects of one stream.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    /// With the dot.
    prefix: Arc<str>,
}

impl Subjects {
    /// The subjects behind this prefix, which is given without its dot.
    pub(super) fn behind(prefix: &str) -> Self {
        Subjects {
            prefix: format!("{prefix}.").into(),
        }
    }

    /// The prefix of a stream that takes these subjects; none where they are not those of one
    /// prefix.
    pub(super) fn prefix_of(stream_subjects: &[String]) -> Option<&str> {
        let [all] = stream_subjects else { return None };
        let prefix = all.strip_suffix(".>")?;
        let has_wildcard = prefix.split('.').any(|token| matches!(token, "*" | ">"));
        (!prefix.is_empty() && !has_wildcard).then_some(prefix)
    }

    /// Those of all topics.
    pub(super) fn all(&self) -> String {
        self.of_pattern(">")
    }

    /// That of a topic.
    pub(super) fn of(&self, topic: &Topic) -> String {
        self.of_pattern(topic.as_str())
    }

    /// Those of the topics that a pattern takes in, and those of the gateway's own, which a filter
    /// may have to leave out.
    pub(super) fn of_pattern(&self, pattern: &str) -> String {
        format!("{}{pattern}", self.prefix)
    }

    /// The topic of a subject, where it is one that an event may have.
    pub(super) fn topic(&self, subject: &str) -> Option<Topic> {
        let topic = subject.strip_prefix(&*self.prefix)?;
        Topic::on_shared_log(topic).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_back_as_they_were_and_nothing_else_does() {
        let subjects = Subjects::behind("doors");
        for topic in ["door.3.opened", "a", "$JS.API.x", "tür.ñ", "a*b.c"] {
            let Ok(checked) = Topic::for_publisher(topic) else {
                continue;
            };
            assert_eq!(subjects.topic(&subjects.of(&checked)), Some(checked));
        }
        let dead = Topic::trusted("vidette.dead.gearman");
        assert_eq!(subjects.topic(&subjects.of(&dead)), Some(dead));
        for no_topic in [
            "doors.a.>",
            "doors.*",
            "doors.vidette.x",
            "doors.vidette.dead",
            "doors.vidette.dead.*",
            "other.a",
            "doors.a\u{85}b",
        ] {
            assert_eq!(subjects.topic(no_topic), None, "{no_topic}");
        }
    }

    #[test]
    fn the_prefix_of_a_stream_is_that_of_its_only_subject() {
        let of = |subjects: &[&str]| {
            let subjects: Vec<_> = subjects.iter().map(|s| (*s).to_owned()).collect();
            Subjects::prefix_of(&subjects).map(str::to_owned)
        };
        assert_eq!(of(&["door.events.>"]).as_deref(), Some("door.events"));
        assert_eq!(of(&["doors.>"]).as_deref(), Some("doors"));
        for unfit in [&["door"][..], &[">"], &["a.>", "b.>"], &["a.*.>"], &[]] {
            assert_eq!(of(unfit), None, "{unfit:?}");
        }
    }
}
