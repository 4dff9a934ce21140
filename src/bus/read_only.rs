//! Publishing, switched off by an operator.
//!
//! Invariants:
//! - while it is off nobody publishes, the gateway's sources included, but for what the gateway
//!   notes of an operator's own actions;
//! - reading goes on, and so does retention.

use std::sync::atomic::Ordering;

use super::Bus;
use crate::caller::{ADMIN, Caller, Identity};
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;

impl Bus {
    /// Switches publishing off, or on again. It is on after each start.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.0.is_read_only.store(is_read_only, Ordering::SeqCst);
    }

    /// Is publishing switched off?
    pub(crate) fn is_read_only(&self) -> bool {
        self.0.is_read_only.load(Ordering::SeqCst)
    }

    /// # Errors
    /// Read-only while publishing is switched off.
    pub(super) fn check_not_read_only(&self, caller: &Caller, events: &[NewEvent]) -> Result<()> {
        if !self.is_read_only() || is_note(caller, events) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, READ_ONLY))
    }
}

const READ_ONLY: &str = "an operator has switched publishing off on this gateway; \
                         nothing was taken. Try again later or elsewhere";

fn is_note(caller: &Caller, events: &[NewEvent]) -> bool {
    let is_of_admin = |event: &NewEvent| event.topic.as_str() == ADMIN;
    caller.identity == Identity::Gateway && events.iter().all(is_of_admin)
}
