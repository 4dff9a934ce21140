//! Which earlier epochs a stream goes on from (contract §1), kept in its metadata.
//!
//! The value is the stream's own epoch and then, the oldest first, each earlier one with the vid up
//! to which it is good: `3kx0q2w9sm1z k3x9q2aa:1042`.
//!
//! Invariant: what was written for another epoch of the stream does not count. A stream that was
//! made anew with the same metadata has other events.

use std::sync::Arc;

use async_nats::jetstream::stream::Info;

use super::epoch;
use crate::cursor::Vid;
use crate::lineage::{EarlierEpoch, Lineage};

/// The key in the metadata of a stream.
pub(super) const EARLIER: &str = "vidette.earlier";

/// The epochs that a stream goes on from.
pub(super) fn earlier_of(info: &Info) -> Arc<[EarlierEpoch]> {
    let written = info.config.metadata.get(EARLIER);
    let earlier = written.and_then(|text| parse(text, epoch::of(info).as_str()));
    earlier.unwrap_or_default().into()
}

/// None where it is of another epoch, or not of this form.
fn parse(text: &str, own_epoch: &str) -> Option<Vec<EarlierEpoch>> {
    let (written_for, list) = text.split_once(' ')?;
    if written_for != own_epoch {
        return None;
    }
    list.split(' ').map(parse_one).collect()
}

fn parse_one(text: &str) -> Option<EarlierEpoch> {
    let (epoch, good_through) = text.split_once(':')?;
    let good_through: Vid = good_through.parse().ok()?;
    Some(EarlierEpoch {
        epoch: epoch.parse().ok()?,
        good_through,
    })
}

/// The value in the metadata.
pub(super) fn to_text(lineage: &Lineage) -> String {
    let earlier = lineage.earlier().iter();
    let earlier = earlier.map(|earlier| format!("{}:{}", earlier.epoch, earlier.good_through));
    let words = [lineage.epoch().to_string()].into_iter().chain(earlier);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_epochs_come_back_for_the_epoch_they_were_written_for_alone() {
        let epoch = |name: &str| name.parse().expect("an epoch");
        let lineage = Lineage::new(epoch("first1")).branch(3, epoch("second"));
        let copied = Lineage::new(epoch("stream")).with_copied(&lineage, 9);
        let text = to_text(&copied);
        assert_eq!(text, "stream first1:3 second:9");
        assert_eq!(parse(&text, "stream").as_deref(), Some(copied.earlier()));
        assert_eq!(parse(&text, "other1"), None);
        for wrong in ["stream", "stream x:3", "stream first1", "stream first1:x"] {
            assert_eq!(parse(wrong, "stream"), None, "{wrong}");
        }
    }
}
