//! The groups whose filters have one pattern in common.
//!
//! Invariant: a group comes and goes at once, however many others there are. Most patterns have one
//! group, and cost no more than that.

use std::sync::Arc;

use indexmap::IndexMap;

use super::group::FilterGroup;

#[derive(Debug)]
pub(super) enum Members {
    One(Arc<FilterGroup>),
    /// By their numbers.
    Many(Box<IndexMap<u64, Arc<FilterGroup>>>),
}

impl Members {
    pub(super) fn add(&mut self, group: Arc<FilterGroup>) {
        match self {
            // From the second one on they are found by their number, however many they are.
            Members::One(first) => {
                let both = [first.clone(), group].map(|group| (group.number, group));
                *self = Members::Many(Box::new(IndexMap::from(both)));
            }
            Members::Many(groups) => {
                groups.insert(group.number, group);
            }
        }
    }

    /// Removes a group. True when it was the last.
    pub(super) fn remove(&mut self, group: &FilterGroup) -> bool {
        match self {
            Members::One(only) => only.number == group.number,
            Members::Many(groups) => {
                groups.swap_remove(&group.number);
                groups.is_empty()
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<FilterGroup>> {
        let (one, many) = match self {
            Members::One(group) => (Some(group), None),
            Members::Many(groups) => (None, Some(groups.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
