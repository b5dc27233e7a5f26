//! Counting how large things are, from many threads at once and at next to no cost: two additions a value.
//!
//! Buckets are a quarter of a power of two wide, so a value is known to within a fifth of itself. Two
//! snapshots can be subtracted, which gives what happened between them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Four buckets for each power of two up to 2^40 (18 minutes, in nanoseconds); what is larger counts as that.
const BUCKETS: usize = 4 * 39 + 4;

/// Values of one kind: nanoseconds, rows.
#[derive(Debug)]
pub struct Histogram {
    sum: AtomicU64,
    counts: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Which bucket a value falls into.
fn bucket(value: u64) -> usize {
    if value < 4 {
        return usize::try_from(value).unwrap_or(0);
    }
    let power = value.ilog2() as usize; // 2 or more
    let quarter = (value >> (power - 2)) as usize & 3;
    (4 * (power - 1) + quarter).min(BUCKETS - 1)
}

/// The highest value of a bucket.
fn upto(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (power, quarter) = (bucket / 4 + 1, (bucket % 4) as u64);
    ((5 + quarter) << (power - 2)) - 1
}

impl Histogram {
    /// An empty one.
    pub const fn new() -> Histogram {
        Histogram {
            sum: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value that `count` things share.
    pub fn record_many(&self, value: u64, count: u64) {
        if count > 0 {
            self.sum.fetch_add(value.saturating_mul(count), Ordering::Relaxed);
            self.counts[bucket(value)].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What was counted so far. Values recorded meanwhile may be in it or not.
    pub fn snapshot(&self) -> Snapshot {
        let counted = self.counts.iter().enumerate().filter_map(|(index, count)| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then(|| (upto(index), count))
        });
        Snapshot {
            sum: self.sum.load(Ordering::Relaxed),
            buckets: counted.collect(),
        }
    }
}

/// A histogram as it stood at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The sum of all values.
    pub sum: u64,
    /// For each bucket that is not empty, in growing order: its highest value, and how many fell into it.
    pub buckets: Vec<(u64, u64)>,
}

impl Snapshot {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// How many values are at most `limit`, as far as the buckets tell.
    pub fn at_most(&self, limit: u64) -> u64 {
        let below = self.buckets.iter().take_while(|(upto, _)| *upto <= limit);
        below.map(|(_, count)| count).sum()
    }

    /// The highest value of the bucket in which the value of this rank stands (0 to 1); 0 when there is none.
    pub fn quantile(&self, rank: f64) -> u64 {
        let wanted = (self.count() as f64 * rank).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (upto, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return *upto;
            }
        }
        0
    }

    /// What was counted since an earlier snapshot of the same histogram.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let before = |upto: u64| {
            let found = earlier.buckets.iter().find(|(known, _)| *known == upto);
            found.map_or(0, |(_, count)| *count)
        };
        let left = self
            .buckets
            .iter()
            .map(|(upto, count)| (*upto, count.saturating_sub(before(*upto))));
        Snapshot {
            sum: self.sum.saturating_sub(earlier.sum),
            buckets: left.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_that_names_it() {
        for value in
            (0..5000).chain((0..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
        {
            let at = bucket(value);
            assert!(value <= upto(at), "{value} is above its bucket's {}", upto(at));
            assert!(at == 0 || value > upto(at - 1), "{value} belongs further down");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_to_within_a_quarter() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value * 1000));
        let read = histogram.snapshot();
        assert_eq!((read.count(), read.sum), (1000, 500_500_000));
        for (rank, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = read.quantile(rank) as f64;
            assert!((exact..exact * 1.25).contains(&found), "{rank}: {found}");
        }
        assert_eq!(Snapshot::default().quantile(0.5), 0);
    }

    #[test]
    fn a_snapshot_less_an_earlier_one_is_what_came_between() {
        let histogram = Histogram::new();
        histogram.record_many(7, 3);
        let before = histogram.snapshot();
        histogram.record(7);
        histogram.record(100);
        let between = histogram.snapshot().since(&before);
        assert_eq!((between.count(), between.sum), (2, 107));
        assert_eq!(between.at_most(7), 1);
    }
}
