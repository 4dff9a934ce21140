//! What a waiting subscription and an operator who looks at it share, and how it is cut.
//!
//! Invariant: nothing here is waited for, and nothing but the position changes once it is
//! registered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Waiter;
use crate::bus::group::FilterGroup;
use crate::bus::readers::{ReadBy, ReaderConnection};
use crate::caller::Credential;
use crate::cursor::Vid;
use crate::metrics::Transport;

impl Waiter {
    /// The same, of a subscription that begins here; `read_by` is none where no transport reads it.
    pub(in crate::bus) fn of_reader(self, position: Vid, read_by: Option<ReadBy>) -> Self {
        let (transport, connection) = match read_by {
            Some(by) => (Some(by.transport), by.connection),
            None => (None, None),
        };
        Waiter {
            position: position.into(),
            transport,
            connection,
            ..self
        }
    }

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

    /// Everything that matches up to here has been yielded. Only its subscription says so.
    pub(in crate::bus) fn set_position(&self, position: Vid) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Everything that matches up to here has been yielded.
    pub(in crate::bus) fn position(&self) -> Vid {
        self.position.load(Ordering::Relaxed)
    }

    pub(in crate::bus) fn group(&self) -> &Arc<FilterGroup> {
        let group = self.group.as_ref();
        group.expect("a waiter that others can find has been registered")
    }

    pub(in crate::bus) fn transport(&self) -> Option<Transport> {
        self.transport
    }

    pub(in crate::bus) fn connection(&self) -> Option<&dyn ReaderConnection> {
        self.connection.as_deref()
    }

    pub(in crate::bus) fn credential(&self) -> Option<&Arc<Credential>> {
        self.credential.as_ref()
    }

    /// The names by which its caller can be revoked.
    pub(in crate::bus) fn names(&self) -> impl Iterator<Item = &str> {
        let ids = self.credential.iter().flat_map(|one| &one.ids);
        ids.map(|id| &**id)
    }
}
