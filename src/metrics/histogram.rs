//! Histograms that are counted into without a lock.
//!
//! Invariant: an observation is a look at a few bounds and two additions; what it costs does not
//! depend on who reads.

use super::shards::Count;

/// The most buckets of a scale, and the one for what is beyond its last bound.
const MAX_BUCKETS: usize = 17;

/// The upper bounds of a histogram's buckets, in whole numbers, and how many of these are one of
/// its unit.
#[derive(Debug)]
pub(super) struct Scale {
    bounds: &'static [u64],
    of_unit: f64,
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Seconds, observed in nanoseconds.
pub(super) const SECONDS: Scale = Scale {
    bounds: &[
        100 * US,
        250 * US,
        500 * US,
        MS,
        2_500 * US,
        5 * MS,
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2_500 * MS,
        5 * S,
        10 * S,
    ],
    of_unit: 1e9,
};

/// Vids between a reader and the newest one.
pub(super) const VIDS: Scale = Scale {
    bounds: &[0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    of_unit: 1.0,
};

/// Events that are written together.
pub(super) const EVENTS: Scale = Scale {
    bounds: &[
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000,
    ],
    of_unit: 1.0,
};

/// How often what was observed.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    buckets: [Count; MAX_BUCKETS],
    sum: Count,
}

impl Histogram {
    pub(super) fn new(scale: &'static Scale) -> Self {
        assert!(
            scale.bounds.len() < MAX_BUCKETS,
            "a bucket is left for what is beyond"
        );
        Histogram {
            scale,
            buckets: Default::default(),
            sum: Count::default(),
        }
    }

    /// Of times, which are observed in nanoseconds and shown in seconds.
    pub(crate) fn of_seconds() -> Self {
        Histogram::new(&SECONDS)
    }

    /// Counts one value.
    pub(crate) fn observe(&self, value: u64) {
        let bounds = self.scale.bounds;
        // From the lowest one, as most values are small.
        let mut bucket = 0;
        while bucket < bounds.len() && bounds[bucket] < value {
            bucket += 1;
        }
        self.buckets[bucket].add(1);
        self.sum.add(value);
    }

    /// What has been observed so far.
    pub(super) fn values(&self) -> HistogramValues {
        HistogramValues {
            scale: self.scale,
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].get()),
            sum: self.sum.get(),
        }
    }
}

/// What a histogram has at a moment.
#[derive(Debug, Clone)]
pub(super) struct HistogramValues {
    scale: &'static Scale,
    buckets: [u64; MAX_BUCKETS],
    sum: u64,
}

impl HistogramValues {
    /// Those of several histograms of one scale together.
    pub(super) fn sum_of<'h>(mut histograms: impl Iterator<Item = &'h Histogram>) -> Self {
        let first = histograms.next().expect("there is at least one shard");
        histograms.fold(first.values(), |sum, next| sum.with(&next.values()))
    }

    fn with(mut self, other: &Self) -> Self {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
        self
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the format has no other numbers"
    )]
    pub(super) fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.of_unit
    }

    /// The upper bound of each bucket, and what is in it and in no lower one.
    #[expect(clippy::cast_precision_loss, reason = "bounds have few digits")]
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.scale.bounds.iter();
        let bounds = bounds.map(|bound| *bound as f64 / self.scale.of_unit);
        let with_last = bounds.chain([f64::INFINITY]);
        with_last.zip(self.buckets).collect()
    }
}

/// Nanoseconds of a clock that only advances.
pub(crate) fn steady_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};

    // The clock is always there.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| {
        now.tv_sec().cast_unsigned() * S + now.tv_nsec().cast_unsigned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_lowest_bucket_that_holds_it() {
        let histogram = Histogram::of_seconds();
        for value in [0, 100 * US, 100 * US + 1, 10 * S, 10 * S + 1, u64::MAX / 2] {
            histogram.observe(value);
        }
        let values = histogram.values();
        let buckets = values.buckets();
        let filled: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [&(0.0001, 2), &(0.00025, 1), &(10.0, 1), &(f64::INFINITY, 2)]
        );
        assert_eq!((values.count(), buckets.len()), (6, 17));
    }

    #[test]
    fn several_are_summed_up() {
        let (one, other) = (Histogram::new(&EVENTS), Histogram::new(&EVENTS));
        one.observe(3);
        other.observe(4);
        other.observe(20_000);
        let values = HistogramValues::sum_of([&one, &other].into_iter());
        assert_eq!((values.count(), values.sum()), (3, 20_007.0));
        assert_eq!(values.buckets()[2], (5.0, 2));
    }
}
