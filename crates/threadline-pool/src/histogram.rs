//! How long things took: counts in buckets of fixed, logarithmic size.
//!
//! The pool records into a [`Recorder`] under a lock; users get a [`Histogram`], a copy, without
//! it. Recording is a few loads and stores, whatever the value.
//!
//! Resolution: 8 buckets for each doubling, from 1 ns to 2^42 ns (73 minutes; longer times share
//! the last bucket). A quantile is the upper end of its bucket, so it is never too low and at most
//! an eighth too high.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A distribution of times.
///
/// Quantiles are at most 12.5 % too high, never too low; times beyond 73 minutes are told apart
/// only by [`max`](Histogram::max).
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().build()?;
/// for _ in 0..5 {
///     pool.submit(|| ())?;
/// }
/// assert!(pool.shutdown(Duration::from_secs(5)));
///
/// let run = pool.times().run;
/// assert_eq!(run.count(), 5);
/// assert!(run.quantile(0.5) <= run.quantile(0.99));
/// assert!(run.quantile(1.0) == Some(run.max()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    sum_ns: u64,
    max_ns: u64,
}

impl Histogram {
    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The longest, exactly. Zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The average. `None` if nothing was recorded.
    pub fn mean(&self) -> Option<Duration> {
        self.sum_ns.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// A time that a share `q` of all recorded times do not exceed: 0.5 for the median, 0.99 for
    /// the 99th percentile, 1.0 for the longest. Below 0 counts as 0, above 1 as 1. `None` if
    /// nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        // The rank of the time looked for, from 1. A NaN becomes 0 in the cast.
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        self.buckets().find_map(|(upper, count)| {
            seen += count;
            (seen >= rank).then_some(upper)
        })
    }

    /// The buckets that are not empty, shortest first: the longest time each one takes, and how
    /// many it has. For export to a monitoring system; the counts are not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(at, count)| {
            let upper = if at == LAST { self.max_ns } else { upper_end(at).min(self.max_ns) };
            (Duration::from_nanos(upper), *count)
        })
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

/// Where times are recorded: by one thread at a time, the one with the tray's lock. So no
/// read-modify-write is needed; the atomics are for those who read without the lock, and who decide
/// nothing by what they see, hence relaxed.
pub(crate) struct Recorder {
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Recorder {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }

    /// A time that counts so many times. One thread at a time.
    pub(crate) fn record(&self, ns: u64, weight: u64) {
        add(&self.counts[bucket(ns)], weight);
        add(&self.sum_ns, ns.saturating_mul(weight));
        if ns > self.max_ns.load(Relaxed) {
            self.max_ns.store(ns, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum_ns: self.sum_ns.load(Relaxed),
            max_ns: self.max_ns.load(Relaxed),
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

/// Each doubling is cut into `1 << FINE_BITS` buckets. Fewer would be coarse, and twice as many
/// would be twice the 2.5 KB of each histogram.
const FINE_BITS: u32 = 3;
const FINE: usize = 1 << FINE_BITS;
/// Times of `1 << TOP_BITS` ns and more share the last bucket.
const TOP_BITS: u32 = 42;
const BUCKETS: usize = (TOP_BITS - FINE_BITS + 1) as usize * FINE;
const LAST: usize = BUCKETS - 1;

/// The bucket of a time: its leading bit and the `FINE_BITS` after it. Times below `FINE` have a
/// bucket each.
fn bucket(ns: u64) -> usize {
    if ns >> TOP_BITS > 0 {
        return LAST;
    }
    let Some(leading) = ns.checked_ilog2().filter(|bit| *bit >= FINE_BITS) else {
        return ns as usize;
    };
    let shift = leading - FINE_BITS;
    // The leading bit itself adds one more FINE to the index.
    shift as usize * FINE + (ns >> shift) as usize
}

/// The longest time of a bucket, in ns.
fn upper_end(bucket: usize) -> u64 {
    if bucket < FINE {
        return bucket as u64;
    }
    let shift = bucket / FINE - 1;
    let first = ((FINE + bucket % FINE) as u64) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn recorded(times_ns: impl IntoIterator<Item = u64>) -> Histogram {
        let recorder = Recorder::new();
        times_ns.into_iter().for_each(|ns| recorder.record(ns, 1));
        recorder.read()
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for at in 0..LAST {
            assert_eq!(bucket(upper_end(at)), at);
            assert_eq!(bucket(upper_end(at) + 1), at + 1);
        }
        assert_eq!(upper_end(LAST), (1 << TOP_BITS) - 1);
        assert_eq!((bucket(1 << TOP_BITS), bucket(u64::MAX)), (LAST, LAST));
    }

    #[test]
    fn no_bucket_is_wider_than_an_eighth_of_its_times() {
        for at in 1..BUCKETS {
            let (lower, upper) = (upper_end(at - 1) + 1, upper_end(at));
            assert!((upper - lower) * 8 <= lower, "bucket {at}: {lower} to {upper}");
        }
    }

    #[test]
    fn quantiles_are_never_too_low_and_hardly_too_high() {
        let histogram = recorded(1..=10_000);
        for (q, exact) in [(0.0, 1), (0.5, 5_000), (0.9, 9_000), (0.99, 9_900), (1.0, 10_000)] {
            let found = histogram.quantile(q).expect("recorded").as_nanos();
            assert!(found >= exact && found <= exact + exact / 8, "{q}: {found}");
        }
        assert_eq!(histogram.quantile(2.0), Some(Duration::from_nanos(10_000)));
        assert_eq!(histogram.quantile(-1.0), histogram.quantile(0.0));
        assert_eq!(histogram.quantile(f64::NAN), histogram.quantile(0.0));
    }

    #[test]
    fn count_sum_mean_and_max_are_exact() {
        let histogram = recorded([5, 100, 1_000_000, 1 << 50]);
        assert_eq!(histogram.count(), 4);
        let sum = 1_000_105 + (1 << 50);
        assert_eq!(histogram.sum(), Duration::from_nanos(sum));
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(sum / 4)));
        assert_eq!(histogram.max(), Duration::from_nanos(1 << 50));
        assert_eq!(histogram.quantile(1.0), Some(histogram.max()));
        assert_eq!(histogram.buckets().map(|(_, count)| count).sum::<u64>(), 4);
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        let histogram = recorded([]);
        assert_eq!((histogram.count(), histogram.quantile(0.5), histogram.mean()), (0, None, None));
        assert_eq!((histogram.sum(), histogram.max()), (Duration::ZERO, Duration::ZERO));
    }
}
