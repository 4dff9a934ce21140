//! The log as a plain list that is obviously right.

use std::collections::{BTreeMap, HashMap};

use crate::common::read::{Data, Gap, Seen};
use crate::script::Draft;

#[derive(Clone)]
/// An event of the list; its vid is its index and one.
pub struct Entry {
    pub topic: &'static str,
    pub kind: String,
    pub id: String,
    pub data: Data,
    /// When it was published: not before, not after, and exactly, once anyone has seen it.
    pub between_ms: (i64, i64),
    pub time_ms: Option<i64>,
}

/// Oldest and newest vid at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub first: u64,
    pub last: u64,
}

/// Where a subscription starts, as its request says.
#[derive(Debug, Clone)]
pub enum Start {
    Latest,
    Earliest,
    Snapshot,
    Since(i64),
    After(String),
}

/// Where that leads.
#[derive(Debug, Default)]
pub struct Place {
    pub position: u64,
    pub gap: Option<Gap>,
    pub fresh: bool,
    pub snapshot_through: Option<u64>,
}

pub struct Log {
    pub epoch: String,
    entries: Vec<Entry>,
    ids: HashMap<String, u64>,
    /// All states that the log has been in, the present one last.
    pub states: Vec<State>,
    serial: usize,
}

impl Log {
    pub fn new(epoch: String) -> Self {
        let states = vec![State { first: 1, last: 0 }];
        Log {
            epoch,
            entries: Vec::new(),
            ids: HashMap::new(),
            states,
            serial: 0,
        }
    }

    pub fn now(&self) -> State {
        self.states[self.states.len() - 1]
    }

    pub fn cursor(&self, vid: u64) -> String {
        format!("{vid}-{}", self.epoch)
    }

    pub fn entry(&self, vid: u64) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(vid).expect("a vid").checked_sub(1)?)
    }

    /// What the drafts become when they are published next; publishing them twice gives them other
    /// data.
    pub fn prepare(&mut self, drafts: &[Draft]) -> Vec<Entry> {
        let prepare = |draft: &Draft| {
            self.serial += 1;
            let (serial, pad) = (self.serial, "x".repeat(draft.bytes));
            let data = if draft.topic.starts_with("text.") {
                Data::Text(format!("line {serial}\nand \"more\" {pad}"))
            } else {
                Data::Json(format!("{{\"n\":{serial}.0,  \"pad\":\"{pad}\"}}"))
            };
            let kind = if serial % 3 == 0 { "third" } else { "" };
            let id = draft.id.map_or(String::new(), |id| format!("id-{id}"));
            Entry {
                topic: draft.topic,
                kind: kind.into(),
                id,
                data,
                between_ms: (0, 0),
                time_ms: None,
            }
        };
        drafts.iter().map(prepare).collect()
    }

    /// Takes a batch; each event's vid, and whether it was there already. The engines leave no
    /// holes.
    pub fn publish(&mut self, batch: Vec<Entry>, between_ms: (i64, i64)) -> Vec<(u64, bool)> {
        let mut receipts = Vec::new();
        for entry in batch {
            if let Some(vid) = self.ids.get(&entry.id) {
                receipts.push((*vid, true));
                continue;
            }
            let vid = self.entries.len() as u64 + 1;
            if !entry.id.is_empty() {
                self.ids.insert(entry.id.clone(), vid);
            }
            self.entries.push(Entry {
                between_ms,
                ..entry
            });
            receipts.push((vid, false));
        }
        self.states.push(State {
            last: self.entries.len() as u64,
            ..self.now()
        });
        receipts
    }

    pub fn keep(&mut self, count: u64) {
        let State { first, last } = self.now();
        self.states.push(State {
            first: first.max((last + 1).saturating_sub(count)),
            last,
        });
    }

    pub fn forget_ids(&mut self) {
        self.ids.clear();
    }

    /// The first event in (after, through] that matches, retained or not.
    pub fn missed(&self, patterns: &[&str], after: u64, through: u64) -> Option<u64> {
        (after + 1..=through).find(|vid| {
            self.entry(*vid)
                .is_some_and(|entry| matches(patterns, entry.topic))
        })
    }

    /// The newest events of the matching topics, as the log was in that state, as far as they are
    /// in (after, through].
    pub fn newest(&self, patterns: &[&str], state: State, after: u64, through: u64) -> Vec<u64> {
        let mut newest = BTreeMap::new();
        for vid in state.first..=state.last {
            newest.extend(
                self.entry(vid)
                    .filter(|e| matches(patterns, e.topic))
                    .map(|entry| (entry.topic, vid)),
            );
        }
        let mut vids: Vec<u64> = newest
            .into_values()
            .filter(|vid| *vid > after && *vid <= through)
            .collect();
        vids.sort_unstable();
        vids
    }

    /// The table of contract §3.
    pub fn place(&self, start: &Start) -> Place {
        let State { first, last } = self.now();
        let at = |position| Place {
            position,
            ..Place::default()
        };
        match start {
            Start::Latest => at(last),
            Start::Earliest => Place {
                fresh: true,
                ..at(first - 1)
            },
            Start::Snapshot => Place {
                snapshot_through: Some(last),
                ..at(first - 1)
            },
            Start::Since(ms) => at((first..=last)
                .take_while(|v| self.is_before(*v, *ms))
                .last()
                .unwrap_or(first - 1)),
            Start::After(text) if text == "0" => Place {
                fresh: true,
                ..at(first - 1)
            },
            Start::After(text) => {
                let (vid, epoch) = text
                    .split_once('-')
                    .map_or((text.as_str(), None), |(vid, epoch)| (vid, Some(epoch)));
                let vid: u64 = vid.parse().expect("a vid");
                let gap = |reason| Some(self.gap(reason, text));
                if epoch.is_some_and(|epoch| epoch != self.epoch) {
                    Place {
                        gap: gap("reset"),
                        fresh: true,
                        ..at(first - 1)
                    }
                } else if vid > last {
                    Place {
                        gap: gap("ahead"),
                        ..at(last)
                    }
                } else if vid + 1 < first {
                    Place {
                        gap: gap("expired"),
                        ..at(first - 1)
                    }
                } else {
                    at(vid)
                }
            }
        }
    }

    fn gap(&self, reason: &str, requested: &str) -> Gap {
        let State { first, last } = self.now();
        Gap {
            reason: reason.into(),
            requested: requested.into(),
            first,
            last,
            epoch: self.epoch.clone(),
        }
    }

    fn is_before(&self, vid: u64, ms: i64) -> bool {
        self.entry(vid).is_some_and(|entry| entry.between_ms.1 < ms)
    }

    /// Is this the event that was published with its vid?
    pub fn compare(&mut self, seen: &Seen) -> Result<(), String> {
        let index = usize::try_from(seen.vid).expect("a vid").checked_sub(1);
        let entry = index
            .and_then(|index| self.entries.get_mut(index))
            .ok_or("that vid was given to no event")?;
        let is_same = (&*seen.topic, &seen.kind, &seen.id, &seen.data)
            == (entry.topic, &entry.kind, &entry.id, &entry.data);
        let (from, to) = entry.between_ms;
        let time_ms = *entry.time_ms.get_or_insert(seen.time_ms);
        if !is_same || time_ms != seen.time_ms || !(from..=to).contains(&time_ms) {
            return Err(format!(
                "it is not as it was published: {} between {from} and {to}, {time_ms}",
                entry.topic
            ));
        }
        Ok(())
    }

    /// The retained topics with their newest vid.
    pub fn topics(&self) -> BTreeMap<String, u64> {
        let newest = self.newest(&[], self.now(), 0, u64::MAX);
        newest
            .into_iter()
            .filter_map(|vid| Some((self.entry(vid)?.topic.to_owned(), vid)))
            .collect()
    }
}

/// Contract §1, in a way of its own; no pattern takes in everything.
pub fn matches(patterns: &[&str], topic: &str) -> bool {
    fn fits(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) | ([">"], [_, ..]) => true,
            ([first, pattern @ ..], [token, topic @ ..]) => {
                (first == token || *first == "*") && fits(pattern, topic)
            }
            _ => false,
        }
    }
    let topic: Vec<&str> = topic.split('.').collect();
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| fits(&pattern.split('.').collect::<Vec<_>>(), &topic))
}
