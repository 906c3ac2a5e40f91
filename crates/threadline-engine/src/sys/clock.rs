//! Time as the engine counts it: coarse ticks of the monotonic clock.
//!
//! A tick is 16 ms, finer than any deadline needs and coarse enough for 32 bits to last two years of
//! the process. The coarse clock costs 5 ns to read, the fine one 23.

#![allow(unsafe_code)] // getrusage(2) and other threads' clocks: our dependencies wrap neither

use std::fs;
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
    /// How long it has waited for a core, if that was asked for and the kernel tells.
    waited: Option<Duration>,
    with_waits: bool,
}

impl ThreadUsage {
    /// About 0.5 us.
    pub(crate) fn now() -> Self {
        // SAFETY: all-zero bytes are a valid `rusage`, which holds nothing but integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call, and RUSAGE_THREAD (Linux 2.6.26) is always accepted.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let cpu = Duration::from_nanos(nanos(clock_gettime(ClockId::ThreadCPUTime)));
        let voluntary_switches = usage.ru_nvcsw;
        ThreadUsage { cpu, voluntary_switches, waited: None, with_waits: false }
    }

    /// Likewise, with the time that the thread has waited for a core: opens a file of /proc, some 4 us.
    pub(crate) fn with_waits() -> Self {
        let waited = waited_for_core("thread-self");
        ThreadUsage { waited, with_waits: true, ..ThreadUsage::now() }
    }

    /// What it has used by now, looked at as closely as `self` was.
    pub(crate) fn again(&self) -> Self {
        if self.with_waits { ThreadUsage::with_waits() } else { ThreadUsage::now() }
    }

    /// CPU time used between `self` and `later`.
    pub(crate) fn cpu_until(&self, later: &ThreadUsage) -> Duration {
        later.cpu.saturating_sub(self.cpu)
    }

    /// How long the thread has slept or waited in between, of `elapsed` in all. Where the kernel does not tell
    /// how long it has waited for a core: not at all if it has not gone to sleep, else all the time in which it
    /// did not run.
    pub(crate) fn idle_until(&self, later: &ThreadUsage, elapsed: Duration) -> Duration {
        let not_running = elapsed.saturating_sub(self.cpu_until(later));
        match (self.waited, later.waited) {
            (Some(before), Some(after)) => not_running.saturating_sub(after.saturating_sub(before)),
            _ if later.voluntary_switches > self.voluntary_switches => not_running,
            _ => Duration::ZERO,
        }
    }
}

/// What another thread of this process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherUsage {
    cpu: Duration,
    /// As far as the waits are over. Zero where the kernel does not tell.
    waited: Duration,
    voluntary_switches: Option<u64>,
    /// It runs, or waits for a core at this moment.
    pub(crate) is_runnable: bool,
}

impl OtherUsage {
    /// `None` if there is no such thread. Reads two files of /proc, some 10 us.
    pub(crate) fn of(thread: ThreadNumber) -> Option<Self> {
        let cpu = Duration::from_nanos(cpu_of(thread)?);
        let thread = format!("self/task/{}", thread.raw());
        let waited = waited_for_core(&thread).unwrap_or_default();
        // proc_pid_status(5). A name with a line feed in it is escaped.
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let is_runnable = field("State:").is_some_and(|state| state.starts_with('R'));
        let voluntary_switches =
            field("voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
        Some(OtherUsage { cpu, waited, voluntary_switches, is_runnable })
    }

    /// CPU time used between `self` and `later`.
    pub(crate) fn cpu_until(&self, later: &OtherUsage) -> Duration {
        later.cpu.saturating_sub(self.cpu)
    }

    /// How long the thread has slept or waited in between, of `elapsed` in all. If it is runnable and has gone to
    /// sleep before, its present wait for a core is included, since the kernel counts a wait at its end.
    pub(crate) fn idle_until(&self, later: &OtherUsage, elapsed: Duration) -> Duration {
        let has_slept = match (self.voluntary_switches, later.voluntary_switches) {
            (Some(before), Some(after)) => after > before,
            _ => true,
        };
        if later.is_runnable && !has_slept {
            return Duration::ZERO;
        }
        let waited = later.waited.saturating_sub(self.waited);
        elapsed.saturating_sub(self.cpu_until(later) + waited)
    }
}

/// How long a thread was runnable without a core: the second number of its `schedstat` (sched-stats.rst of the
/// kernel's documentation). `None` on a kernel without it, or without /proc.
fn waited_for_core(thread: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    let waited = stat.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(waited))
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
        let elapsed = began.elapsed();
        assert!(before.idle_until(&after, elapsed) >= slept);
        // However busy the machine: the time asleep is no CPU time.
        assert!(before.cpu_until(&after) + slept <= elapsed);
    }

    #[test]
    fn a_thread_that_computes_is_not_idle_however_busy_the_machine_is() {
        let (began, before) = (std::time::Instant::now(), ThreadUsage::with_waits());
        let own = ThreadNumber::current();
        let other = OtherUsage::of(own).expect("this one");
        let ran = Duration::from_millis(20);
        while before.cpu_until(&ThreadUsage::now()) < ran {
            std::hint::spin_loop();
        }
        let (after, elapsed) = (before.again(), began.elapsed());
        // Reading the two files may sleep in the kernel, but not for long.
        let idle = before.idle_until(&after, elapsed);
        assert!(idle < ran / 4, "idle for {idle:?} of {elapsed:?}");
        let later = OtherUsage::of(own).expect("this one");
        assert!(later.is_runnable && other.cpu_until(&later) >= ran / 2);
        let idle = other.idle_until(&later, began.elapsed());
        assert!(idle < ran / 4, "idle for {idle:?} as others see it");
    }

    #[test]
    fn a_thread_that_waits_is_seen_to_be_idle_by_others() {
        let (tell, told) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a) R (name".into()).spawn(move || {
            tell.send(ThreadNumber::current()).expect("the test listens");
            let _ = wait.recv();
        });
        let number = told.recv().expect("a number");
        let usage = || OtherUsage::of(number).expect("it lives");
        // At last: it may be on its way to sleep.
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while usage().is_runnable {
            assert!(std::time::Instant::now() < until, "it does not go to sleep");
        }
        let (began, before) = (std::time::Instant::now(), usage());
        while before.idle_until(&usage(), began.elapsed()) < Duration::from_millis(5) {
            assert!(std::time::Instant::now() < until, "it is not seen to be idle");
        }
        drop(go);
        thread.expect("a thread").join().expect("it ends");
        // The kernel numbers threads up to 4 194 304 (proc_sys_kernel(5), pid_max).
        assert!(OtherUsage::of(ThreadNumber::from_raw(5_000_000)).is_none());
    }
}
