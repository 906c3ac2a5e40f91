//! Time as the engine counts it: coarse ticks of the monotonic clock.
//!
//! A tick is 16 ms, finer than any deadline needs and coarse enough for 32 bits to last two years
//! of uptime. The coarse clock costs 5 ns to read, the fine one 23.

#![allow(unsafe_code)] // getrusage(2): no safe wrapper among our dependencies

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Length of a tick in nanoseconds: 2^24, about 16.8 ms.
pub(super) const TICK_NANOS: u64 = 1 << 24;

/// A moment, in ticks since the machine started.
pub(crate) type Ticks = u32;

/// The current tick. At most 4 ms behind the fine clock.
pub(crate) fn now_ticks() -> Ticks {
    (nanos(clock_gettime(ClockId::MonotonicCoarse)) / TICK_NANOS) as Ticks
}

/// How many ticks cover `duration`, at least 1.
pub(crate) fn ticks_ceil(duration: Duration) -> Ticks {
    let ticks = duration.as_nanos().div_ceil(u128::from(TICK_NANOS));
    // The cap of a year keeps `now + ticks` from wrapping.
    ticks.clamp(1, 1 << 30) as Ticks
}

/// How long so many ticks are.
pub(crate) fn ticks_long(ticks: Ticks) -> Duration {
    Duration::from_nanos(u64::from(ticks) * TICK_NANOS)
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What the calling thread has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadUsage {
    cpu: Duration,
    voluntary_switches: i64,
}

impl ThreadUsage {
    pub(crate) fn now() -> Self {
        // SAFETY: all-zero bytes are a valid `rusage`, which holds nothing but integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call, and RUSAGE_THREAD (Linux 2.6.26) is always accepted.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let cpu = nanos(clock_gettime(ClockId::ThreadCPUTime));
        ThreadUsage { cpu: Duration::from_nanos(cpu), voluntary_switches: usage.ru_nvcsw }
    }

    /// Whether the thread has gone to sleep of its own accord since `self`.
    pub(crate) fn blocked_until(&self, later: &ThreadUsage) -> bool {
        later.voluntary_switches > self.voluntary_switches
    }

    /// CPU time used between `self` and `later`.
    pub(crate) fn cpu_until(&self, later: &ThreadUsage) -> Duration {
        later.cpu.saturating_sub(self.cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_up_to_whole_ticks() {
        assert_eq!(ticks_ceil(Duration::ZERO), 1);
        assert_eq!(ticks_ceil(Duration::from_nanos(TICK_NANOS)), 1);
        assert_eq!(ticks_ceil(Duration::from_nanos(TICK_NANOS + 1)), 2);
        assert_eq!(ticks_ceil(Duration::MAX), 1 << 30);
    }

    #[test]
    fn a_sleep_is_seen_as_a_voluntary_switch_and_little_cpu() {
        let before = ThreadUsage::now();
        std::thread::sleep(Duration::from_millis(1));
        let after = ThreadUsage::now();
        assert!(before.blocked_until(&after));
        assert!(before.cpu_until(&after) < Duration::from_millis(1));
    }
}
