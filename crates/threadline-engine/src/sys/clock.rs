//! Time as the engine counts it: coarse ticks of the monotonic clock.
//!
//! A tick is 16 ms, finer than any deadline needs and coarse enough for 32 bits to last two years of
//! the process. The coarse clock costs 5 ns to read, the fine one 23.

#![allow(unsafe_code)] // getrusage(2) and other threads' clocks: our dependencies wrap neither

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Length of a tick in nanoseconds: 2^24, about 16.8 ms.
const TICK_NANOS: u64 = 1 << 24;

/// The first tick that is ever read: some 18 minutes, so that nobody has to mind that there was no time
/// before it.
const FIRST_TICK: u64 = 1 << 16;

/// A moment, in ticks, of which the process has read [`FIRST_TICK`] first.
pub(crate) type Ticks = u32;

/// An engine's source of time. Without the feature `testing` it has one variant and no size.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    /// The clock of a test.
    #[cfg(feature = "testing")]
    Test(crate::testing::Clock),
}

impl Clock {
    /// The current tick. At most 4 ms behind [`Clock::instant`].
    #[inline]
    pub(crate) fn ticks(&self) -> Ticks {
        match self {
            Clock::System => now_ticks(),
            #[cfg(feature = "testing")]
            Clock::Test(clock) => ticks_after(clock.elapsed()),
        }
    }

    /// The current time, where ticks are too coarse.
    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Clock::System => Instant::now(),
            #[cfg(feature = "testing")]
            Clock::Test(clock) => clock.instant(),
        }
    }
}

/// The number of threads that wait under one lock, for [`Engine::settle`](crate::Engine). Waiting threads
/// increment it, and a thread that wakes them resets it. Without the feature `testing` it has no size and does
/// nothing.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    #[cfg(feature = "testing")]
    count: usize,
}

impl Resting {
    /// The calling thread is about to wait.
    #[inline]
    pub(crate) fn begin(&mut self, clock: &Clock) {
        #[cfg(feature = "testing")]
        if let Clock::Test(clock) = clock {
            self.count += 1;
            clock.rest(1);
        }
        let _ = clock;
    }

    /// The calling thread is about to wake all of them. Must come before the wake-up: otherwise they would
    /// still count as waiting.
    #[inline]
    pub(crate) fn end(&mut self, clock: &Clock) {
        #[cfg(feature = "testing")]
        if let Clock::Test(clock) = clock {
            clock.wake(std::mem::take(&mut self.count));
        }
        let _ = clock;
    }
}

/// The tick of a clock after `elapsed`.
#[cfg(feature = "testing")]
fn ticks_after(elapsed: Duration) -> Ticks {
    (FIRST_TICK + elapsed.as_nanos() as u64 / TICK_NANOS) as Ticks
}

/// The current tick of the system's clock.
fn now_ticks() -> Ticks {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    (nanos(now).wrapping_sub(origin()) / TICK_NANOS) as Ticks
}

/// When a tick begins, in nanoseconds of the monotonic clock.
pub(super) fn nanos_at(tick: Ticks) -> u64 {
    origin().wrapping_add(u64::from(tick) * TICK_NANOS)
}

/// Where tick 0 is on the monotonic clock. It wraps: the machine may have started later.
fn origin() -> u64 {
    static ORIGIN: OnceLock<u64> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        nanos(clock_gettime(ClockId::MonotonicCoarse)).wrapping_sub(FIRST_TICK * TICK_NANOS)
    })
}

/// How many ticks cover `duration`, at least 1.
pub(crate) fn ticks_ceil(duration: Duration) -> Ticks {
    let ticks = duration.as_nanos().div_ceil(u128::from(TICK_NANOS));
    // The cap of a year keeps `now + ticks` from wrapping.
    ticks.clamp(1, 1 << 30) as Ticks
}

/// How long it has been since a tick: no longer than it really has, because the tick may have been nearly over
/// when it was read. No deadline comes early.
pub(crate) fn spent_since(began: Ticks, now: Ticks) -> Duration {
    ticks_long(now.saturating_sub(began).saturating_sub(1))
}

/// After how many ticks `duration` has passed, wherever in the present tick it begins.
pub(crate) fn ticks_to_pass(duration: Duration) -> Ticks {
    ticks_ceil(duration) + 1
}

/// How long so many ticks are.
pub(crate) fn ticks_long(ticks: Ticks) -> Duration {
    Duration::from_nanos(u64::from(ticks) * TICK_NANOS)
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The calling thread, as others can name it to [`cpu_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadNumber(u32);

impl ThreadNumber {
    pub(crate) fn current() -> Self {
        ThreadNumber(rustix::thread::gettid().as_raw_nonzero().get() as u32)
    }

    pub(crate) fn from_raw(raw: u32) -> Self {
        ThreadNumber(raw)
    }

    pub(crate) fn raw(self) -> u32 {
        self.0
    }
}

/// CPU time that a thread of this process has used: it stands still exactly while the thread is on no
/// core. About 0.3 us. `None` if there is no such thread.
pub(crate) fn cpu_of(thread: ThreadNumber) -> Option<u64> {
    // The kernel's encoding of a thread's clock, as pthread_getcpuclockid(3) makes it:
    // CPUCLOCK_PERTHREAD_MASK (4) and CPUCLOCK_SCHED (2) below the inverted number.
    let clock = (!(thread.0 as libc::clockid_t) << 3) | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; a clock that does not exist is answered by EINVAL.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => None,
    }
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
    fn ticks_go_with_the_monotonic_clock() {
        let before = nanos(clock_gettime(ClockId::MonotonicCoarse));
        let tick = now_ticks();
        let after = nanos(clock_gettime(ClockId::MonotonicCoarse));
        assert!(u64::from(tick) >= FIRST_TICK);
        assert!(nanos_at(tick) <= after && nanos_at(tick + 1) > before);
    }

    #[test]
    fn durations_round_up_to_whole_ticks() {
        assert_eq!(ticks_ceil(Duration::ZERO), 1);
        assert_eq!(ticks_ceil(Duration::from_nanos(TICK_NANOS)), 1);
        assert_eq!(ticks_ceil(Duration::from_nanos(TICK_NANOS + 1)), 2);
        assert_eq!(ticks_ceil(Duration::MAX), 1 << 30);
    }

    #[test]
    fn another_threads_clock_stands_still_while_it_waits() {
        let (tell, told) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(ThreadNumber::current()).expect("the test listens");
            let _ = wait.recv();
        });
        let number = told.recv().expect("a number");
        let stands_still = || {
            let before = cpu_of(number).expect("it lives");
            std::thread::yield_now();
            before == cpu_of(number).expect("it lives")
        };
        // At last: before it sleeps it looks a few times more.
        assert!((0..10_000).any(|_| (0..100).all(|_| stands_still())));
        drop(go);
        thread.join().expect("thread");
        let own = ThreadNumber::current();
        let before = cpu_of(own).expect("this one");
        assert!(cpu_of(own).expect("this one") > before, "a running thread's clock runs");
    }

    #[test]
    fn a_sleep_is_seen_as_a_voluntary_switch_and_little_cpu() {
        let slept = Duration::from_millis(1);
        let began = std::time::Instant::now();
        let before = ThreadUsage::now();
        std::thread::sleep(slept);
        let after = ThreadUsage::now();
        assert!(before.blocked_until(&after));
        // However busy the machine: the time asleep is no CPU time.
        assert!(before.cpu_until(&after) + slept <= began.elapsed());
    }
}
