//! Which events of a group are sent, and what their publishers are answered.
//!
//! Invariants:
//! - no id is sent twice in one group: JetStream would refuse all of it;
//! - the events that are sent keep the order of the group, so new ones of a batch have neighbouring
//!   vids;
//! - a group of which an event has no id has one itself, on the last such event. It belongs to
//!   that event for as long as the group is tried, whichever others are known meanwhile. On the
//!   last: a single server whose space runs out may have stored the beginning of a batch.

use std::collections::HashMap;

use super::Batch;
use crate::cursor::Vid;
use crate::engine::Receipt;
use crate::event::NewEvent;

/// A group on its way.
pub(super) struct Plan<'g> {
    /// What is sent, in order.
    pub(super) events: Vec<&'g NewEvent>,
    /// The id of the group, and which of these events has it.
    pub(super) group_id: Option<(usize, &'g str)>,
    /// For each batch, where its events are.
    places: Vec<Vec<Place>>,
}

/// Where an event of the group is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Sent as this one.
    New(usize),
    /// The same as this one, which is sent.
    Repeated(usize),
    /// On the log already.
    Known(Vid),
}

/// The vids of ids that are on the log already.
pub(super) type KnownIds = HashMap<String, Vid>;

impl<'g> Plan<'g> {
    /// Sends what is not known.
    pub(super) fn of(batches: &[&'g Batch], known: &KnownIds) -> Self {
        let mut plan = Plan {
            events: Vec::new(),
            group_id: None,
            places: Vec::new(),
        };
        let mut sent = HashMap::new();
        for batch in batches {
            let events = batch.events.iter();
            let places = events.map(|event| plan.place(event, batch, known, &mut sent));
            let places = places.collect();
            plan.places.push(places);
        }
        plan
    }

    fn place(
        &mut self,
        event: &'g NewEvent,
        batch: &'g Batch,
        known: &KnownIds,
        sent: &mut HashMap<&'g str, usize>,
    ) -> Place {
        let next = self.events.len();
        match event.id.as_deref() {
            Some(id) => {
                if let Some(vid) = known.get(id) {
                    return Place::Known(*vid);
                }
                if let Some(first) = sent.get(id) {
                    return Place::Repeated(*first);
                }
                sent.insert(id, next);
            }
            None => self.group_id = Some((next, &batch.group_id)),
        }
        self.events.push(event);
        Place::New(next)
    }

    /// The ids of publishers that are sent, with the places of their events.
    pub(super) fn ids(&self) -> impl Iterator<Item = (usize, &'g str)> {
        let events = self.events.iter().enumerate();
        events.filter_map(|(index, event)| event.id.as_deref().map(|id| (index, id)))
    }

    /// The bytes of what is sent, as they are counted for queues.
    pub(super) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.size_bytes()).sum()
    }

    /// One answer a batch, where the events that were sent have the vids from `first` on.
    pub(super) fn receipts(&self, first: Vid) -> Vec<Vec<Receipt>> {
        let receipt = |place: &Place| match *place {
            Place::New(index) => Receipt {
                vid: first + index as u64,
                duplicate: false,
            },
            Place::Repeated(index) => Receipt {
                vid: first + index as u64,
                duplicate: true,
            },
            Place::Known(vid) => Receipt {
                vid,
                duplicate: true,
            },
        };
        let batches = self.places.iter();
        batches
            .map(|places| places.iter().map(receipt).collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventParts;

    fn batch(group_id: &str, ids: &[&str]) -> Batch {
        let event = |id: &&str| {
            let parts = EventParts {
                topic: "a",
                id: Some(id),
                ..EventParts::default()
            };
            NewEvent::check(parts, 10).expect("an event")
        };
        Batch {
            events: ids.iter().map(event).collect(),
            group_id: group_id.to_owned(),
        }
    }

    fn vids(receipts: &[Receipt]) -> Vec<(Vid, bool)> {
        receipts.iter().map(|r| (r.vid, r.duplicate)).collect()
    }

    #[test]
    fn each_id_is_sent_once_and_what_is_known_not_at_all() {
        let batches = [
            batch("g1", &["a", "", "a"]),
            batch("g2", &["k", "", "a", "b"]),
        ];
        let batches: Vec<_> = batches.iter().collect();
        let known = [("k".to_owned(), 3)].into();
        let plan = Plan::of(&batches, &known);
        assert_eq!(plan.ids().collect::<Vec<_>>(), [(0, "a"), (3, "b")]);
        assert_eq!(plan.events.len(), 4);
        assert_eq!(plan.group_id, Some((2, "g2")));

        let receipts = plan.receipts(10);
        assert_eq!(vids(&receipts[0]), [(10, false), (11, false), (10, true)]);
        assert_eq!(
            vids(&receipts[1]),
            [(3, true), (12, false), (10, true), (13, false)]
        );
    }

    #[test]
    fn a_group_keeps_its_id_when_others_turn_out_to_be_known() {
        let batches = [batch("g1", &["a"]), batch("g2", &["", "b"])];
        let batches: Vec<_> = batches.iter().collect();
        let plan = Plan::of(&batches, &KnownIds::new());
        assert_eq!(plan.group_id, Some((1, "g2")));
        let plan = Plan::of(&batches, &[("a".to_owned(), 1)].into());
        assert_eq!(plan.group_id, Some((0, "g2")));
        let all = [batch("g1", &["a", "b"])];
        assert_eq!(Plan::of(&[&all[0]], &KnownIds::new()).group_id, None);
    }
}
