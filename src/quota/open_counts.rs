//! How many subscriptions each client has open.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::client_key::ClientKey;

/// Each part has a lock of its own, and is small enough to be moved when it grows.
const PARTS: usize = 64;

/// Subscriptions open now, by client; a client without any is not in it.
#[derive(Debug)]
pub(crate) struct OpenCounts {
    parts: [Mutex<HashMap<ClientKey, u32>>; PARTS],
    hasher: RandomState,
}

impl Default for OpenCounts {
    fn default() -> Self {
        OpenCounts {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl OpenCounts {
    fn part(&self, key: &ClientKey) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        let part = self.hasher.hash_one(key) % PARTS as u64;
        let part = &self.parts[usize::try_from(part).expect("a small number")];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, unless so many are open.
    pub(crate) fn try_open(&self, key: ClientKey, at_most: NonZeroU32) -> bool {
        let mut part = self.part(&key);
        let open = part.entry(key).or_default();
        let is_free = *open < at_most.get();
        *open += u32::from(is_free);
        is_free
    }

    /// Counts one less.
    pub(crate) fn close(&self, key: ClientKey) {
        let mut part = self.part(&key);
        if let Some(open) = part.get_mut(&key) {
            *open -= 1;
            if *open == 0 {
                part.remove(&key);
            }
        }
    }

    /// Clients that have one open.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        let parts = self.parts.iter();
        parts
            .map(|part| part.lock().map_or(0, |part| part.len()))
            .sum()
    }
}

/// Subscriptions open on a connection. It takes memory only once they are counted.
#[derive(Debug, Default)]
pub struct ConnectionCount(OnceLock<Arc<OpenCount>>);

/// A count that is shared by the subscriptions of a connection.
#[derive(Debug, Default)]
pub(crate) struct OpenCount(AtomicU32);

impl ConnectionCount {
    pub(crate) fn shared(&self) -> Arc<OpenCount> {
        self.0.get_or_init(Arc::default).clone()
    }
}

impl OpenCount {
    /// Counts one more, unless so many are open.
    pub(crate) fn try_open(&self, at_most: NonZeroU32) -> bool {
        let one_more = |open: u32| (open < at_most.get()).then_some(open + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.fetch_update(set, fetch, one_more).is_ok()
    }

    /// Counts one less.
    pub(crate) fn close(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
