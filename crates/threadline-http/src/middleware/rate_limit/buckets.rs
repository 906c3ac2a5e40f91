//! A bounded number of token buckets by key (generic cell rate algorithm, ITU-T I.371).
//!
//! A bucket is one number: when it will be full again. An absent one is full. The map is split, each
//! part behind a lock of its own that is held for one look-up. The clock is the caller's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    /// Nanoseconds until the next token.
    interval: u128,
    /// How many tokens there are at most; at least one.
    pub(super) burst: u32,
}

impl Quota {
    pub(super) fn new(count: u32, period: Duration) -> Self {
        let count = count.max(1);
        Quota { interval: period.as_nanos() / u128::from(count), burst: count }
    }
}

/// A quota in ticks. A tick is a nanosecond, unless a whole bucket takes more than 146 years to fill:
/// then it is a power of two of them, so that no sum of times overflows 64 bits.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Until the next token.
    interval: u64,
    /// Until an empty bucket is full.
    whole: u64,
    burst: u32,
    /// A tick is two to the power of this, in nanoseconds.
    shift: u32,
}

impl Pace {
    fn new(quota: Quota) -> Self {
        // At most 2^94 times 2^32.
        let whole = quota.interval * u128::from(quota.burst);
        let bits = u128::BITS - whole.leading_zeros();
        let shift = bits.saturating_sub(62);
        let interval = (quota.interval >> shift) as u64;
        // Not of `whole`: `burst` tokens fit in to the tick.
        Pace { interval, whole: interval * u64::from(quota.burst), burst: quota.burst, shift }
    }

    /// What the clock says, in ticks. 584 years at most.
    fn ticks(self, time: Duration) -> u64 {
        u64::try_from(time.as_nanos() >> self.shift).unwrap_or(u64::MAX)
    }

    fn duration(self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) << self.shift;
        let rest = (nanos % 1_000_000_000) as u32;
        let secs = u64::try_from(nanos / 1_000_000_000);
        secs.map_or(Duration::MAX, |secs| Duration::new(secs, rest))
    }
}

/// What a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken { remaining: u64, full_in: Duration },
    Refused { retry_in: Duration, full_in: Duration },
}

/// All buckets.
pub(super) struct Buckets {
    pace: Pace,
    parts: Vec<Mutex<Part>>,
    keys_max_per_part: usize,
}

/// The number of locks. Cores would wait for each other at a single one.
const PARTS: usize = 16;

#[derive(Default)]
struct Part {
    /// By the key's hash, when its bucket is full, in ticks since the epoch.
    full_at: HashMap<u64, u64>,
    /// The bucket of all keys that have none of their own for want of room.
    common: u64,
    /// No bucket can be forgotten before: looking for one would be a waste.
    sweep_at: u64,
}

impl Buckets {
    pub(super) fn new(quota: Quota, keys_max: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Buckets { pace: Pace::new(quota), parts, keys_max_per_part: keys_max.div_ceil(PARTS) }
    }

    /// Takes a token of a key, at a time since the epoch.
    pub(super) fn take(&self, key: u64, now: Duration) -> Verdict {
        let now = self.pace.ticks(now);
        // The low bits: the map inside looks at others first.
        let mut part = self.part(key as usize % PARTS);
        let full_at = part.bucket(key, now, self.keys_max_per_part);
        let (verdict, after) = decide(self.pace, (*full_at).max(now) - now);
        *full_at = now.saturating_add(after);
        verdict
    }

    fn part(&self, index: usize) -> MutexGuard<'_, Part> {
        // Nothing in there panics half-way.
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a token of a bucket that is full in `missing` ticks, and says how many are missing then.
fn decide(pace: Pace, missing: u64) -> (Verdict, u64) {
    let taken = missing.saturating_add(pace.interval);
    match taken.checked_sub(pace.whole) {
        None | Some(0) => {
            let left = pace.whole - taken;
            let remaining = left.checked_div(pace.interval).unwrap_or(u64::from(pace.burst));
            (Verdict::Taken { remaining, full_in: pace.duration(taken) }, taken)
        }
        Some(short) => {
            let (retry_in, full_in) = (pace.duration(short), pace.duration(missing));
            (Verdict::Refused { retry_in, full_in }, missing)
        }
    }
}

impl Part {
    /// The bucket of a key; the common one if there is no room for another.
    fn bucket(&mut self, key: u64, now: u64, keys_max: usize) -> &mut u64 {
        let is_known = self.full_at.contains_key(&key);
        if !is_known && self.full_at.len() >= keys_max && now >= self.sweep_at {
            self.sweep(now);
        }
        if is_known || self.full_at.len() < keys_max {
            return self.full_at.entry(key).or_insert(now);
        }
        &mut self.common
    }

    /// Forgets all buckets that are full: an absent one is full, too.
    fn sweep(&mut self, now: u64) {
        self.full_at.retain(|_, full_at| *full_at > now);
        self.sweep_at = self.full_at.values().copied().min().unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn is_taken(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Taken { .. })
    }

    #[test]
    fn a_bucket_empties_and_fills_evenly() {
        let buckets = Buckets::new(Quota::new(3, 3 * SECOND), 100);
        for remaining in [2, 1, 0] {
            let full_in = SECOND * (3 - remaining as u32);
            assert_eq!(buckets.take(1, SECOND), Verdict::Taken { remaining, full_in });
        }
        let refused = Verdict::Refused { retry_in: SECOND, full_in: 3 * SECOND };
        assert_eq!(buckets.take(1, SECOND), refused);
        // What is refused takes nothing.
        let almost = SECOND + SECOND - Duration::from_nanos(1);
        assert!(!is_taken(buckets.take(1, almost)));
        assert!(is_taken(buckets.take(1, 2 * SECOND)));
        assert!(!is_taken(buckets.take(1, 2 * SECOND)));
        // However long it is quiet, no more than a whole bucket.
        let late = 1000 * SECOND;
        assert_eq!((0..5).filter(|_| is_taken(buckets.take(1, late))).count(), 3);
    }

    #[test]
    fn keys_do_not_share_a_bucket() {
        let buckets = Buckets::new(Quota::new(1, SECOND), 100);
        assert!(is_taken(buckets.take(1, SECOND)));
        assert!(is_taken(buckets.take(17, SECOND)));
        assert!(!is_taken(buckets.take(1, SECOND)));
    }

    /// Keys of one part.
    fn key(number: u64) -> u64 {
        number * PARTS as u64
    }

    #[test]
    fn keys_without_a_place_share_one_bucket_and_harm_no_other() {
        let buckets = Buckets::new(Quota::new(1, SECOND), 2 * PARTS);
        assert!(is_taken(buckets.take(key(1), SECOND)));
        assert!(is_taken(buckets.take(key(2), SECOND)));
        let new = (3..1000).filter(|number| is_taken(buckets.take(key(*number), SECOND)));
        assert_eq!(new.count(), 1);
        assert_eq!(buckets.part(0).full_at.len(), 2);
        // The known ones still have their own, empty as they left them.
        assert!(!is_taken(buckets.take(key(1), SECOND)));
        assert!(is_taken(buckets.take(key(1), 2 * SECOND)));
    }

    #[test]
    fn quiet_keys_make_place_for_new_ones() {
        let buckets = Buckets::new(Quota::new(1, SECOND), 2 * PARTS);
        buckets.take(key(1), SECOND);
        buckets.take(key(2), SECOND + SECOND / 2);
        let later = 2 * SECOND;
        assert!(is_taken(buckets.take(key(3), later)));
        let part = buckets.part(0);
        let mut known: Vec<_> = part.full_at.keys().copied().collect();
        known.sort_unstable();
        assert_eq!(known, [key(2), key(3)]);
    }

    /// A bucket that takes more than 584 years to fill, which is what 64 bits of nanoseconds hold.
    #[test]
    fn low_rates_with_large_bursts_are_kept() {
        const YEAR: Duration = Duration::from_secs(31_536_000);
        for period in [YEAR / 10, YEAR, 1000 * YEAR, Duration::MAX] {
            let quota = Quota { burst: 1000, ..Quota::new(1, period) };
            let buckets = Buckets::new(quota, 10);
            let taken = (0..2000).filter(|_| is_taken(buckets.take(1, SECOND))).count();
            assert_eq!(taken, 1000, "{period:?}");
            let Verdict::Refused { retry_in, full_in } = buckets.take(1, SECOND) else {
                panic!("the bucket is empty");
            };
            // To a thousandth of a millionth.
            let ratio = retry_in.as_secs_f64() / period.as_secs_f64();
            assert!((ratio - 1.0).abs() < 1e-9, "{retry_in:?} for {period:?}");
            assert!(full_in >= retry_in, "{full_in:?}");
        }
        let buckets = Buckets::new(Quota { burst: 1000, ..Quota::new(1, YEAR) }, 10);
        (0..1000).for_each(|_| assert!(is_taken(buckets.take(1, SECOND))));
        assert!(!is_taken(buckets.take(1, YEAR)));
        assert!(is_taken(buckets.take(1, YEAR + 2 * SECOND)));
        assert!(!is_taken(buckets.take(1, YEAR + 2 * SECOND)));
    }

    #[test]
    fn odd_quotas_neither_panic_nor_overflow() {
        for quota in [
            Quota::new(0, SECOND),
            Quota::new(u32::MAX, Duration::ZERO),
            Quota::new(1, Duration::MAX),
            Quota { interval: Duration::MAX.as_nanos(), burst: u32::MAX },
        ] {
            let buckets = Buckets::new(quota, 0);
            assert!(is_taken(buckets.take(1, SECOND)), "{quota:?}");
            buckets.take(1, Duration::MAX);
            buckets.take(1, SECOND);
        }
        let unlimited = Buckets::new(Quota::new(1, Duration::ZERO), 10);
        assert!((0..100).all(|_| is_taken(unlimited.take(1, SECOND))));
    }
}
