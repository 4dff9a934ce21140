//! What an operator is shown of a waiting subscription, and how it is cut.
//!
//! Invariant: nothing here is waited for, and nothing but the position changes once it is set.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Waiter;
use crate::bus::group::FilterGroup;
use crate::bus::readers::ReadBy;
use crate::cursor::Vid;

impl Waiter {
    /// Has it end at an operator's word.
    pub(in crate::bus) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    /// Has an operator cut it?
    pub(in crate::bus) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Notes that everything up to here has been yielded.
    pub(in crate::bus) fn note_position(&self, position: Vid) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Where it stood after its last step.
    pub(in crate::bus) fn position(&self) -> Vid {
        self.position.load(Ordering::Relaxed)
    }

    pub(in crate::bus) fn set_group(&self, group: &Arc<FilterGroup>) {
        let _ = self.group.set(Arc::downgrade(group));
    }

    pub(in crate::bus) fn group(&self) -> Option<Arc<FilterGroup>> {
        self.group.get().and_then(Weak::upgrade)
    }

    /// Says how it is read; false when that is known already.
    pub(in crate::bus) fn set_read_by(&self, read_by: ReadBy) -> bool {
        self.read_by.set(read_by).is_ok()
    }

    pub(in crate::bus) fn read_by(&self) -> Option<&ReadBy> {
        self.read_by.get()
    }

    /// The names by which its caller can be revoked.
    pub(in crate::bus) fn names(&self) -> impl Iterator<Item = &str> {
        let ids = self.credential.iter().flat_map(|one| &one.ids);
        ids.map(|id| &**id)
    }
}
