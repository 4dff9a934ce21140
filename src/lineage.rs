//! The epochs that one log has had (contract §1, §3).
//!
//! A log that goes on from a copy of itself gives vids that the original may also have given, to
//! other events. So it begins a new epoch at its last vid. Cursors of the earlier epochs are served
//! up to the vid at which this log left them.
//!
//! Invariants:
//! - the current epoch is never among the earlier ones, and no epoch stands twice among them;
//! - from one earlier epoch to the next, the vid up to which cursors are served never falls;
//! - the list of earlier epochs is bounded by [`limits::MAX_EARLIER_EPOCHS`].

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
        while earlier.len() > limits::MAX_EARLIER_EPOCHS {
            earlier.remove(least_useful(&earlier));
        }
        Lineage {
            epoch,
            earlier: earlier.into(),
        }
    }

    /// The lineage of the same log when it begins another epoch at this vid, its last one.
    #[must_use]
    pub fn branch(&self, last: Vid, new_epoch: Epoch) -> Self {
        let ended = EarlierEpoch {
            epoch: self.epoch.clone(),
            good_through: last,
        };

        // Nothing behind the last vid of a copy is the same as on its original.
        let mut earlier: Vec<_> = self.earlier.iter().cloned().chain([ended]).collect();
        for ended in &mut earlier {
            ended.good_through = ended.good_through.min(last);
        }
        Self::with_earlier(new_epoch, earlier)
    }

    /// The vid up to which two logs have the same events under the same vids, as far as their
    /// lineages say: of a copy and its source, the vid up to which it was copied. None where they
    /// have no epoch in common. Each comes with its last vid.
    pub fn same_through(
        (one, one_last): (&Self, Vid),
        (other, other_last): (&Self, Vid),
    ) -> Option<Vid> {
        let common = one.epochs().filter_map(|epoch| {
            let ends = one.good_through(epoch)?.min(one_last);
            Some(ends.min(other.good_through(epoch)?).min(other_last))
        });
        common.max()
    }

    /// The lineage of this log once it has what a source has up to this vid, under the same vids:
    /// cursors of the source are served up to there. Its own epoch goes on.
    #[must_use]
    pub fn with_copied(&self, source: &Self, through: Vid) -> Self {
        let copied = source.branch(through, self.epoch.clone());
        let copied = copied.earlier.iter().cloned();
        let is_own = |earlier: &EarlierEpoch| earlier.epoch == self.epoch;

        // What the source knows of an epoch counts more: this log may have less of it, so far.
        let mut earlier: Vec<_> = copied.filter(|e| !is_own(e)).collect();
        for known in self.earlier.iter() {
            if !earlier.iter().any(|e| e.epoch == known.epoch) {
                earlier.push(known.clone());
            }
        }
        earlier.sort_by_key(|earlier| earlier.good_through);
        Self::with_earlier(self.epoch.clone(), earlier)
    }

    /// The current epoch.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// All epochs, the oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        let earlier = self.earlier.iter().map(|earlier| &earlier.epoch);
        earlier.chain([&self.epoch])
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

/// Which epoch to forget when there are too many. Readers that hold a cursor of it get a `reset`
/// and read again what is retained: they lose nothing, but pay for it.
///
/// An epoch that added no event goes first: a log that begins one at each start, without
/// publishers, must not push out the epochs in which events came. The newest is kept, as most
/// readers hold it.
fn least_useful(earlier: &[EarlierEpoch]) -> usize {
    let all_but_newest = &earlier[..earlier.len().saturating_sub(1)];
    let mut neighbours = all_but_newest.windows(2);
    let added_no_event = neighbours.position(|pair| pair[0].good_through == pair[1].good_through);
    added_no_event.map_or(0, |before| before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(name: &str) -> Epoch {
        name.parse().expect("an epoch")
    }

    fn earlier(lineage: &Lineage) -> Vec<(&str, Vid)> {
        let named = lineage.earlier().iter();
        named.map(|e| (e.epoch.as_str(), e.good_through)).collect()
    }

    #[test]
    fn cursors_of_an_earlier_epoch_are_good_up_to_where_the_log_left_it() {
        let log = Lineage::new(epoch("first1"))
            .branch(3, epoch("second"))
            .branch(7, epoch("third1"));
        assert_eq!(earlier(&log), [("first1", 3), ("second", 7)]);
        let good_through = |name: &str| log.good_through(&epoch(name));
        assert_eq!(good_through("first1"), Some(3));
        assert_eq!(good_through("second"), Some(7));
        assert_eq!(good_through("third1"), Some(limits::MAX_VID));
        assert_eq!(good_through("other1"), None);
    }

    #[test]
    fn a_copy_remembers_the_epochs_of_its_source_up_to_where_it_was_copied() {
        let source = Lineage::new(epoch("first1")).branch(3, epoch("second"));
        let copy = Lineage::new(epoch("copied")).with_copied(&source, 7);
        assert_eq!(earlier(&copy), [("first1", 3), ("second", 7)]);
        let same = |copy_last| Lineage::same_through((&copy, copy_last), (&source, 9));
        assert_eq!(same(7), Some(7));
        assert_eq!(same(8), Some(7), "it has an event of its own");

        let further = copy.with_copied(&source, 9);
        assert_eq!(earlier(&further), [("first1", 3), ("second", 9)]);
        assert_eq!(further.epoch(), &epoch("copied"));

        // And back again, which needs no new epoch.
        let back = source.with_copied(&further, 12);
        assert_eq!(earlier(&back), [("first1", 3), ("copied", 12)]);
        assert_eq!(back.epoch(), &epoch("second"));
    }

    #[test]
    fn logs_without_a_common_epoch_have_nothing_in_common() {
        let one = Lineage::new(epoch("first1"));
        let other = Lineage::new(epoch("second"));
        assert_eq!(Lineage::same_through((&one, 5), (&other, 5)), None);
    }

    #[test]
    fn no_earlier_epoch_is_good_beyond_a_later_branch() {
        let log = Lineage::new(epoch("first1")).branch(9, epoch("second"));
        let shorter = log.branch(4, epoch("third1"));
        assert_eq!(earlier(&shorter), [("first1", 4), ("second", 4)]);
    }

    #[test]
    fn an_epoch_that_added_no_event_is_served_until_there_are_too_many() {
        let mut log = Lineage::new(epoch("first1")).branch(3, epoch("second"));
        for n in 0..limits::MAX_EARLIER_EPOCHS {
            log = log.branch(3, epoch(&format!("empty{n}")));
        }
        let kept = earlier(&log);
        assert_eq!(kept.len(), limits::MAX_EARLIER_EPOCHS);
        assert_eq!(kept[0], ("first1", 3), "it has events");
        assert_eq!(log.good_through(&epoch("second")), None, "it has none");
        let newest = format!("empty{}", limits::MAX_EARLIER_EPOCHS - 2);
        assert_eq!(log.good_through(&epoch(&newest)), Some(3));
    }

    #[test]
    fn the_oldest_epoch_is_forgotten_when_all_have_events() {
        let mut log = Lineage::new(epoch("epoch0"));
        for n in 1..=limits::MAX_EARLIER_EPOCHS as u64 {
            log = log.branch(n, epoch(&format!("epoch{n}")));
        }
        log = log.branch(limits::MAX_EARLIER_EPOCHS as u64, epoch("newest"));
        assert_eq!(log.earlier().len(), limits::MAX_EARLIER_EPOCHS);
        assert_eq!(log.good_through(&epoch("epoch0")), None);
        assert_eq!(log.good_through(&epoch("epoch1")), Some(2));
    }
}
