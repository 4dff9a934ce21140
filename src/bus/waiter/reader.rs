//! What an operator is shown of a waiting subscription, and how it is cut.
//!
//! Invariant: nothing here is waited for, and nothing but the position changes once it is set.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Waiter;
use crate::bus::group::FilterGroup;
use crate::bus::readers::{ReadBy, ReaderConnection, ReaderTransport};
use crate::caller::Credential;
use crate::cursor::Vid;

/// What is known of a subscription when it is opened.
pub(in crate::bus) struct OpenedReader<'c> {
    pub(in crate::bus) now_ticks: u32,
    pub(in crate::bus) credential: Option<&'c Arc<Credential>>,
    pub(in crate::bus) number: u32,
    pub(in crate::bus) position: Vid,
    /// None where no transport reads it.
    pub(in crate::bus) read_by: Option<ReadBy>,
}

impl Waiter {
    /// Of a subscription in this group.
    pub(in crate::bus) fn of_reader(
        opened: OpenedReader<'_>,
        group: &Arc<FilterGroup>,
    ) -> Arc<Self> {
        let (transport, connection) = match opened.read_by {
            Some(by) => (Some(by.transport), by.connection),
            None => (None, None),
        };
        Arc::new(Waiter {
            number: opened.number,
            position: opened.position.into(),
            group: Arc::downgrade(group),
            transport,
            connection,
            ..Waiter::with(opened.now_ticks, opened.credential)
        })
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

    /// Notes that everything up to here has been yielded.
    pub(in crate::bus) fn note_position(&self, position: Vid) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Where it stood after its last step.
    pub(in crate::bus) fn position(&self) -> Vid {
        self.position.load(Ordering::Relaxed)
    }

    pub(in crate::bus) fn group(&self) -> Option<Arc<FilterGroup>> {
        self.group.upgrade()
    }

    pub(in crate::bus) fn transport(&self) -> Option<ReaderTransport> {
        self.transport
    }

    pub(in crate::bus) fn connection(&self) -> Option<&dyn ReaderConnection> {
        self.connection.as_deref()
    }

    /// The names by which its caller can be revoked.
    pub(in crate::bus) fn names(&self) -> impl Iterator<Item = &str> {
        let ids = self.credential.iter().flat_map(|one| &one.ids);
        ids.map(|id| &**id)
    }
}
