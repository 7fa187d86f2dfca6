//! How long things took: counts in fixed buckets.

use redlink_core::Duration;

/// Upper bounds of the buckets, in microseconds: from a commit on a good disk to half an hour. What is longer is in one
/// bucket more.
pub const BOUNDS: [u64; 18] = [
    250,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
];

/// Durations, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: u64,
}

impl Histogram {
    pub(super) fn from_counts(counts: [u64; BOUNDS.len() + 1], sum: u64) -> Self {
        Self { counts, sum }
    }

    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        self.add_micros(duration.as_micros());
    }

    /// Counts one of so many microseconds.
    pub fn add_micros(&mut self, micros: u64) {
        let at = BOUNDS.partition_point(|&bound| bound < micros);
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(micros);
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.sum as f64 / 1e6
    }

    /// Each bucket's upper bound in seconds, the last one's infinite, and how many are in it alone.
    pub fn buckets(&self) -> [(f64, u64); BOUNDS.len() + 1] {
        std::array::from_fn(|at| {
            let bound = BOUNDS
                .get(at)
                .map_or(f64::INFINITY, |&micros| micros as f64 / 1e6);
            (bound, self.counts[at])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_not_below_it() {
        let mut histogram = Histogram::default();
        for micros in [0, 250, 251, 1_800_000_000, 1_800_000_001, u64::MAX] {
            histogram.add_micros(micros);
        }
        let counts = histogram.buckets().map(|(_, count)| count);
        assert_eq!((counts[0], counts[1], counts[17], counts[18]), (2, 1, 1, 2));
        assert_eq!(histogram.count(), 6);
        assert!(BOUNDS.is_sorted());
        let mut twice = histogram;
        twice.merge(&histogram);
        assert_eq!(twice.count(), 12);
        assert_eq!(twice.seconds(), u64::MAX as f64 / 1e6, "the sum stays at its end");
    }
}
