//! What the servers are asked for, so that a filter finds its events.

use super::super::subjects::Subjects;
use crate::limits;
use crate::topic::{Filter, Pattern};

/// Subjects that together have all events of a filter, and maybe others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) subjects: Vec<String>,
    /// Little is read that the filter leaves out.
    pub(super) is_exact: bool,
}

impl Plan {
    /// For pages: each of the subjects is a request of its own.
    pub(super) fn of_pages(filter: &Filter, subjects: &Subjects) -> Self {
        let patterns = filter.patterns();
        let is_everything = takes_in_everything(patterns);
        if is_everything || patterns.len() > limits::NATS_PATTERNS_AT_ONCE {
            return Plan {
                subjects: vec![subjects.all()],
                is_exact: is_everything,
            };
        }
        let broadest = patterns.iter().filter(|pattern| {
            let mut others = patterns.iter().filter(|other| other != pattern);
            !others.any(|other| other.covers(pattern))
        });
        Plan {
            subjects: broadest.map(|p| subjects.of_pattern(p.as_str())).collect(),
            is_exact: true,
        }
    }

    /// For requests that take any number of subjects.
    pub(super) fn of_list(filter: &Filter, subjects: &Subjects) -> Vec<String> {
        let patterns = filter.patterns();
        if takes_in_everything(patterns) {
            return vec![subjects.all()];
        }
        let each = patterns.iter();
        each.map(|p| subjects.of_pattern(p.as_str())).collect()
    }
}

/// The servers do not know of the gateway's own topics, which have to be named.
fn takes_in_everything(patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.as_str() == ">")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(topics: &[&str]) -> Plan {
        let filter = Filter::parse(topics.iter().copied()).expect("a filter");
        Plan::of_pages(&filter, &Subjects::behind("e"))
    }

    #[test]
    fn a_pattern_is_asked_for_unless_another_one_takes_it_in() {
        let exact = |subjects: &[&str]| Plan {
            subjects: subjects.iter().map(|s| (*s).to_owned()).collect(),
            is_exact: true,
        };
        assert_eq!(plan(&[]), exact(&["e.>"]));
        assert_eq!(plan(&["a", ">", "vidette.>"]), exact(&["e.>"]));
        assert_eq!(plan(&["a.*", "a.1", "b"]), exact(&["e.a.*", "e.b"]));
        assert_eq!(plan(&["a.>", "a.*.c"]), exact(&["e.a.>"]));
    }

    #[test]
    fn many_patterns_read_everything() {
        let topics: Vec<_> = (0..9).map(|n| format!("t.{n}")).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let many = plan(&topics);
        assert_eq!((many.subjects, many.is_exact), (vec!["e.>".into()], false));
        assert_eq!(plan(&topics[..8]).subjects.len(), 8);
    }
}
