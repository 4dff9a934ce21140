//! What tests ask of the steps that a subscription yielded, and of cursors.

use super::read::{Gap, Seen, Step};

/// The events among some steps.
pub fn events_of(steps: &[Step]) -> Vec<&Seen> {
    let of_step = steps.iter().map(|step| match step {
        Step::Event(seen, _) => Some(seen),
        _ => None,
    });
    of_step.flatten().collect()
}

/// The vids of the events among some steps.
pub fn vids_of(steps: &[Step]) -> Vec<u64> {
    events_of(steps).iter().map(|seen| seen.vid).collect()
}

/// The gaps among some steps.
pub fn gaps_of(steps: &[Step]) -> Vec<&Gap> {
    let of_step = steps.iter().map(|step| match step {
        Step::Gap(gap) => Some(gap),
        _ => None,
    });
    of_step.flatten().collect()
}

/// Reason, first and last of each gap among some steps.
pub fn gap_ranges(steps: &[Step]) -> Vec<(String, u64, u64)> {
    let range = |gap: &Gap| (gap.reason.clone(), gap.first, gap.last);
    gaps_of(steps).into_iter().map(range).collect()
}

/// The vid of a cursor.
pub fn vid_of(cursor: &str) -> u64 {
    let vid = cursor.split('-').next().and_then(|vid| vid.parse().ok());
    vid.unwrap_or_else(|| panic!("not a cursor: {cursor}"))
}
