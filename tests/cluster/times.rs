//! How long what took, from what was recorded.

use std::time::Duration;

use crate::record::{Health, History, Moment, Place, What};

/// What a cell took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// From the fault until a leader was reported again; none where there always was one.
    pub(crate) election: Option<Duration>,
    /// The longest pause between two acknowledgements, from the fault on.
    pub(crate) pause: Duration,
    /// From the election, or the fault, to the first acknowledgement.
    pub(crate) publishing: Duration,
    /// The longest from an acknowledgement to the reader that stays, on the slower gateway.
    pub(crate) tail: Duration,
    /// From the fault until a gateway said that it is not ready; of the last one to say so.
    pub(crate) red: Option<Duration>,
    /// From the end of the fault, or the election after it, until all were ready again.
    pub(crate) green: Duration,
    /// The longest until a publisher was refused.
    pub(crate) refused: Duration,
    /// Requests of publishers that were not answered at all.
    pub(crate) hung: usize,
}

/// When the fault began and ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
}

impl Times {
    /// Tails are measured from the fault, or only from when it has ended.
    pub(crate) fn of(history: &History, span: Span, is_tail_from_end: bool) -> Self {
        let elected_at = elected_at(history, span.began);
        let back_at = elected_at.unwrap_or(span.began);
        let healed_at = elected_at.map_or(span.ended, |at| at.max(span.ended));
        let tail_from = if is_tail_from_end {
            healed_at + Duration::from_secs(3)
        } else {
            back_at
        };
        let refusals = || history.refusals.iter().filter(|r| r.at >= span.began);
        let acks = || history.acknowledged.iter().map(|ack| ack.at);
        let first_ack = acks().filter(|at| *at >= back_at).min();
        Times {
            election: elected_at.map(|at| at.saturating_sub(span.began)),
            pause: pause(span.began, acks().filter(|at| *at >= span.began)),
            publishing: first_ack.map_or(Duration::MAX, |at| at.saturating_sub(back_at)),
            tail: tail(history, tail_from),
            red: red_at(history, span.began).map(|at| at.saturating_sub(span.began)),
            green: green_at(history, span.began).saturating_sub(healed_at),
            refused: refusals()
                .filter(|r| r.text.is_some())
                .map(|r| r.took)
                .max()
                .unwrap_or_default(),
            hung: refusals().filter(|r| r.text.is_none()).count(),
        }
    }
}

/// When a leader was reported for good after there was none.
fn elected_at(history: &History, began: Moment) -> Option<Moment> {
    let after = history.leaders.iter().filter(|(at, _)| *at >= began);
    let after: Vec<_> = after.collect();
    let last_without = after.iter().rposition(|(_, leader)| leader.is_none())?;
    after.get(last_without + 1).map(|(at, _)| *at)
}

fn pause(began: Moment, acks: impl Iterator<Item = Moment>) -> Duration {
    let mut acks: Vec<_> = acks.chain([began]).collect();
    acks.sort_unstable();
    let pauses = acks.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    pauses.max().unwrap_or_default()
}

/// The longest from an acknowledgement until a reader that stays had seen so far.
fn tail(history: &History, from: Moment) -> Duration {
    let staying = history.readings.iter().filter(|r| r.stays_at.is_some());
    let mut longest = Duration::ZERO;
    for reading in staying {
        let seen: Vec<(Moment, &Place)> = reading
            .told
            .iter()
            .filter_map(|told| match &told.what {
                What::Event(place, _) | What::Through(place) => Some((told.at, place)),
                _ => None,
            })
            .collect();
        for ack in history.acknowledged.iter().filter(|ack| ack.at >= from) {
            let is_past =
                |place: &Place| place.epoch == ack.place.epoch && place.vid >= ack.place.vid;
            // Readers see most events about when they are acknowledged.
            let near = seen.partition_point(|(at, _)| *at + Duration::from_millis(50) < ack.at);
            let from = if near > 0 && is_past(seen[near - 1].1) {
                continue;
            } else {
                near
            };
            if let Some((at, _)) = seen[from..].iter().find(|(_, place)| is_past(place)) {
                longest = longest.max(at.saturating_sub(ack.at));
            }
        }
    }
    longest
}

fn red_at(history: &History, began: Moment) -> Option<Moment> {
    let of_gateway = history.health.values().map(|seen| {
        let mut red = seen
            .iter()
            .filter(|(at, health)| *at >= began && *health == Health::Red);
        red.next().map(|(at, _)| *at)
    });
    of_gateway.flatten().max()
}

/// When the last gateway was ready again after it had not been.
fn green_at(history: &History, began: Moment) -> Moment {
    let of_gateway = history.health.values().map(|seen| {
        let seen: Vec<_> = seen.iter().filter(|(at, _)| *at >= began).collect();
        let last_red = seen
            .iter()
            .rposition(|(_, health)| *health != Health::Green)?;
        seen.get(last_red + 1).map(|(at, _)| *at)
    });
    of_gateway.flatten().max().unwrap_or_default()
}
