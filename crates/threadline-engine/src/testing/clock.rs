//! A clock that a test advances.
//!
//! Advancing it fires the alarms of shards that are due, and wakes the threads that block on a connection with
//! a limit.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::settings::Settings;
use crate::sys::{Clock as EngineClock, Ticks, ring};

/// The clock of an engine under test. It only moves by [`Clock::advance`]. Clones share the time.
///
/// The deadlines of connections and of a drain use it. Waits of handlers, the monitor and the durations of
/// calls, by which routes are proved, use real time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    time: Arc<Time>,
}

#[derive(Debug)]
struct Time {
    /// The clock's origin.
    start: Instant,
    /// Nanoseconds since the origin.
    elapsed: AtomicU64,
    /// The number of threads that wait for bytes, for room or for an answer.
    resting: AtomicUsize,
    /// Counts reads, writes, wake-ups and actions of peers, so that `settle` sees activity.
    moves: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    alarms: Vec<(Weak<OwnedFd>, Ticks)>,
    sleepers: Vec<Weak<dyn Sleeper>>,
}

/// An object that threads wait on, with a limit.
pub(crate) trait Sleeper: std::fmt::Debug + Send + Sync {
    /// The time has changed: waiting threads must check their limits again.
    fn time_has_passed(&self);
}

impl Default for Time {
    fn default() -> Self {
        Time {
            start: Instant::now(),
            elapsed: AtomicU64::new(0),
            resting: AtomicUsize::new(0),
            moves: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }
}

impl Clock {
    /// A new clock, independent of all others.
    pub fn new() -> Self {
        Clock::default()
    }

    /// Advances the time and triggers the deadlines that have passed. The engine's threads handle them
    /// afterwards: wait with [`Engine::settle`](crate::Engine::settle). Call `settle` before, too, if the engine
    /// must have seen earlier input first.
    ///
    /// Some deadlines, such as that of a write, are checked several times before they pass. They need small
    /// steps: see [`Engine::pass`](crate::Engine::pass).
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.time.elapsed.fetch_add(nanos, Ordering::SeqCst);
        let now = EngineClock::Test(self.clone()).ticks();
        let mut waiting = self.time.waiting.lock();
        waiting.alarms.retain(|(alarm, due)| {
            let is_due = *due <= now;
            if let (Some(alarm), true) = (alarm.upgrade(), is_due) {
                ring(&alarm).expect("a timer that was just set");
            }
            !is_due
        });
        waiting.sleepers.retain(|sleeper| sleeper.strong_count() > 0);
        let sleepers = waiting.sleepers.clone();
        drop(waiting);
        sleepers.iter().filter_map(Weak::upgrade).for_each(|sleeper| sleeper.time_has_passed());
    }

    /// The time since the clock was created.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.time.elapsed.load(Ordering::SeqCst))
    }

    pub(crate) fn instant(&self) -> Instant {
        self.time.start + self.elapsed()
    }

    /// Sets an alarm to a time. This replaces its earlier setting.
    pub(crate) fn set_alarm(&self, alarm: &Arc<OwnedFd>, due: Ticks) {
        let mut waiting = self.time.waiting.lock();
        waiting.alarms.retain(|(other, _)| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(alarm)));
        // Compared under the lock: `advance` may have moved the time before the alarm is in the list.
        if due <= EngineClock::Test(self.clone()).ticks() {
            ring(alarm).expect("a timer");
        } else {
            waiting.alarms.push((Arc::downgrade(alarm), due));
        }
    }

    /// Notifies `sleeper` whenever the time changes, as long as it exists.
    pub(crate) fn wake_with_time(&self, sleeper: Weak<dyn Sleeper>) {
        self.time.waiting.lock().sleepers.push(sleeper);
    }

    /// `count` threads begin to wait.
    pub(crate) fn rest(&self, count: usize) {
        self.time.resting.fetch_add(count, Ordering::SeqCst);
    }

    /// `count` waiting threads are about to be woken.
    pub(crate) fn wake(&self, count: usize) {
        self.note_move();
        self.time.resting.fetch_sub(count, Ordering::SeqCst);
    }

    /// The number of waiting threads.
    pub(crate) fn resting(&self) -> usize {
        self.time.resting.load(Ordering::SeqCst)
    }

    /// Counts an action.
    pub(crate) fn note_move(&self) {
        self.time.moves.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn moves(&self) -> u64 {
        self.time.moves.load(Ordering::SeqCst)
    }
}

impl Settings {
    /// Makes the engine use a test's clock.
    pub fn with_clock(mut self, clock: &Clock) -> Self {
        self.clock = EngineClock::Test(clock.clone());
        self
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::Alarm;

    fn goes_off(alarm: &Alarm) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // The kernel fires the timer at once, but asynchronously.
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&patience)) == Ok(1)
    }

    fn is_quiet(alarm: &Alarm) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&now)) == Ok(0)
    }

    #[test]
    fn an_alarm_goes_off_when_its_time_has_come_and_once() {
        let clock = Clock::new();
        let of_engine = EngineClock::Test(clock.clone());
        let alarm = Alarm::new(of_engine.clone()).expect("a timer");
        let second = Duration::from_secs(1);
        alarm.set(of_engine.ticks() + crate::sys::ticks_ceil(second)).expect("set");
        clock.advance(second / 2);
        assert!(is_quiet(&alarm));
        clock.advance(second);
        assert!(goes_off(&alarm));
        alarm.hush();
        clock.advance(second);
        assert!(is_quiet(&alarm));
        alarm.set(of_engine.ticks()).expect("set");
        assert!(goes_off(&alarm), "a time that has passed");
    }

    #[test]
    fn an_alarm_is_set_to_one_time() {
        let clock = Clock::new();
        let of_engine = EngineClock::Test(clock.clone());
        let alarm = Alarm::new(of_engine.clone()).expect("a timer");
        alarm.set(of_engine.ticks() + 10).expect("set");
        alarm.set(of_engine.ticks() + 1000).expect("set");
        clock.advance(Duration::from_secs(1));
        assert!(is_quiet(&alarm));
    }

    #[test]
    fn the_time_of_an_engine_moves_as_said() {
        let clock = Clock::new();
        let of_engine = EngineClock::Test(clock.clone());
        let (before, ticks) = (of_engine.instant(), of_engine.ticks());
        assert_eq!((of_engine.instant(), of_engine.ticks()), (before, ticks));
        let hour = Duration::from_secs(3600);
        clock.advance(hour);
        assert_eq!(of_engine.instant() - before, hour);
        assert_eq!(of_engine.ticks() - ticks, crate::sys::ticks_ceil(hour) - 1);
        assert_eq!(clock.elapsed(), hour);
    }
}
