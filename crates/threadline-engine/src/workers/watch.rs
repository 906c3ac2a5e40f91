//! Watches calls that run as trials, and calls of computing routes: a long one classifies its route while it
//! runs.
//!
//! The threads of these calls enter and leave the list; the monitor looks at it with each of its ticks, while
//! it is not empty. A trial that has had 10 ms puts its route among the blocking or the computing ones, by what
//! its thread has done. A call of a computing route that turns out to sleep makes its route a blocking one, and
//! its place at the gate is free from then on: a database that hangs must not stop the hashing of passwords.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::gate::Release;
use crate::bell::Bell;
use crate::route::{Class, LONG, Route, is_computing};
use crate::sys::{OtherUsage, ThreadNumber};

/// How often the monitor looks while calls are watched.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A thread that has slept and now gets no core is judged all the same after this long.
const LONGEST_DOUBT: Duration = Duration::from_millis(500);

/// The calls that are watched.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    calls: Mutex<Vec<Watched>>,
    /// Their number, so that the monitor's tick costs a load when there are none.
    len: AtomicUsize,
    next_number: AtomicU64,
    /// The monitor's own tick is longer than [`LOOK_EVERY`].
    wakes_monitor: bool,
}

/// A call in the list. Its thread ends it by [`Watch::end`].
#[derive(Debug)]
#[must_use = "a call that is not ended is watched for ever"]
pub(crate) struct WatchedCall(u64);

#[derive(Debug)]
struct Watched {
    number: u64,
    route: Arc<Route>,
    thread: ThreadNumber,
    /// What the thread had used at what time. Calls of computing routes have this from the monitor's first
    /// look on: most end before, and the files of /proc are not worth reading for them.
    before: Option<(Instant, OtherUsage)>,
    why: Why,
}

/// Why a call is watched.
#[derive(Debug)]
pub(crate) enum Why {
    /// Its route is not classified yet.
    Trial,
    /// Its route is a computing one: it holds a place, which may have to be freed.
    Computing(Release),
}

impl Watch {
    /// For a monitor with that tick.
    pub(crate) fn new(monitor_tick: Duration) -> Self {
        Watch { wakes_monitor: monitor_tick > LOOK_EVERY, ..Watch::default() }
    }

    /// A call of this thread begins.
    pub(crate) fn begin(&self, route: &Arc<Route>, why: Why, bell: &Bell) -> WatchedCall {
        let thread = ThreadNumber::current();
        let before = match why {
            Why::Trial => OtherUsage::of(thread).map(|usage| (Instant::now(), usage)),
            Why::Computing(_) => None,
        };
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let call = Watched { number, route: Arc::clone(route), thread, before, why };
        let is_first = {
            let mut calls = self.calls.lock();
            calls.push(call);
            self.len.store(calls.len(), Ordering::Relaxed);
            calls.len() == 1
        };
        if is_first {
            // Pairs with the fence in `is_empty`: of a monitor that goes to sleep and a call that begins, at
            // least one sees the other.
            fence(Ordering::SeqCst);
            if self.wakes_monitor { bell.wake() } else { bell.ring() }
        }
        WatchedCall(number)
    }

    /// The call has returned or panicked.
    pub(crate) fn end(&self, call: &WatchedCall) {
        // Dropped without the lock: it may hold the last handle of its route.
        drop(self.take(call.0));
    }

    /// Monitor: whether there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        // See `begin`.
        fence(Ordering::SeqCst);
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Monitor: looks at the calls, and classifies the routes of those that have run for long.
    pub(crate) fn look(&self) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        for (number, class) in self.findings(now) {
            // A call that has ended meanwhile has been judged by its thread.
            if let Some(call) = self.take(number) {
                call.route.classify(class);
                if let Why::Computing(release) = call.why {
                    release.release();
                }
            }
        }
    }

    /// Which calls show the class of their routes. The threads' figures are read without the lock: the monitor
    /// may lose its core to others in the middle of it, and no call must wait for that.
    fn findings(&self, now: Instant) -> Vec<(u64, Class)> {
        let (mut fresh, mut due) = (Vec::new(), Vec::new());
        for call in &*self.calls.lock() {
            match call.before {
                Some((began, before)) if now.saturating_duration_since(began) >= LONG => {
                    let is_trial = matches!(call.why, Why::Trial);
                    due.push((call.number, call.thread, began, before, is_trial));
                }
                Some(_) => {}
                None => fresh.push((call.number, call.thread)),
            }
        }
        for (number, thread) in fresh {
            // The clock last: if this thread loses its core in between, the other seems to have slept less.
            let before = OtherUsage::of(thread).map(|usage| (Instant::now(), usage));
            let mut calls = self.calls.lock();
            if let Some(call) = calls.iter_mut().find(|call| call.number == number) {
                call.before = before;
            }
        }
        let finding =
            |(number, thread, began, before, is_trial): (_, _, Instant, OtherUsage, _)| {
                // The clock first, for the same reason.
                let elapsed = began.elapsed();
                let usage = OtherUsage::of(thread)?;
                let times = Times {
                    elapsed,
                    cpu: before.cpu_until(&usage),
                    idle: before.idle_until(&usage, elapsed),
                    is_runnable: usage.is_runnable,
                };
                let class = if is_trial {
                    times.class()
                } else {
                    times.is_asleep().then_some(Class::Blocking)
                };
                Some((number, class?))
            };
        due.into_iter().filter_map(finding).collect()
    }

    fn take(&self, number: u64) -> Option<Watched> {
        let mut calls = self.calls.lock();
        let at = calls.iter().position(|call| call.number == number)?;
        let call = calls.swap_remove(at);
        self.len.store(calls.len(), Ordering::Relaxed);
        Some(call)
    }
}

/// What a call that still runs has done with its time.
#[derive(Debug, Clone, Copy)]
struct Times {
    elapsed: Duration,
    cpu: Duration,
    /// May include the present wait for a core of a thread that is runnable.
    idle: Duration,
    is_runnable: bool,
}

impl Times {
    /// The class that the call shows, if it shows one yet.
    fn class(self) -> Option<Class> {
        let Times { elapsed, cpu, idle, is_runnable } = self;
        if cpu + idle < LONG {
            // It has hardly had a core.
            return None;
        }
        if is_computing(cpu, idle) {
            return Some(Class::Computing);
        }
        // What a runnable thread seems to have slept may be its present wait for a core.
        if is_runnable && elapsed < LONGEST_DOUBT {
            return None;
        }
        Some(Class::Blocking)
    }

    /// Whether a call that should compute sleeps.
    fn is_asleep(self) -> bool {
        !self.is_runnable && self.idle >= LONG && !is_computing(self.cpu, self.idle)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::workers::Gate;

    fn times(elapsed_ms: u64, cpu_ms: u64, idle_ms: u64, is_runnable: bool) -> Times {
        let ms = Duration::from_millis;
        Times { elapsed: ms(elapsed_ms), cpu: ms(cpu_ms), idle: ms(idle_ms), is_runnable }
    }

    #[test]
    fn a_call_shows_its_class_when_it_has_had_its_time() {
        let (blocking, computing) = (Some(Class::Blocking), Some(Class::Computing));
        assert_eq!(times(10, 0, 10, false).class(), blocking, "it sleeps");
        assert_eq!(times(12, 1, 10, false).class(), blocking);
        assert_eq!(times(10, 10, 0, true).class(), computing, "it computes");
        assert_eq!(times(40, 9, 1, true).class(), computing, "on a busy machine");
        assert_eq!(times(40, 9, 1, false).class(), computing, "it waits for memory");
        assert_eq!(times(12, 8, 4, false).class(), blocking, "it does both");
    }

    #[test]
    fn time_without_a_core_shows_nothing() {
        assert_eq!(times(50, 4, 2, false).class(), None, "it has had 6 ms");
        // Its wait goes on, and looks like sleep.
        assert_eq!(times(20, 1, 19, true).class(), None);
        assert_eq!(times(499, 1, 498, true).class(), None);
        assert_eq!(times(500, 1, 499, true).class(), Some(Class::Blocking), "not for ever");
    }

    #[test]
    fn a_computing_call_is_asleep_only_if_it_is() {
        assert!(times(30, 5, 25, false).is_asleep());
        assert!(!times(30, 5, 25, true).is_asleep(), "it may wait for a core");
        assert!(!times(9, 0, 9, false).is_asleep(), "not for long yet");
        assert!(!times(1_000, 980, 20, false).is_asleep(), "a short wait in a long computation");
    }

    /// Calls `work` on a watched thread, while this one looks as the monitor does.
    fn watched(route: &Arc<Route>, why: Why, work: impl FnOnce() + Send) {
        let (watch, bell) = (Watch::new(LOOK_EVERY), Bell::default());
        assert!(watch.is_empty());
        thread::scope(|scope| {
            let (watch, bell) = (&watch, &bell);
            let calling = scope.spawn(move || {
                let call = watch.begin(route, why, bell);
                work();
                watch.end(&call);
            });
            while !calling.is_finished() {
                watch.look();
                thread::yield_now();
            }
        });
        assert!(watch.is_empty());
    }

    /// Waits for what others do, generously.
    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < until, "{what}: not within 20 s");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_trial_that_sleeps_classifies_its_route_while_it_runs() {
        let route = Route::new("sleeps");
        let seen = Arc::clone(&route);
        watched(&route, Why::Trial, move || {
            eventually("the class", || seen.class() == Class::Blocking);
        });
    }

    #[test]
    fn a_trial_that_computes_classifies_its_route_while_it_runs() {
        let route = Route::new("computes");
        let seen = Arc::clone(&route);
        watched(&route, Why::Trial, move || {
            let until = Instant::now() + Duration::from_secs(20);
            while seen.class() == Class::Unclassified {
                assert!(Instant::now() < until, "not classified within 20 s");
                std::hint::spin_loop();
            }
            assert_eq!(seen.class(), Class::Computing);
        });
    }

    #[test]
    fn a_computing_call_that_sleeps_frees_its_place_and_its_route_is_a_blocking_one() {
        let (route, gate) = (Route::new("both"), Gate::new(1));
        route.classify(Class::Computing);
        let permit = gate.try_enter().expect("a free place");
        let seen = Arc::clone(&route);
        let (held, freed) = (Arc::clone(&gate), mpsc::channel());
        watched(&route, Why::Computing(permit.release()), move || {
            eventually("its place is free", || held.held() == 0);
            eventually("the class", || seen.class() == Class::Blocking);
            let _ = freed.0.send(());
        });
        freed.1.recv().expect("it was seen from within the call");
        assert!(gate.try_enter().is_some());
        drop(permit);
    }

    #[test]
    fn what_has_ended_is_not_watched_any_more() {
        let (watch, bell, route) = (Watch::default(), Bell::default(), Route::new("short"));
        let (one, two) =
            (watch.begin(&route, Why::Trial, &bell), watch.begin(&route, Why::Trial, &bell));
        watch.end(&one);
        assert!(!watch.is_empty());
        watch.end(&two);
        assert!(watch.is_empty());
        watch.look();
        assert_eq!(route.class(), Class::Unclassified);
    }
}
