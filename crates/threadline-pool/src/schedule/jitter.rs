//! Random delays, so that jobs of many processes do not all start in the same instant.
//!
//! `SplitMix64` (Steele, Lea & Flood, OOPSLA 2014): five lines, and good enough to spread load. It
//! must never be used for secrets.

use std::time::Duration;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// From zero up to `max`, evenly: the upper half of a product (Lemire, TOMACS 2019), without the
    /// loop that would take away its bias, which is below one in 2^64 for each nanosecond.
    pub(super) fn up_to(&mut self, max: Duration) -> Duration {
        if max.is_zero() {
            return Duration::ZERO;
        }
        let Ok(nanos) = u64::try_from(max.as_nanos()) else {
            // More than 584 years: any share of what 64 bits hold will do.
            return Duration::from_nanos(self.next());
        };
        let drawn = (u128::from(self.next()) * (u128::from(nanos) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_the_bound_and_reach_both_halves() {
        let mut random = Random::new(1);
        let max = Duration::from_secs(10);
        let draws: Vec<_> = (0..1000).map(|_| random.up_to(max)).collect();
        assert!(draws.iter().all(|&draw| draw <= max));
        let low = draws.iter().filter(|&&draw| draw < max / 2).count();
        assert!((400..600).contains(&low), "{low} of 1000 in the lower half");
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
        let ones = (0..100).map(|_| random.up_to(Duration::from_nanos(1)).as_nanos()).sum::<u128>();
        assert!((20..80).contains(&ones), "{ones} of 100 at the bound of 1 ns");
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first outputs of the reference implementation for seed 0.
        let mut random = Random::new(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
    }
}
