//! Durations as a Prometheus summary.

use std::time::Duration;

use super::Tally;

/// The quantiles that configurable-http-proxy reports.
pub(crate) const QUANTILES: [f64; 7] = [0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999];

/// Buckets per power of two: the reported quantiles are off by an eighth at most.
const FINE: usize = 4;
const FINE_BITS: u32 = 2;
/// Up to 2^40 ns, some 18 minutes.
const BUCKETS: usize = 40 * FINE;

/// Durations counted in buckets that grow with the value. One thread observes.
#[derive(Debug)]
pub(crate) struct Summary {
    nanos: Tally,
    buckets: Box<[Tally]>,
}

impl Default for Summary {
    fn default() -> Self {
        Self { nanos: Tally::default(), buckets: (0..BUCKETS).map(|_| Tally::default()).collect() }
    }
}

/// A sum of summaries at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    nanos: u64,
    buckets: Vec<u64>,
}

/// Index of the bucket for a value: its power of two, then the next two bits.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1 << FINE_BITS);
    let power = nanos.ilog2();
    let fine = usize::try_from((nanos >> (power - FINE_BITS)) & (FINE as u64 - 1)).unwrap_or_default();
    ((power - FINE_BITS) as usize * FINE + fine).min(BUCKETS - 1)
}

/// The middle of a bucket in nanoseconds.
fn middle(index: usize) -> u64 {
    let power = u32::try_from(index / FINE).unwrap_or_default();
    let step = 1u64 << power;
    (FINE + index % FINE) as u64 * step + step / 2
}

impl Summary {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.add(nanos);
        if let Some(count) = self.buckets.get(bucket(nanos)) {
            count.inc();
        }
    }

    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        snapshot.nanos += self.nanos.get();
        snapshot.buckets.resize(BUCKETS, 0);
        for (sum, count) in snapshot.buckets.iter_mut().zip(&self.buckets) {
            *sum += count.get();
        }
    }
}

impl Snapshot {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all durations in seconds.
    pub(crate) fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// How many durations were at most `seconds`, to the precision of the buckets.
    pub(crate) fn count_below(&self, seconds: f64) -> u64 {
        let inside = |index: usize| Duration::from_nanos(middle(index)).as_secs_f64() <= seconds;
        self.buckets.iter().enumerate().take_while(|(index, _)| inside(*index)).map(|(_, count)| count).sum()
    }

    /// The duration in seconds below which the given share of all lies; 0 when there is none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let total = self.count();
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            below += count;
            if total > 0 && ratio(below, total) >= share {
                return Duration::from_nanos(middle(index)).as_secs_f64();
            }
        }
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        let summary = Summary::default();
        for micros in 1..=1000 {
            summary.observe(Duration::from_micros(micros));
        }
        let mut all = Snapshot::default();
        summary.add_to(&mut all);
        summary.add_to(&mut all);
        assert_eq!(all.count(), 2000);
        assert!((all.sum() - 1.001).abs() < 1e-9);
        for share in QUANTILES {
            let (expected, found) = (share * 1e-3, all.quantile(share));
            assert!((found / expected - 1.0).abs() <= 0.13, "{share}: {found} instead of {expected}");
        }
        let below = all.count_below(500e-6);
        assert!((870..=1130).contains(&below), "{below} instead of 1000");
        assert_eq!((all.count_below(1e-9), all.count_below(1.0)), (0, 2000));
    }

    #[test]
    fn extreme_durations_stay_in_range() {
        let summary = Summary::default();
        summary.observe(Duration::ZERO);
        summary.observe(Duration::MAX);
        let mut all = Snapshot::default();
        summary.add_to(&mut all);
        assert_eq!(all.count(), 2);
        assert!(all.quantile(0.01) < 1e-8);
    }
}
