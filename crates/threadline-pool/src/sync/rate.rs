//! [`RateLimiter`]: limits how often something happens.
//!
//! A token bucket in the form of the generic cell rate algorithm (ITU-T I.371): instead of a count of
//! tokens that must be filled all the time there is one moment, up to which the tokens are spent.

use std::fmt;
use std::time::{Duration, Instant};

use crate::blocking::about_to_block;
use crate::primitive::{Mutex, lock};

/// Lets a number of calls pass each second, and a burst of them at once after a quiet time.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::sync::RateLimiter;
///
/// let limiter = RateLimiter::per_second(5.0, 2);
/// assert!(limiter.try_acquire() && limiter.try_acquire(), "the burst");
/// assert!(!limiter.try_acquire());
/// assert!(limiter.acquire_timeout(Duration::from_secs(1)), "waits 200 ms");
/// ```
pub struct RateLimiter {
    bucket: Mutex<Bucket>,
    /// What the bucket's time counts from.
    epoch: Instant,
}

/// The limiter without a clock. Its times are in ticks: an interval in nanoseconds would be off by a
/// part in ten at 100 million a second. 128 bits of them hold the lowest rate with the largest burst.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What one passage costs in time.
    interval: u128,
    /// How far `spent_until` may be ahead of the present when one passes.
    slack: u128,
    /// Up to here all time is spent.
    spent_until: u128,
}

const TICKS_PER_SECOND: f64 = 1e12;
const TICKS_PER_NANO: u128 = 1_000;

/// One in 300 million years. The interval of lower rates, times the burst, may be beyond what a bucket
/// counts.
const RATE_MIN: f64 = 1e-16;

impl Bucket {
    fn new(rate: f64, burst: u32) -> Self {
        // At most 10^28, times 2^32: no overflow.
        let interval = (TICKS_PER_SECOND / rate).round() as u128;
        Bucket { interval, slack: interval * u128::from(burst.max(1) - 1), spent_until: 0 }
    }

    /// How long until one may pass; nothing if at once.
    fn wait(&self, now: u128) -> u128 {
        self.spent_until.saturating_sub(now).saturating_sub(self.slack)
    }

    /// Lets one pass, now or when its time comes.
    fn spend(&mut self, now: u128) {
        self.spent_until = self.spent_until.max(now).saturating_add(self.interval);
    }
}

impl RateLimiter {
    /// Lets `rate` calls pass each second, and after a quiet time `burst` at once, at least 1.
    ///
    /// Rates are kept to a millionth up to 10^6 a second, and to a thousandth up to 10^9. Well beyond
    /// what the clock can tell apart, from 2 * 10^12 on, there is no limit.
    ///
    /// # Panics
    /// If `rate` is not a finite number of at least 10^-16, which is one in 300 million years.
    pub fn per_second(rate: f64, burst: u32) -> Self {
        assert!(
            rate.is_finite() && rate >= RATE_MIN,
            "a rate is a positive, finite number of passages a second, at least 1e-16: not {rate:e}"
        );
        RateLimiter { bucket: Mutex::new(Bucket::new(rate, burst)), epoch: Instant::now() }
    }

    /// Passes if that is possible now.
    pub fn try_acquire(&self) -> bool {
        self.reserve(Duration::ZERO).is_some()
    }

    /// Waits until it may pass. Those who wait pass in the order in which they came.
    pub fn acquire(&self) {
        if let Some(wait) = self.reserve(Duration::MAX) {
            sleep(wait);
        }
    }

    /// Waits until it may pass, if that is within `timeout`; otherwise it does not wait at all. True
    /// if it has passed.
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        match self.reserve(timeout) {
            Some(wait) => {
                sleep(wait);
                true
            }
            None => false,
        }
    }

    /// How long one that came now would have to wait.
    pub fn wait(&self) -> Duration {
        let bucket = lock(&self.bucket);
        duration(bucket.wait(self.now()))
    }

    fn now(&self) -> u128 {
        self.epoch.elapsed().as_nanos() * TICKS_PER_NANO
    }

    /// A place in time, if it is not further off than that: how long to wait for it.
    fn reserve(&self, wait_max: Duration) -> Option<Duration> {
        let mut bucket = lock(&self.bucket);
        let now = self.now();
        let wait = duration(bucket.wait(now));
        if wait > wait_max {
            return None;
        }
        bucket.spend(now);
        Some(wait)
    }
}

/// Rounded up: no call passes early.
fn duration(ticks: u128) -> Duration {
    const NANOS_PER_SECOND: u128 = 1_000_000_000;
    let nanos = ticks.div_ceil(TICKS_PER_NANO);
    let rest = (nanos % NANOS_PER_SECOND) as u32;
    u64::try_from(nanos / NANOS_PER_SECOND).map_or(Duration::MAX, |secs| Duration::new(secs, rest))
}

fn sleep(wait: Duration) {
    if !wait.is_zero() {
        about_to_block();
        std::thread::sleep(wait);
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("wait", &self.wait()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A millisecond in ticks.
    const MS: u128 = 1_000_000 * TICKS_PER_NANO;
    const SECOND: u128 = 1000 * MS;
    const YEAR: u128 = 31_536_000 * SECOND;

    /// How many pass at this moment.
    fn pass(bucket: &mut Bucket, now: u128, tries: usize) -> usize {
        let may_pass = |_: &usize| {
            let passes = bucket.wait(now) == 0;
            passes.then(|| bucket.spend(now)).is_some()
        };
        (0..tries).filter(may_pass).count()
    }

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let mut bucket = Bucket::new(10.0, 3);
        assert_eq!(pass(&mut bucket, 0, 5), 3);
        assert_eq!(bucket.wait(0), 100 * MS);
        assert_eq!(bucket.wait(40 * MS), 60 * MS);
        assert_eq!(pass(&mut bucket, 100 * MS, 5), 1);
        assert_eq!(bucket.wait(100 * MS), 100 * MS);
    }

    #[test]
    fn quiet_time_gives_back_the_burst_and_no_more() {
        let mut bucket = Bucket::new(100.0, 2);
        assert_eq!(pass(&mut bucket, 0, 5), 2);
        assert_eq!(pass(&mut bucket, 1000 * MS, 5), 2, "two, not a hundred");
        assert_eq!(bucket.wait(1000 * MS), 10 * MS);
    }

    #[test]
    fn a_burst_of_nothing_is_one_of_one() {
        let mut bucket = Bucket::new(100.0, 0);
        assert_eq!(pass(&mut bucket, 0, 5), 1);
        assert_eq!(bucket.wait(0), 10 * MS);
    }

    #[test]
    fn who_waits_has_a_place_of_their_own() {
        let mut bucket = Bucket::new(100.0, 1);
        let places = [0; 4].map(|_| {
            let place = bucket.wait(0);
            bucket.spend(0);
            place
        });
        assert_eq!(places, [0, 10, 20, 30].map(|wait| wait * MS));
    }

    #[test]
    fn rates_below_one_a_year_are_kept() {
        // One in a hundred years; the burst at once.
        for (rate, years) in [(1.0, 1), (0.01, 100), (0.000_001, 1_000_000)] {
            let mut bucket = Bucket::new(rate / 31_536_000.0, 2);
            assert_eq!(pass(&mut bucket, 0, 5), 2);
            // To a part in 2^50 of it, as f64 has the rate.
            let wait = bucket.wait(0);
            assert!(
                wait.abs_diff(years * YEAR) <= (years * YEAR) >> 50,
                "{wait} for {years} years"
            );
            assert_eq!(pass(&mut bucket, wait - 1, 5), 0);
            assert_eq!(pass(&mut bucket, wait, 5), 1);
        }
    }

    #[test]
    fn the_lowest_rate_with_the_largest_burst_is_counted() {
        let mut bucket = Bucket::new(RATE_MIN, u32::MAX);
        let interval = bucket.interval;
        assert!(interval.abs_diff(10_u128.pow(28)) < 10_u128.pow(13), "{interval}");
        assert_eq!(bucket.slack, interval * u128::from(u32::MAX - 1));
        // All but two of the burst.
        bucket.spent_until = interval * u128::from(u32::MAX - 2);
        assert_eq!(pass(&mut bucket, 0, 5), 2);
        assert_eq!(bucket.wait(0), interval);
        // Full to the end of time: it stays so, instead of beginning again.
        bucket.spent_until = u128::MAX - 1;
        bucket.spend(0);
        assert_eq!(bucket.spent_until, u128::MAX);
    }

    #[test]
    fn high_rates_are_kept_as_well() {
        let interval = |rate| Bucket::new(rate, 1).interval;
        // Nanoseconds would make 3 of it: 333 million a second.
        assert_eq!(interval(3e8), 3333);
        assert_eq!(interval(1e9), 1000);
        assert_eq!(interval(1e12), 1);
        for unlimited in [1e13, f64::MAX] {
            let mut bucket = Bucket::new(unlimited, 1);
            assert_eq!(pass(&mut bucket, 0, 5), 5);
        }
    }

    #[test]
    fn ticks_become_durations_that_are_not_shorter() {
        assert_eq!(duration(0), Duration::ZERO);
        assert_eq!(duration(1), Duration::from_nanos(1));
        assert_eq!(duration(TICKS_PER_NANO), Duration::from_nanos(1));
        assert_eq!(duration(3 * SECOND + 5 * MS), Duration::from_millis(3005));
        assert_eq!(duration(u128::MAX), Duration::MAX);
    }

    #[test]
    fn by_the_real_clock() {
        let limiter = RateLimiter::per_second(1.0 / 63_072_000.0, 1);
        assert_eq!(limiter.wait(), Duration::ZERO);
        assert!(limiter.try_acquire());
        assert!(!limiter.try_acquire());
        assert!(!limiter.acquire_timeout(Duration::from_secs(31_536_000)), "two years, not one");
        let wait = limiter.wait().as_secs_f64() / 63_072_000.0;
        assert!((0.99..=1.0).contains(&wait), "{wait} of two years");
        assert!(format!("{limiter:?}").starts_with("RateLimiter { wait: "), "{limiter:?}");
        // It goes on as time passes.
        let limiter = RateLimiter::per_second(10.0, 1);
        let began = Instant::now();
        assert!(limiter.try_acquire());
        while !limiter.try_acquire() {
            assert!(began.elapsed() < Duration::from_secs(20), "a tenth of a second passed");
            std::thread::yield_now();
        }
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        // It waits.
        let limiter = RateLimiter::per_second(1000.0, 1);
        let began = Instant::now();
        (0..6).for_each(|_| limiter.acquire());
        assert!(limiter.acquire_timeout(Duration::MAX));
        assert!(began.elapsed() >= Duration::from_millis(6), "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_no_rate_is_refused_with_what_is_expected() {
        for rate in [0.0, -1.0, 1e-17, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = std::panic::catch_unwind(|| RateLimiter::per_second(rate, 1));
            let message = refused.map(|_| ()).expect_err("no rate");
            let message = message.downcast_ref::<String>().expect("a message");
            assert!(message.contains("positive") && message.contains("1e-16"), "{message}");
        }
    }
}
