//! Latencies and rates, as figures.

use hdrhistogram::Histogram;
use serde::Serialize;

/// An empty histogram of microseconds: three significant digits, growing as needed.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are a valid precision")
}

/// The longest time told apart from longer ones, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Adds one measurement, in microseconds. A histogram grows to take it (its saturating record would
/// not), and memory stays in proportion to the largest.
pub fn measure(histogram: &mut Histogram<u64>, us: u64) {
    let taken = histogram.record(us.min(LONGEST_US));
    debug_assert!(taken.is_ok(), "a histogram that resizes itself takes an hour");
}

/// The sum of histograms.
pub fn merged<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut all = histogram();
    for part in parts {
        // A histogram that resizes itself takes any other one.
        let _ = all.add(part);
    }
    all
}

/// The usual points of a distribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The smallest.
    pub min_ms: f64,
    /// Half are below.
    pub p50_ms: f64,
    /// Nine in ten are below.
    pub p90_ms: f64,
    /// 99 in 100 are below.
    pub p99_ms: f64,
    /// 999 in 1000 are below.
    pub p999_ms: f64,
    /// The largest.
    pub max_ms: f64,
    /// The mean.
    pub mean_ms: f64,
}

impl Percentiles {
    /// Reads a histogram of microseconds; all zero when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            count: histogram.len(),
            min_ms: histogram.min() as f64 / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
            mean_ms: histogram.mean() / 1000.0,
        }
    }
}

/// Events by second since the run began.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Rates(Vec<u64>);

impl Rates {
    /// Counts events at a time of the run, in microseconds.
    pub fn count(&mut self, at_us: u64, events: u64) {
        let second = usize::try_from(at_us / 1_000_000)
            .unwrap_or(usize::MAX)
            .min(1_000_000);
        if self.0.len() <= second {
            self.0.resize(second + 1, 0);
        }
        self.0[second] += events;
    }

    /// Adds another lane's events.
    pub fn add(&mut self, other: &Rates) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// Second by second, from the first.
    pub fn by_second(&self) -> &[u64] {
        &self.0
    }
}

/// Events per second; zero when no time has passed.
pub fn per_second(events: u64, elapsed_us: u64) -> f64 {
    if elapsed_us == 0 {
        0.0
    } else {
        events as f64 * 1_000_000.0 / elapsed_us as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_in_milliseconds() {
        let mut one = histogram();
        let mut two = histogram();
        (1..=50).for_each(|ms| measure(&mut one, ms * 1000));
        (51..=100).for_each(|ms| measure(&mut two, ms * 1000));
        let read = Percentiles::of(&merged([&one, &two].into_iter()));
        assert_eq!(read.count, 100);
        for (figure, expected) in [
            (read.p50_ms, 50.0),
            (read.p99_ms, 99.0),
            (read.max_ms, 100.0),
            (read.min_ms, 1.0),
        ] {
            assert!(
                (figure - expected).abs() < 0.1,
                "{figure} is not about {expected}"
            );
        }
        assert_eq!(Percentiles::of(&histogram()), Percentiles::default());
    }

    #[test]
    fn rates_count_by_second_and_add_up() {
        let mut rates = Rates::default();
        for at in [0, 999_999, 1_000_000, 3_500_000] {
            rates.count(at, 2);
        }
        let mut more = Rates::default();
        more.count(1_000_000, 1);
        more.add(&rates);
        assert_eq!(more.by_second(), [4, 3, 0, 2]);
    }
}
