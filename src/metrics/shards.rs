//! Counts that many threads add to at the same time.
//!
//! Each delivery is counted several times over, and all threads deliver. One counter for all would
//! travel between the caches of their cores. Invariants:
//! - a thread adds to one shard for as long as it lives, so that its adding waits for no other one;
//! - a value is the sum of all shards; it never falls, but it is not of one moment.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// As many threads add without sharing a shard; a power of two.
const SHARDS: usize = 16;

const NONE_YET: usize = usize::MAX;

thread_local! {
    static SHARD_OF_THREAD: Cell<usize> = const { Cell::new(NONE_YET) };
}

/// A count that only rises.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Two lines of a cache: some processors fetch pairs of them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

/// A copy of some counts for each of a few threads.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[Shard<T>; SHARDS]>);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Sharded(Box::new(std::array::from_fn(|_| Shard::default())))
    }
}

impl<T> Sharded<T> {
    /// The copy that this thread adds to.
    pub(super) fn here(&self) -> &T {
        &self.0[shard_of_thread() % SHARDS].0
    }

    /// The sum of a count over all copies.
    pub(super) fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(read).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

fn shard_of_thread() -> usize {
    let shard = SHARD_OF_THREAD.get();
    if shard == NONE_YET {
        return choose_shard();
    }
    shard
}

/// In turn, so that the threads of a runtime have shards of their own.
#[cold]
fn choose_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    SHARD_OF_THREAD.set(shard);
    shard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_add_is_summed_up() {
        let counts = Sharded::<Count>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| counts.here().add(3));
            }
        });
        assert_eq!(counts.sum(Count::get), 6 * SHARDS as u64);
    }
}
