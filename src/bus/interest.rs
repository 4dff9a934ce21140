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

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// Waiters that were ever registered.
    numbers: AtomicU32,
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
    pub(super) waiter: Arc<Waiter>,
}

impl Registration {
    pub(super) fn group(&self) -> &Arc<FilterGroup> {
        self.waiter.group()
    }

    /// Notes that what it was notified of has been written.
    pub(super) fn leave_round(&self) {
        if self.waiter.leaves_round() {
            self.group().rounds.has_written();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.leave_round();
        self.interest.everybody.leave(&self.waiter);
        // Under the lock, so that nobody joins a group that is being removed.
        let mut index = self.interest.index();
        if self.group().waiters.leave(&self.waiter) == 0 {
            index.remove(self.group());
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
            numbers: AtomicU32::default(),
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
        mut waiter: Waiter,
    ) -> Result<Registration> {
        waiter.number = self.numbers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // The group first: it may refuse.
        let waiter = self.join_group(filter, waiter)?;
        self.everybody.join(waiter.clone());
        Ok(Registration {
            interest: self.clone(),
            waiter,
        })
    }

    fn join_group(&self, filter: &Filter, mut waiter: Waiter) -> Result<Arc<Waiter>> {
        let mut index = self.index();
        let group = index.group(filter)?;
        waiter.group = Some(group.clone());
        let waiter = Arc::new(waiter);
        // Under the lock: the last one to leave removes the group.
        group.waiters.join(waiter.clone());
        Ok(waiter)
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
