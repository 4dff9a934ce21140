//! Who waits for which topics.
//!
//! Invariants:
//! - an append touches the slots of those subscriptions that match, and no others;
//! - a slot's mark covers every matching event after the subscription's position: `first_match` may be too early,
//!   never too late;
//! - events are marked before they become visible, so whoever has seen the tail finds the marks up to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use indexmap::IndexMap;

use crate::cursor::Vid;
use crate::event::Event;
use crate::topic::{Filter, Pattern, Topic};

/// What a subscription and the sequencer share.
#[derive(Debug)]
pub(super) struct Slot {
    /// Held for a few instructions, by the subscription or by the sequencer.
    state: Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    /// No event before this one matches; `Vid::MAX` when none does at all.
    first_match: Vid,
    /// The newest event that was marked.
    last_match: Vid,
    /// The sequencer has this slot on its list for the group that it is about to show.
    queued: bool,
    woken: bool,
    waker: Option<Waker>,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vid before which nothing matches that has not been read.
    pub(super) fn first_match(&self) -> Vid {
        self.state().first_match
    }

    /// Everything up to this vid has been read.
    pub(super) fn read_through(&self, vid: Vid) {
        let mut state = self.state();
        if state.first_match <= vid {
            state.first_match = if state.last_match > vid { vid + 1 } else { Vid::MAX };
        }
    }

    /// Forgets earlier wake-ups. What is read after this call sees everything that caused them.
    pub(super) fn rearm(&self) {
        self.state().woken = false;
    }

    /// Ready after a wake-up since the last [`Slot::rearm`].
    pub(super) fn woken(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.woken {
                return Poll::Ready(());
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }

    /// Takes note of a matching event. True when the slot is new on the list of those to wake.
    ///
    /// It is not yet `woken` here: a subscription that looks now would not see the event, and would wait for ever.
    fn mark(&self, vid: Vid) -> bool {
        let mut state = self.state();
        state.first_match = state.first_match.min(vid);
        state.last_match = vid;
        !std::mem::replace(&mut state.queued, true)
    }

    fn wake(&self) {
        let mut state = self.state();
        state.queued = false;
        state.woken = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Filters to slots.
pub(super) struct Interest {
    /// Held while a group is marked, or one subscription comes or goes; never while anybody is woken.
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    exact: HashMap<Box<str>, Slots>,
    wild: Vec<(Pattern, Slots)>,
    marked_through: Vid,
    subscribers: usize,
}

/// The slots of one pattern by their addresses: dense to walk, and quick to leave however many there are.
type Slots = IndexMap<usize, Arc<Slot>>;

fn address(slot: &Arc<Slot>) -> usize {
    Arc::as_ptr(slot).addr()
}

/// A subscription's place in the index, for as long as it lives.
pub(super) struct Registration {
    interest: Arc<Interest>,
    filter: Filter,
    slot: Arc<Slot>,
}

impl Registration {
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.interest.index().remove(&self.filter, &self.slot);
    }
}

impl Interest {
    /// An index without subscriptions, for a log whose newest vid is `last`.
    pub(super) fn new(last: Vid) -> Self {
        Interest { index: Mutex::new(Index { marked_through: last, ..Index::default() }) }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription that has everything up to `position`.
    pub(super) fn register(self: &Arc<Self>, filter: &Filter, position: Vid) -> Registration {
        let mut index = self.index();
        // What was marked before this moment was not marked here: all of it may match, if there is any.
        let last_match = index.marked_through;
        let first_match = if last_match > position { position + 1 } else { Vid::MAX };
        let state = SlotState { first_match, last_match, queued: false, woken: true, waker: None };
        let slot = Arc::new(Slot { state: Mutex::new(state) });
        for pattern in filter.patterns() {
            index.slots_of(pattern).insert(address(&slot), slot.clone());
        }
        index.subscribers += 1;
        drop(index);
        Registration { interest: self.clone(), filter: filter.clone(), slot }
    }

    /// Marks the slots that match; gives those that have to be woken once the events are visible.
    pub(super) fn mark(&self, events: &[Arc<Event>]) -> Vec<Arc<Slot>> {
        let mut to_wake = Vec::new();
        let mut index = self.index();
        for event in events {
            index.mark(&event.sent.topic, event.vid, &mut to_wake);
        }
        to_wake
    }

    pub(super) fn subscribers(&self) -> usize {
        self.index().subscribers
    }

    /// Every slot, to wake all at the end.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        let index = self.index();
        index.exact.values().chain(index.wild.iter().map(|(_, slots)| slots)).flat_map(Slots::values).cloned().collect()
    }
}

impl Index {
    fn slots_of(&mut self, pattern: &Pattern) -> &mut Slots {
        if let Some(topic) = pattern.exact() {
            return self.exact.entry(topic.into()).or_default();
        }
        let at = self.wild.iter().position(|(p, _)| p == pattern).unwrap_or_else(|| {
            self.wild.push((pattern.clone(), Slots::new()));
            self.wild.len() - 1
        });
        &mut self.wild[at].1
    }

    fn mark(&mut self, topic: &Topic, vid: Vid, to_wake: &mut Vec<Arc<Slot>>) {
        let exact = self.exact.get(topic.as_str());
        let wild = self.wild.iter().filter(|(pattern, _)| pattern.matches(topic.as_str())).map(|(_, slots)| slots);
        for slot in exact.into_iter().chain(wild).flat_map(Slots::values) {
            if slot.mark(vid) {
                to_wake.push(slot.clone());
            }
        }
        self.marked_through = vid;
    }

    fn remove(&mut self, filter: &Filter, slot: &Arc<Slot>) {
        for pattern in filter.patterns() {
            let slots = self.slots_of(pattern);
            slots.swap_remove(&address(slot));
            if slots.is_empty() {
                self.forget(pattern);
            }
        }
        self.subscribers -= 1;
    }

    fn forget(&mut self, pattern: &Pattern) {
        match pattern.exact() {
            Some(topic) => {
                self.exact.remove(topic);
            }
            None => self.wild.retain(|(p, _)| p != pattern),
        }
    }
}

/// Wakes subscriptions; no lock is held but each slot's own.
pub(super) fn wake(slots: &[Arc<Slot>]) {
    for slot in slots {
        slot.wake();
    }
}
