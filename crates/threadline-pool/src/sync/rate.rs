//! [`RateLimiter`]: at most so many a second.
//!
//! A token bucket in the form of the generic cell rate algorithm (ITU-T I.371): instead of a count of
//! tokens that must be filled all the time there is one moment, up to which the tokens are spent.

use std::fmt;
use std::time::{Duration, Instant};

use crate::blocking::about_to_block;
use crate::primitive::{Mutex, lock};

/// Lets so many pass a second, and a burst of so many at once after a quiet time.
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
}

/// The limiter without a clock.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What one passage costs in time.
    interval: Duration,
    /// How far `spent_until` may be ahead of the present when one passes.
    slack: Duration,
    /// Up to here all time is spent.
    spent_until: Option<Instant>,
}

impl Bucket {
    /// How long until one may pass; nothing if at once.
    fn wait(&self, now: Instant) -> Duration {
        match self.spent_until {
            Some(spent) => spent.saturating_duration_since(now).saturating_sub(self.slack),
            None => Duration::ZERO,
        }
    }

    /// Lets one pass, now or when its time comes.
    fn spend(&mut self, now: Instant) {
        let from = self.spent_until.map_or(now, |spent| spent.max(now));
        // Beyond what the clock can say it is full for ever anyway.
        self.spent_until = from.checked_add(self.interval).or(Some(from));
    }
}

impl RateLimiter {
    /// So many a second, and after a quiet time `burst` at once, at least 1.
    ///
    /// # Panics
    /// If `rate` is not a positive, finite number.
    pub fn per_second(rate: f64, burst: u32) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "a rate is a positive number");
        // A year for one is as good as never, and no rate overflows.
        let interval = Duration::from_secs_f64((1.0 / rate).min(31_536_000.0));
        let slack = interval.saturating_mul(burst.max(1) - 1);
        RateLimiter { bucket: Mutex::new(Bucket { interval, slack, spent_until: None }) }
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
        lock(&self.bucket).wait(Instant::now())
    }

    /// A place in time, if it is not further off than that: how long to wait for it.
    fn reserve(&self, wait_max: Duration) -> Option<Duration> {
        let mut bucket = lock(&self.bucket);
        let now = Instant::now();
        let wait = bucket.wait(now);
        if wait > wait_max {
            return None;
        }
        bucket.spend(now);
        Some(wait)
    }
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

    const MS: Duration = Duration::from_millis(1);

    fn bucket(interval: Duration, burst: u32) -> Bucket {
        Bucket { interval, slack: interval * (burst - 1), spent_until: None }
    }

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let (mut bucket, start) = (bucket(100 * MS, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(bucket.wait(start), Duration::ZERO);
            bucket.spend(start);
        }
        assert_eq!(bucket.wait(start), 100 * MS);
        assert_eq!(bucket.wait(start + 40 * MS), 60 * MS);
        assert_eq!(bucket.wait(start + 100 * MS), Duration::ZERO);
        bucket.spend(start + 100 * MS);
        assert_eq!(bucket.wait(start + 100 * MS), 100 * MS);
    }

    #[test]
    fn quiet_time_gives_back_the_burst_and_no_more() {
        let (mut bucket, start) = (bucket(10 * MS, 2), Instant::now());
        bucket.spend(start);
        bucket.spend(start);
        let later = start + 1000 * MS;
        bucket.spend(later);
        assert_eq!(bucket.wait(later), Duration::ZERO);
        bucket.spend(later);
        assert_eq!(bucket.wait(later), 10 * MS, "two, not a hundred");
    }

    #[test]
    fn who_waits_has_a_place_of_their_own() {
        let (mut bucket, start) = (bucket(10 * MS, 1), Instant::now());
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(bucket.wait(start));
            bucket.spend(start);
        }
        assert_eq!(places, [0, 10, 20, 30].map(|wait| wait * MS));
    }

    #[test]
    #[should_panic(expected = "positive")]
    fn a_rate_of_nothing_is_a_mistake() {
        RateLimiter::per_second(0.0, 1);
    }
}
