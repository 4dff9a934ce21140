//! Which subscriptions match which topics.
//!
//! Invariants:
//! - an append touches the groups whose filters match, and no others; what it costs does not grow
//!   with the patterns there are, and a topic is looked up once for all events of a batch;
//! - a subscription comes and goes at the cost of its own patterns, of which there is a bound in
//!   all;
//! - subscriptions with equal filters are one group, so that what is read for one can be shared by
//!   all;
//! - events are marked before they become visible, so whoever has seen the tail finds the marks up
//!   to it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::group::FilterGroup;
use super::members::Members;
use super::waiter::{OF_ALL, Waiter, WaiterSet};
use crate::cursor::Vid;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::limits;
use crate::topic::{Filter, PatternIndex};

/// Filters to groups.
pub(super) struct Interest {
    /// Held while events are marked, or one subscription comes or goes; never while anybody is
    /// woken.
    index: Mutex<GroupIndex>,
    /// Every subscription, for heartbeats and for the end.
    pub(super) everybody: WaiterSet<OF_ALL>,
}

#[derive(Default)]
struct GroupIndex {
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
    pub(super) waiter: Arc<Waiter>,
}

impl Registration {
    /// Notes that what it was notified of has been written.
    pub(super) fn leave_round(&self) {
        if self.waiter.leaves_round() {
            self.group.rounds.has_written();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.leave_round();
        self.interest.everybody.leave(&self.waiter);
        // Under the lock, so that nobody joins a group that is being removed.
        let mut index = self.interest.index();
        if self.group.waiters.leave(&self.waiter) == 0 {
            index.remove(&self.group);
        }
    }
}

impl Interest {
    /// An index without subscriptions, for a log whose newest vid is `last`.
    pub(super) fn new(last: Vid) -> Self {
        let index = GroupIndex {
            marked_through: last,
            ..GroupIndex::default()
        };
        Interest {
            index: Mutex::new(index),
            everybody: WaiterSet::default(),
        }
    }

    fn index(&self) -> MutexGuard<'_, GroupIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription.
    ///
    /// # Errors
    /// Busy when all filters together have as many patterns as the bounds allow.
    pub(super) fn register(
        self: &Arc<Self>,
        filter: &Filter,
        waiter: Arc<Waiter>,
    ) -> Result<Registration> {
        // The group first: it may refuse.
        let group = self.join_group(filter, &waiter)?;
        self.everybody.join(waiter.clone());
        Ok(Registration {
            interest: self.clone(),
            group,
            waiter,
        })
    }

    fn join_group(&self, filter: &Filter, waiter: &Arc<Waiter>) -> Result<Arc<FilterGroup>> {
        let mut index = self.index();
        let group = index.group(filter)?;
        // Under the lock: the last one to leave removes the group.
        group.waiters.join(waiter.clone());
        Ok(group)
    }

    /// Marks the groups that match; returns those that have to be notified once the events are
    /// visible. From here on the log is marked up to `through`.
    pub(super) fn mark(&self, events: &[Arc<Event>], through: Vid) -> Vec<Arc<FilterGroup>> {
        let mut sorted: SmallVec<[(&str, Vid); 16]> = events
            .iter()
            .map(|event| (event.sent.topic.as_str(), event.vid))
            .collect();
        sorted.sort_unstable(); // topic by topic, and within a topic by vid

        // Looked up once for all events of a topic.
        let mut to_notify = Vec::new();
        let mut index = self.index();
        for of_topic in sorted.chunk_by(|(topic, _), (next, _)| topic == next) {
            index.mark(of_topic, &mut to_notify);
        }
        index.marked_through = through;
        to_notify
    }

    /// The log goes on behind this vid, and what matched before it is not known.
    pub(super) fn forget_marks(&self, through: Vid) {
        let mut index = self.index();
        // For groups that are yet to come.
        index.marked_through = through;
        for group in index.groups.values() {
            group.forget_marks(through);
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.everybody.len()
    }
}

impl GroupIndex {
    fn group(&mut self, filter: &Filter) -> Result<Arc<FilterGroup>> {
        // A known filter costs nothing, so it is never refused.
        if let Some(group) = self.groups.get(filter) {
            return Ok(group.clone());
        }
        self.check_bounds(filter)?;
        Ok(self.add(filter))
    }

    fn add(&mut self, filter: &Filter) -> Arc<FilterGroup> {
        self.groups_ever += 1;
        // What was marked before this moment was not marked here.
        let known_from = self.marked_through;
        let group = Arc::new(FilterGroup::new(
            self.groups_ever,
            filter.clone(),
            known_from,
        ));
        self.groups.insert(filter.clone(), group.clone());

        // Most patterns have one group.
        self.patterns += filter.patterns().len();
        for pattern in filter.patterns() {
            match self.members.get_mut(pattern) {
                Some(members) => members.add(group.clone()),
                None => self.members.insert(pattern, Members::One(group.clone())),
            }
        }
        group
    }

    fn check_bounds(&self, filter: &Filter) -> Result<()> {
        if self.patterns + filter.patterns().len() > limits::MAX_PATTERNS {
            return Err(too_many_patterns(self.patterns));
        }
        if self.members.far_shapes_with(filter.patterns()) > limits::MAX_FAR_SHAPES {
            return Err(too_many_far_shapes());
        }
        Ok(())
    }

    /// Marks events of one topic.
    fn mark(&self, of_topic: &[(&str, Vid)], to_notify: &mut Vec<Arc<FilterGroup>>) {
        // A group whose filter matches by two patterns is visited twice, and marked once.
        let vids: SmallVec<[Vid; 16]> = of_topic.iter().map(|(_, vid)| *vid).collect();
        let visited = self.members.visit(of_topic[0].0, |members| {
            let new = members.iter().filter(|group| group.mark(&vids));
            to_notify.extend(new.cloned());
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

fn too_many_patterns(patterns: usize) -> Error {
    let bound = limits::MAX_PATTERNS;
    let detail = format!(
        "all subscriptions together have {patterns} topics, and may have {bound}; subscribe to \
         fewer topics, to wildcards, or try again later"
    );
    Error::new(ErrorKind::Busy, detail)
}

fn too_many_far_shapes() -> Error {
    let (bound, near) = (limits::MAX_FAR_SHAPES, limits::NEAR_TOKENS);
    let detail = format!(
        "all subscriptions together have {bound} combinations of * beyond the first {near} tokens, \
         which is the bound; use > or exact tokens there, or try again later"
    );
    Error::new(ErrorKind::Busy, detail)
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
        fn the_same_groups_are_marked_as_by_a_plain_list(actions in actions()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.expect("a runtime");
            let _entered = runtime.enter(); // later rounds are tasks
            let (interest, mut list, mut vid) = (interest(), Vec::<Registration>::new(), 0);
            for action in actions {
                match action {
                    Action::Come(topics) => {
                        let registered = interest.register(&filter(&topics), Waiter::new(0, None));
                        list.push(registered.expect("within bounds"));
                    }
                    Action::Go(at) if at < list.len() => drop(list.swap_remove(at)),
                    Action::Go(_) => {}
                    Action::Mark(topics) => {
                        let events = (vid + 1..).zip(&topics).map(|(vid, t)| event(t, vid));
                        let events: Vec<_> = events.collect();
                        let to_notify = interest.mark(&events, vid + topics.len() as Vid);
                        for group in &to_notify {
                            group.clone().notify(&Arc::default());
                        }
                        for registration in &list {
                            let group = &registration.group;
                            let matches = |e: &&Arc<Event>| group.filter.matches(&e.sent.topic);
                            let matching = events.iter().filter(matches);
                            let first = matching.map(|e| e.vid).next();
                            let notified = to_notify.iter().filter(|g| g.number == group.number);
                            prop_assert_eq!(notified.count(), usize::from(first.is_some()));
                            prop_assert!(group.next_match(vid) <= first.unwrap_or(Vid::MAX));
                        }
                        let groups = to_notify.iter().map(|group| group.number);
                        let is_listed = |n| list.iter().any(|r| r.group.number == n);
                        prop_assert!(groups.clone().all(is_listed));
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
            match interest.register(&filter(&patterns), Waiter::new(0, None)) {
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
            "who was refused has not been added"
        );

        let known = taken[7].group.filter.clone();
        taken.push(
            interest
                .register(&known, Waiter::new(0, None))
                .expect("the same filter again"),
        );
        taken.swap_remove(3);
        let other = filter(&["other.*".to_owned()]);
        taken.push(
            interest
                .register(&other, Waiter::new(0, None))
                .expect("some have left"),
        );
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
                .register(&near, Waiter::new(0, None))
                .expect("near ones are always taken"),
        );
        taken.pop();
        taken.pop();
        let same = (600..700).map(far).collect::<Vec<_>>();
        taken.push(
            interest
                .register(&filter(&same), Waiter::new(0, None))
                .expect("some have left"),
        );
    }
}
