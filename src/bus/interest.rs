//! Who waits for which topics.
//!
//! Invariants:
//! - an append touches the groups whose filters match, and no others;
//! - subscriptions with equal filters are one group, so that what is read for one is there for all;
//! - events are marked before they become visible, so whoever has seen the tail finds the marks up
//!   to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::group::Group;
use super::slot::{Crowd, OF_ALL, Slot};
use crate::cursor::Vid;
use crate::event::Event;
use crate::topic::{Filter, Pattern, Topic};

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
    groups: HashMap<Filter, Arc<Group>>,
    exact: HashMap<Arc<str>, Vec<Arc<Group>>>,
    wild: Vec<(Pattern, Vec<Arc<Group>>)>,
    marked_through: Vid,
    groups_ever: u64,
}

/// A subscription's place in the index, for as long as it lives.
pub(super) struct Registration {
    interest: Arc<Interest>,
    pub(super) group: Arc<Group>,
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
    pub(super) fn register(self: &Arc<Self>, filter: &Filter, now_ticks: u32) -> Registration {
        let slot = Slot::new(now_ticks);
        self.everybody.join(slot.clone());
        let mut index = self.index();
        let group = index.group(filter);
        group.crowd.join(slot.clone());
        drop(index);
        Registration {
            interest: self.clone(),
            group,
            slot,
        }
    }

    /// Marks the groups that match; gives those that have to be told once the events are visible.
    pub(super) fn mark(&self, events: &[Arc<Event>]) -> Vec<Arc<Group>> {
        let mut to_tell: Vec<Arc<Group>> = Vec::new();
        let mut index = self.index();
        for event in events {
            index.mark(&event.sent.topic, event.vid, &mut to_tell);
        }
        to_tell
    }

    pub(super) fn subscribers(&self) -> usize {
        self.everybody.len()
    }
}

impl Index {
    fn group(&mut self, filter: &Filter) -> Arc<Group> {
        if let Some(group) = self.groups.get(filter) {
            return group.clone();
        }
        // What was marked before this moment was not marked here.
        self.groups_ever += 1;
        let group = Arc::new(Group::new(
            self.groups_ever,
            filter.clone(),
            self.marked_through,
        ));
        self.groups.insert(filter.clone(), group.clone());
        for pattern in filter.patterns() {
            self.groups_of(pattern).push(group.clone());
        }
        group
    }

    fn groups_of(&mut self, pattern: &Pattern) -> &mut Vec<Arc<Group>> {
        if pattern.exact().is_some() {
            return self.exact.entry(pattern.text()).or_default();
        }
        let at = self
            .wild
            .iter()
            .position(|(p, _)| p == pattern)
            .unwrap_or_else(|| {
                self.wild.push((pattern.clone(), Vec::new()));
                self.wild.len() - 1
            });
        &mut self.wild[at].1
    }

    fn mark(&mut self, topic: &Topic, vid: Vid, to_tell: &mut Vec<Arc<Group>>) {
        let exact = self.exact.get(topic.as_str());
        let wild = self
            .wild
            .iter()
            .filter(|(pattern, _)| pattern.matches(topic.as_str()))
            .map(|(_, groups)| groups);
        for group in exact.into_iter().chain(wild).flatten() {
            if group.mark(vid) {
                to_tell.push(group.clone());
            }
        }
        self.marked_through = vid;
    }

    fn remove(&mut self, group: &Arc<Group>) {
        self.groups.remove(&group.filter);
        for pattern in group.filter.patterns() {
            let groups = self.groups_of(pattern);
            groups.retain(|other| !Arc::ptr_eq(other, group));
            if groups.is_empty() {
                self.forget(pattern);
            }
        }
    }

    fn forget(&mut self, pattern: &Pattern) {
        match pattern.exact() {
            Some(topic) => {
                self.exact.remove(topic);
            }
            None => self.wild.retain(|(p, _)| p != pattern),
        }
    }
}
