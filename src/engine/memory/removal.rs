//! Taking events out of a log in memory at an operator's word.

use super::Log;
use crate::cursor::Vid;
use crate::engine::{Removal, RemovalStep};
use crate::event::Event;
use crate::topic::Topic;

impl Log {
    /// In one pass over the log, which is in memory.
    pub(super) fn remove(&mut self, what: &Removal) -> RemovalStep {
        let topic = self.topic_of(what);
        let vids = self.take_out(|event| match what {
            Removal::Event(vid) => event.vid == *vid,
            Removal::Topic { topic, through } => {
                event.vid <= *through && event.sent.topic == *topic
            }
        });

        if let Some(topic) = topic.as_ref().filter(|_| !vids.is_empty()) {
            self.count_topic_again(topic, vids.len() as u64);
        }
        RemovalStep {
            vids,
            topic,
            more: false,
        }
    }

    fn topic_of(&self, what: &Removal) -> Option<Topic> {
        match what {
            Removal::Topic { topic, .. } => Some(topic.clone()),
            Removal::Event(vid) => {
                let at = self.index_after(vid.saturating_sub(1));
                let event = self.events.get(at).filter(|event| event.vid == *vid);
                event.map(|event| event.sent.topic.clone())
            }
        }
    }

    fn take_out(&mut self, is_removed: impl Fn(&Event) -> bool) -> Vec<Vid> {
        let mut vids = Vec::new();
        let came_at_ms = std::mem::take(&mut self.came_at_ms);
        let events = std::mem::take(&mut self.events);
        for (event, came_at_ms) in events.into_iter().zip(came_at_ms) {
            if is_removed(&event) {
                self.bytes -= event.size_bytes() as u64;
                vids.push(event.vid);
            } else {
                self.events.push_back(event);
                self.came_at_ms.push_back(came_at_ms);
            }
        }
        vids
    }

    /// `topics` has the topics of retained events only, each with its newest vid.
    fn count_topic_again(&mut self, topic: &Topic, removed: u64) {
        let mut newest_first = self.events.iter().rev();
        let newest = newest_first.find(|event| event.sent.topic == *topic);
        match (newest, self.topics.get_mut(topic)) {
            (Some(newest), Some(state)) => {
                state.newest = newest.vid;
                state.retained -= removed;
            }
            _ => drop(self.topics.remove(topic)),
        }
    }
}
