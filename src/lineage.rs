//! The epochs that one log has had (contract §1, §3).
//!
//! Invariants:
//! - the current epoch is never among the earlier ones, and no epoch stands twice among them;
//! - the list of earlier epochs is bounded by [`limits::MAX_EARLIER_EPOCHS`]; the newest are kept.

use std::sync::Arc;

use crate::cursor::{Epoch, Vid};
use crate::limits;

/// An epoch that a log had before it went on from a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierEpoch {
    /// Its name.
    pub epoch: Epoch,
    /// Vids of that epoch up to this one are the same events on this log.
    pub good_through: Vid,
}

/// The current epoch of a log, and those it went on from. A clone is two pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    epoch: Epoch,
    /// The oldest first.
    earlier: Arc<[EarlierEpoch]>,
}

impl Lineage {
    /// The lineage of a new log.
    pub fn new(epoch: Epoch) -> Self {
        Self::with_earlier(epoch, Vec::new())
    }

    /// The lineage of a log that went on from copies; the oldest epoch first.
    pub fn with_earlier(epoch: Epoch, mut earlier: Vec<EarlierEpoch>) -> Self {
        let surplus = earlier.len().saturating_sub(limits::MAX_EARLIER_EPOCHS);
        earlier.drain(..surplus);
        Lineage {
            epoch,
            earlier: earlier.into(),
        }
    }

    /// The current epoch.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The earlier epochs, the oldest first.
    pub fn earlier(&self) -> &[EarlierEpoch] {
        &self.earlier
    }

    /// Up to which vid cursors of this epoch can be served: all of the current epoch, an earlier
    /// one up to where it ended, none of an unknown one.
    pub fn good_through(&self, epoch: &Epoch) -> Option<Vid> {
        if *epoch == self.epoch {
            return Some(limits::MAX_VID);
        }
        let earlier = self.earlier.iter().find(|e| e.epoch == *epoch)?;
        Some(earlier.good_through)
    }
}
