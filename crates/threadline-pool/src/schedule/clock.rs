//! The clocks a scheduler reads: the system's, or one that a test moves by hand.
//!
//! Read by the scheduler's thread, and by whoever changes or ends a job. Nothing here sleeps: the
//! driver does that, and is called by an [`Alarm`] when a clock is moved under it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::driver::Shared;
use crate::primitive::{Mutex, lock};

/// Where a scheduler has the time from. Meant to be [`SystemClock`], or [`ManualClock`] in tests.
///
/// Read on the scheduler's thread and on those that run, add and change jobs, without a lock. If a
/// reading panics, the one before stands; the panic is counted
/// ([`Scheduler::panics_contained`](super::Scheduler::panics_contained)).
///
/// ```
/// use std::time::{Duration, Instant, SystemTime};
/// use threadline_pool::schedule::Clock;
///
/// /// A wall clock known to be ten seconds slow.
/// struct Corrected;
///
/// impl Clock for Corrected {
///     fn monotonic(&self) -> Instant {
///         Instant::now()
///     }
///     fn wall(&self) -> SystemTime {
///         SystemTime::now() + Duration::from_secs(10)
///     }
/// }
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time that only goes forward, at an even pace. Delays and periods are measured in it.
    fn monotonic(&self) -> Instant;

    /// The time of day, which people and time servers may set. Calendars go by it.
    fn wall(&self) -> SystemTime;

    /// Takes the alarm of a scheduler that begins to use this clock. A clock that can be moved rings
    /// it after each move; one that goes by itself drops it, as this default does.
    fn watch(&self, alarm: Alarm) {
        drop(alarm);
    }
}

/// Tells a scheduler that its clock was moved. Handed to [`Clock::watch`].
///
/// ```
/// use std::time::{Instant, SystemTime};
/// use std::sync::Mutex;
/// use threadline_pool::schedule::{Alarm, Clock};
///
/// struct Simulation {
///     now: Mutex<(Instant, SystemTime)>,
///     alarms: Mutex<Vec<Alarm>>,
/// }
///
/// impl Simulation {
///     fn jump_to(&self, now: (Instant, SystemTime)) {
///         *self.now.lock().unwrap() = now;
///         // Forgets the alarms of schedulers that are gone.
///         self.alarms.lock().unwrap().retain(Alarm::ring);
///     }
/// }
///
/// impl Clock for Simulation {
///     fn monotonic(&self) -> Instant {
///         self.now.lock().unwrap().0
///     }
///     fn wall(&self) -> SystemTime {
///         self.now.lock().unwrap().1
///     }
///     fn watch(&self, alarm: Alarm) {
///         self.alarms.lock().unwrap().push(alarm);
///     }
/// }
/// ```
pub struct Alarm(Weak<Shared>);

impl Alarm {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Alarm(Arc::downgrade(shared))
    }

    fn another(&self) -> Self {
        Alarm(Weak::clone(&self.0))
    }

    /// Has the scheduler look at its clock again. False if the scheduler is gone.
    pub fn ring(&self) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        shared.clock_moved();
        true
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

/// The system's clocks: `CLOCK_MONOTONIC` and `CLOCK_REALTIME` on Linux. The default.
///
/// ```
/// use threadline_pool::schedule::{Clock, SystemClock};
///
/// let before = SystemClock.monotonic();
/// assert!(SystemClock.monotonic() >= before);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved: for tests of code that schedules jobs. A clone is
/// another handle to the same clock.
///
/// Schedulers look at it by themselves when it moved; the jobs then due are given to the pool, and
/// run some time after [`advance`](ManualClock::advance) has returned. Wait for what they do.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::{Duration, SystemTime};
/// use threadline_pool::{ThreadPool, schedule::{ManualClock, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
/// let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build()?;
/// let (done, inbox) = mpsc::channel();
/// scheduler.after(Duration::from_secs(3600), move || done.send("an hour later").unwrap())?;
///
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(inbox.recv()?, "an hour later");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    dial: Arc<Dial>,
}

struct Dial {
    now: Mutex<(Instant, SystemTime)>,
    alarms: Mutex<Vec<Alarm>>,
}

impl ManualClock {
    /// A clock that shows this time of day. Its monotonic time starts anywhere.
    pub fn at(wall: SystemTime) -> Self {
        let now = Mutex::new((Instant::now(), wall));
        ManualClock { dial: Arc::new(Dial { now, alarms: Mutex::new(Vec::new()) }) }
    }

    /// Lets time pass, on both clocks.
    ///
    /// # Panics
    /// If that goes beyond what the system's time types can hold.
    pub fn advance(&self, by: Duration) {
        self.change(|(monotonic, wall)| (monotonic + by, wall + by));
    }

    /// Sets the time of day, as a person or a time server does: a step, forward or back, while no
    /// time passes.
    pub fn set_wall(&self, wall: SystemTime) {
        self.change(|(monotonic, _)| (monotonic, wall));
    }

    fn change(&self, change: impl FnOnce((Instant, SystemTime)) -> (Instant, SystemTime)) {
        let mut now = lock(&self.dial.now);
        *now = change(*now);
        // Schedulers read the clock when they are rung: not while it is locked.
        drop(now);
        // Nor is the list of alarms: a scheduler that is gone otherwise goes with its clock here, which
        // may be the user's, around this one.
        let alarms: Vec<_> = lock(&self.dial.alarms).iter().map(Alarm::another).collect();
        for alarm in &alarms {
            alarm.ring();
        }
        drop(alarms);
        lock(&self.dial.alarms).retain(|alarm| alarm.0.strong_count() > 0);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Instant {
        lock(&self.dial.now).0
    }

    fn wall(&self) -> SystemTime {
        lock(&self.dial.now).1
    }

    fn watch(&self, alarm: Alarm) {
        lock(&self.dial.alarms).push(alarm);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("wall", &self.wall()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ThreadPool;
    use crate::schedule::Scheduler;

    #[test]
    fn a_clock_forgets_the_schedulers_that_are_gone() {
        let pool = ThreadPool::builder().build().expect("a pool");
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        let schedulers = [(); 3]
            .map(|()| Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler"));
        assert_eq!(format!("{:?}", lock(&clock.dial.alarms)[0]), "Alarm { .. }");
        assert!(format!("{clock:?}").starts_with("ManualClock { wall: "), "{clock:?}");
        let [first, others @ ..] = schedulers;
        assert!(first.shutdown(Duration::from_secs(20)));
        drop(first);
        // Its thread may hold the end of it for a moment.
        let is_alive = |alarm: &&Alarm| alarm.0.strong_count() > 0;
        let deadline = Instant::now() + Duration::from_secs(20);
        while lock(&clock.dial.alarms).iter().filter(is_alive).count() > others.len() {
            assert!(Instant::now() < deadline, "the first scheduler is kept alive");
            std::thread::yield_now();
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(lock(&clock.dial.alarms).len(), others.len());
    }
}
