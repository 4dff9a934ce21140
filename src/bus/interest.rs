//! Who waits for which topics.
//!
//! Invariants:
//! - an append touches the groups whose filters match, and no others; what it costs does not grow
//!   with the patterns there are, and a topic is looked up once for all events of a batch;
//! - a subscription comes and goes at the cost of its own patterns, of which there is a bound in
//!   all;
//! - subscriptions with equal filters are one group, so that what is read for one is there for all;
//! - events are marked before they become visible, so whoever has seen the tail finds the marks up
//!   to it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::group::FilterGroup;
use super::members::Members;
use super::slot::{Crowd, OF_ALL, Slot};
use crate::cursor::Vid;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::limits;
use crate::topic::{Filter, PatternIndex};

/// Filters to groups.
pub(super) struct Interest {
    /// Held while events are marked, or one subscription comes or goes; never while anybody is
    /// woken.
    index: Mutex<Index>,
    /// Every subscription, for heartbeats and for the end.
    pub(super) everybody: Crowd<OF_ALL>,
}

#[derive(Default)]
struct Index {
    groups: HashMap<Filter, Arc<FilterGroup>>,
    members: PatternIndex<Members>,
    /// Patterns of all groups.
    patterns: usize,
    marked_through: Vid,
    groups_ever: u64,
}

/// A subscription's place in the index, for as long as it lives.
pub(super) struct Registration {
    interest: Arc<Interest>,
    pub(super) group: Arc<FilterGroup>,
    pub(super) slot: Arc<Slot>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.interest.everybody.leave(&self.slot);
        let mut index = self.interest.index();
        if self.group.crowd.leave(&self.slot) == 0 {
            index.remove(&self.group);
        }
    }
}

impl Interest {
    /// An index without subscriptions, for a log whose newest vid is `last`.
    pub(super) fn new(last: Vid) -> Self {
        let index = Index {
            marked_through: last,
            ..Index::default()
        };
        Interest {
            index: Mutex::new(index),
            everybody: Crowd::default(),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription.
    ///
    /// # Errors
    /// Busy when all filters together have as many patterns as the bounds allow.
    pub(super) fn register(
        self: &Arc<Self>,
        filter: &Filter,
        now_ticks: u32,
    ) -> Result<Registration> {
        let slot = Slot::new(now_ticks);
        let mut index = self.index();
        let group = index.group(filter)?;
        group.crowd.join(slot.clone());
        drop(index);
        self.everybody.join(slot.clone());
        Ok(Registration {
            interest: self.clone(),
            group,
            slot,
        })
    }

    /// Marks the groups that match; gives those that have to be told once the events are visible.
    /// The log is known up to `through`.
    pub(super) fn mark(&self, events: &[Arc<Event>], through: Vid) -> Vec<Arc<FilterGroup>> {
        let mut sorted: SmallVec<[(&str, Vid); 16]> = events
            .iter()
            .map(|event| (event.sent.topic.as_str(), event.vid))
            .collect();
        sorted.sort_unstable(); // topic by topic, and within a topic by vid
        let mut to_tell: Vec<Arc<FilterGroup>> = Vec::new();
        let mut index = self.index();
        for of_topic in sorted.chunk_by(|(topic, _), (next, _)| topic == next) {
            index.mark(of_topic, &mut to_tell);
        }
        index.marked_through = through;
        to_tell
    }

    /// The log goes on behind this vid, and what matched before it is not known.
    pub(super) fn forget_marks(&self, through: Vid) {
        let mut index = self.index();
        index.marked_through = through;
        for group in index.groups.values() {
            group.forget_marks(through);
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.everybody.len()
    }
}

impl Index {
    fn group(&mut self, filter: &Filter) -> Result<Arc<FilterGroup>> {
        if let Some(group) = self.groups.get(filter) {
            return Ok(group.clone());
        }
        self.check_bounds(filter)?;
        self.groups_ever += 1;
        // What was marked before this moment was not marked here.
        let known_from = self.marked_through;
        let group = Arc::new(FilterGroup::new(
            self.groups_ever,
            filter.clone(),
            known_from,
        ));
        self.groups.insert(filter.clone(), group.clone());
        self.patterns += filter.patterns().len();
        for pattern in filter.patterns() {
            match self.members.get_mut(pattern) {
                Some(members) => members.add(group.clone()),
                None => self.members.insert(pattern, Members::One(group.clone())),
            }
        }
        Ok(group)
    }

    fn check_bounds(&self, filter: &Filter) -> Result<()> {
        let busy = |detail: String| Err(Error::new(ErrorKind::Busy, detail));
        if self.patterns + filter.patterns().len() > limits::MAX_PATTERNS {
            return busy(format!(
                "all subscriptions together have {} topics, and may have {}; subscribe to fewer topics, to wildcards, or try again later",
                self.patterns,
                limits::MAX_PATTERNS
            ));
        }
        if self.members.far_shapes_with(filter.patterns()) > limits::MAX_FAR_SHAPES {
            return busy(format!(
                "all subscriptions together have {} combinations of * beyond the first {} tokens, which is the bound; use > or exact tokens there, or try again later",
                limits::MAX_FAR_SHAPES,
                limits::NEAR_TOKENS
            ));
        }
        Ok(())
    }

    /// Marks events of one topic.
    fn mark(&self, of_topic: &[(&str, Vid)], to_tell: &mut Vec<Arc<FilterGroup>>) {
        let vids: SmallVec<[Vid; 16]> = of_topic.iter().map(|(_, vid)| *vid).collect();
        let visited = self.members.visit(of_topic[0].0, |members| {
            let new = members.iter().filter(|group| group.mark(&vids));
            to_tell.extend(new.cloned());
            ControlFlow::Continue(())
        });
        debug_assert!(visited.is_continue(), "nothing ends the visit early");
    }

    fn remove(&mut self, group: &FilterGroup) {
        self.groups.remove(&group.filter);
        self.patterns -= group.filter.patterns().len();
        for pattern in group.filter.patterns() {
            let members = self.members.get_mut(pattern);
            if members.is_some_and(|members| members.remove(group)) {
                self.members.remove(pattern);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::event::{EventParts, NewEvent};

    fn filter(topics: &[String]) -> Filter {
        Filter::parse(topics.iter().map(String::as_str)).expect("a filter")
    }

    fn interest() -> Arc<Interest> {
        Arc::new(Interest::new(0))
    }

    fn event(topic: &str, vid: Vid) -> Arc<Event> {
        let parts = EventParts {
            topic,
            ..EventParts::default()
        };
        let sent = NewEvent::check(parts, 100).expect("an event");
        Arc::new(Event::new(vid, 0, sent))
    }

    #[derive(Debug, Clone)]
    enum Action {
        Come(Vec<String>),
        Go(usize),
        Mark(Vec<String>),
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let pattern = "(a|b|\\*)(\\.(a|b|\\*)){0,2}(\\.>)?";
        let topic = "(a|b)(\\.(a|b|c)){0,3}";
        let action = prop_oneof![
            vec(pattern, 1..4).prop_map(Action::Come),
            (0_usize..20).prop_map(Action::Go),
            vec(topic, 1..40).prop_map(Action::Mark),
        ];
        vec(action, 1..40)
    }

    proptest! {
        #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

        #[test]
        fn those_are_marked_whom_a_plain_list_would_mark(actions in actions()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _entered = runtime.enter(); // later rounds are tasks
            let (interest, mut list, mut vid) = (interest(), Vec::<Registration>::new(), 0);
            for action in actions {
                match action {
                    Action::Come(topics) => {
                        list.push(interest.register(&filter(&topics), 0).expect("within bounds"));
                    }
                    Action::Go(at) if at < list.len() => drop(list.swap_remove(at)),
                    Action::Go(_) => {}
                    Action::Mark(topics) => {
                        let events: Vec<_> = (vid + 1..).zip(&topics).map(|(vid, t)| event(t, vid)).collect();
                        let to_tell = interest.mark(&events, vid + topics.len() as Vid);
                        for group in &to_tell {
                            group.clone().tell();
                        }
                        for registration in &list {
                            let group = &registration.group;
                            let matching = events.iter().filter(|e| group.filter.matches(&e.sent.topic));
                            let first = matching.map(|e| e.vid).next();
                            let told = to_tell.iter().filter(|g| g.number == group.number).count();
                            prop_assert_eq!(told, usize::from(first.is_some()));
                            prop_assert!(group.next_match(vid) <= first.unwrap_or(Vid::MAX));
                        }
                        let groups = to_tell.iter().map(|group| group.number);
                        prop_assert!(groups.clone().all(|n| list.iter().any(|r| r.group.number == n)));
                        vid += topics.len() as Vid;
                    }
                }
            }
            drop(list);
            let index = interest.index();
            prop_assert_eq!((index.patterns, index.groups.len()), (0, 0));
        }
    }

    /// Registers filters of so many patterns until one is refused.
    fn fill(
        interest: &Arc<Interest>,
        mut pattern: impl FnMut(usize) -> String,
    ) -> (Vec<Registration>, Error) {
        let each = limits::MAX_FILTER_TOPICS;
        let mut taken = Vec::new();
        loop {
            let patterns: Vec<_> = (0..each).map(|n| pattern(taken.len() * each + n)).collect();
            match interest.register(&filter(&patterns), 0) {
                Ok(registration) => taken.push(registration),
                Err(refused) => return (taken, refused),
            }
        }
    }

    #[test]
    fn patterns_are_bounded_in_all_and_a_known_filter_costs_nothing() {
        let interest = interest();
        let (mut taken, refused) = fill(&interest, |n| format!("{n}.*"));
        assert_eq!(
            taken.len() * limits::MAX_FILTER_TOPICS,
            limits::MAX_PATTERNS
        );
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(refused.to_string().contains("500000"), "{refused}");
        assert_eq!(
            interest.subscribers(),
            taken.len(),
            "who was refused is not there"
        );

        let known = taken[7].group.filter.clone();
        taken.push(interest.register(&known, 0).expect("the same filter again"));
        taken.swap_remove(3);
        let other = filter(&["other.*".to_owned()]);
        taken.push(interest.register(&other, 0).expect("some have left"));
    }

    #[test]
    fn combinations_of_far_wildcards_are_bounded_in_all() {
        let interest = interest();
        let far = |n: usize| {
            let stars = (0..10).map(|bit| if n >> bit & 1 == 1 { "*" } else { "b" });
            let tokens = ["a"; limits::NEAR_TOKENS].into_iter().chain(stars);
            tokens.collect::<Vec<_>>().join(".")
        };
        let (mut taken, refused) = fill(&interest, far);
        assert_eq!(
            taken.len(),
            limits::MAX_FAR_SHAPES / limits::MAX_FILTER_TOPICS
        );
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(refused.to_string().contains("512"), "{refused}");

        let near = filter(&["*.*.*.*.*.*.b.>".to_owned()]);
        taken.push(
            interest
                .register(&near, 0)
                .expect("near ones are always taken"),
        );
        taken.pop();
        taken.pop();
        let same = (600..700).map(far).collect::<Vec<_>>();
        taken.push(
            interest
                .register(&filter(&same), 0)
                .expect("some have left"),
        );
    }
}
