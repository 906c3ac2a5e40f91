//! The scheduler's thread under loom: in every order in which it, the threads of the pool and those
//! that add, end and move things can take their steps (up to a number of preemptions), what is due
//! starts, and who waits for the end gets it. A change slept through shows as a deadlock.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p threadline-pool --release --lib schedule`

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use loom::thread;

use super::{Alarm, Clock, Every, ManualClock, RunOutcome, Scheduler};
use crate::ThreadPool;
use crate::primitive::{Condvar, Mutex, lock};

/// The model knows no clock: a time that is finite is over at once, and this one never is. So what
/// is not due yet is put at the end of time, and what is, now.
const FOR_EVER: Duration = Duration::MAX;

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn bench() -> (ThreadPool, ManualClock, Scheduler) {
    let pool = ThreadPool::builder().threads_max(1).keep_alive(FOR_EVER).build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    (pool, clock, scheduler)
}

fn end(pool: &ThreadPool, scheduler: &Scheduler) {
    assert!(scheduler.shutdown(FOR_EVER));
    assert!(pool.shutdown(FOR_EVER));
}

/// Closed until it is opened.
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Gate { open: Mutex::new(false), opened: Condvar::new() })
    }

    fn open(&self) {
        *lock(&self.open) = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let mut open = lock(&self.open);
        while !*open {
            open = self.opened.wait(open).expect("no panic under the lock");
        }
    }
}

/// The thread is about to sleep for ever, or asleep, when a job comes that is due.
#[test]
fn a_job_that_is_due_at_once_starts() {
    check(2, || {
        let (pool, _clock, scheduler) = bench();
        let ran = Gate::new();
        let opener = Arc::clone(&ran);
        scheduler.after(Duration::ZERO, move || opener.open()).expect("room");
        ran.wait();
        end(&pool, &scheduler);
    });
}

/// Nothing is due until somebody asks for it, from two sides.
#[test]
fn a_run_that_is_asked_for_starts() {
    check(2, || {
        let (pool, _clock, scheduler) = bench();
        let ran = Gate::new();
        let opener = Arc::clone(&ran);
        let job = scheduler.after(FOR_EVER, move || opener.open()).expect("room");
        let other = job.clone();
        let asking = thread::spawn(move || other.run_now());
        job.run_now();
        ran.wait();
        asking.join().expect("no panic");
        end(&pool, &scheduler);
        assert_eq!(job.history().runs, 1);
    });
}

/// A run is asked for while one goes on, or just ends: there is a second run, or the first was late
/// enough to be the one.
#[test]
fn a_run_that_is_asked_for_while_one_ends_is_not_forgotten() {
    check(2, || {
        let (pool, _clock, scheduler) = bench();
        let (began, again) = (Gate::new(), Gate::new());
        let (first, second) = (Arc::clone(&began), Arc::clone(&again));
        let every = Every::fixed_rate(FOR_EVER);
        let job = scheduler
            .every(every, move || {
                if *lock(&first.open) {
                    second.open();
                }
                first.open();
            })
            .expect("room");
        job.run_now();
        began.wait();
        job.run_now();
        again.wait();
        end(&pool, &scheduler);
        assert_eq!(job.history().succeeded, 2);
    });
}

/// A clock that leaps from one moment to another, which is beyond the end of time for the real one: so
/// the scheduler's thread sleeps without a deadline until it is rung.
struct Leaping {
    start: Instant,
    leap: Duration,
    leapt: Mutex<bool>,
    alarm: std::sync::Mutex<Option<Alarm>>,
}

impl Leaping {
    fn new() -> Arc<Self> {
        let start = Instant::now() - Duration::from_secs(3600);
        // The longest time from then on.
        let mut leap = Duration::ZERO;
        for power in (0..64).rev() {
            let longer = leap + Duration::from_secs(1 << power);
            if start.checked_add(longer).is_some() {
                leap = longer;
            }
        }
        Arc::new(Leaping {
            start,
            leap,
            leapt: Mutex::new(false),
            alarm: std::sync::Mutex::default(),
        })
    }

    fn leap(&self) {
        *lock(&self.leapt) = true;
        self.alarm.lock().expect("no panic").as_ref().expect("a scheduler").ring();
    }
}

impl Clock for Arc<Leaping> {
    fn monotonic(&self) -> Instant {
        if *lock(&self.leapt) { self.start + self.leap } else { self.start }
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn watch(&self, alarm: Alarm) {
        *self.alarm.lock().expect("no panic") = Some(alarm);
    }
}

/// The clock is moved while the thread reads it, is about to sleep, or sleeps.
#[test]
fn a_clock_that_is_moved_is_looked_at() {
    check(2, || {
        let pool =
            ThreadPool::builder().threads_max(1).keep_alive(FOR_EVER).build().expect("a pool");
        let clock = Leaping::new();
        let scheduler =
            Scheduler::builder(&pool).clock(Arc::clone(&clock)).build().expect("a thread");
        let ran = Gate::new();
        let opener = Arc::clone(&ran);
        scheduler.after(clock.leap, move || opener.open()).expect("room");
        clock.leap();
        ran.wait();
        end(&pool, &scheduler);
    });
}

/// A job is removed, or the scheduler shut down, while its run is on its way through the pool: it
/// ran, or it is cancelled, or it never was under way; and the end is reached.
#[test]
fn removal_and_shutdown_race_the_start_of_a_run() {
    for shutdown in [false, true] {
        check(2, move || {
            let (pool, _clock, scheduler) = bench();
            let ran = Arc::new(Mutex::new(0_u64));
            let counted = Arc::clone(&ran);
            let job = scheduler.after(Duration::ZERO, move || *lock(&counted) += 1).expect("room");
            if !shutdown {
                job.remove();
            }
            end(&pool, &scheduler);
            let (history, ran) = (job.history(), *lock(&ran));
            assert_eq!((history.runs, history.running), (ran, 0));
            let expected = match (ran, history.cancelled) {
                (1, 0) => Some(RunOutcome::Ok),
                (0, 1) => Some(RunOutcome::Cancelled),
                (0, 0) => None,
                unexpected => panic!("ran and cancelled: {unexpected:?}"),
            };
            assert_eq!(history.last_outcome, expected);
        });
    }
}

/// A run shuts its own scheduler down while another thread does: neither waits for ever.
#[test]
fn a_run_that_shuts_down_is_not_waited_for_by_itself() {
    check(2, || {
        let (pool, _clock, scheduler) = bench();
        let inner = scheduler.clone();
        let job = move || assert!(inner.shutdown(FOR_EVER));
        scheduler.after(Duration::ZERO, job).expect("room");
        end(&pool, &scheduler);
    });
}
