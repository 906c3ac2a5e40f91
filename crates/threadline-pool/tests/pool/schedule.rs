//! Jobs come at their time, by a clock that the test moves, and what becomes of them is told.
//!
//! That something does *not* run is seen by a marker (`settle`): on a pool of one thread, whatever was
//! to run before has run when the marker does.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use threadline_pool::schedule::{
    Alarm, Clock, Every, ManualClock, Overlap, RunOutcome, ScheduleError, Scheduler, SystemClock,
};
use threadline_pool::{RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

const SECOND: Duration = Duration::from_secs(1);

/// A scheduler on a pool of one thread, and its clock.
fn bench() -> (ThreadPool, ManualClock, Scheduler) {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    (pool, clock, scheduler)
}

/// Waits until all that is due now was given to the pool, and, if it has one thread, has run. The
/// second marker comes after all that came with the first.
fn settle(scheduler: &Scheduler) {
    for _ in 0..2 {
        let (done, inbox) = mpsc::channel();
        scheduler.after(Duration::ZERO, move || done.send(()).expect("a listener")).expect("room");
        inbox.recv_timeout(LONG).expect("the marker runs");
    }
}

/// A job that counts its runs.
fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    (runs, move || {
        counted.fetch_add(1, Relaxed);
    })
}

/// A periodic job whose runs say that they began, and end when the test lets them.
struct Stepped {
    began: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Stepped {
    fn new() -> (Self, impl Fn() + Send + Sync + 'static) {
        let (began_in, began) = mpsc::channel();
        let (go_on, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let job = move || {
            let _ = began_in.send(());
            let _ = gate.lock().expect("no panic in the job").recv();
        };
        (Stepped { began, go_on }, job)
    }

    fn wait_for_start(&self) {
        self.began.recv_timeout(LONG).expect("it starts");
    }

    fn let_end(&self) {
        self.go_on.send(()).expect("a run that waits");
    }
}

#[test]
fn jobs_run_in_the_order_of_their_times() {
    let (_pool, clock, scheduler) = bench();
    let (order, inbox) = mpsc::channel();
    for seconds in [3, 1, 2] {
        let order = order.clone();
        let job = move || order.send(seconds).expect("a listener");
        scheduler.after(seconds * SECOND, job).expect("room");
    }
    drop(order);
    clock.advance(2 * SECOND);
    settle(&scheduler);
    assert!(inbox.try_iter().eq([1, 2]));
    clock.advance(SECOND);
    assert!(inbox.iter().eq([3]));
    wait_for("no jobs", || scheduler.list().is_empty());
}

#[test]
fn a_job_added_for_an_earlier_time_wakes_the_sleeping_thread() {
    // By the system's clock: the thread sleeps for an hour, or for ever, when the job comes.
    let pool = ThreadPool::builder().build().expect("a pool");
    let scheduler = Scheduler::new(&pool).expect("a scheduler");
    settle(&scheduler);
    scheduler.after(3600 * SECOND, || ()).expect("room");
    settle(&scheduler);
}

#[test]
fn a_periodic_job_tells_its_history() {
    let (_pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    let job = scheduler.job("count").every(Every::fixed_rate(10 * SECOND), count).expect("room");
    for second in 1..=30 {
        clock.advance(SECOND);
        settle(&scheduler);
        assert_eq!(runs.load(Relaxed), second / 10);
    }
    let history = job.history();
    assert_eq!((history.runs, history.succeeded, history.missed, history.running), (3, 3, 0, 0));
    assert_eq!(history.last_start, Some(SystemTime::UNIX_EPOCH + 30 * SECOND));
    assert_eq!(history.last_duration, Some(Duration::ZERO));
    assert_eq!(history.last_outcome, Some(RunOutcome::Ok));
    assert_eq!(job.info().next_in, Some(10 * SECOND));
}

#[test]
fn runs_of_one_job_do_not_overlap_and_what_is_missed_is_counted() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    let (runs, job) = Stepped::new();
    let job = scheduler.every(Every::fixed_rate(10 * SECOND), job).expect("room");
    clock.advance(10 * SECOND);
    runs.wait_for_start();
    clock.advance(35 * SECOND);
    settle(&scheduler);
    assert_eq!((job.history().runs, job.history().running), (1, 1));
    runs.let_end();
    // At 45 s, for 40 s. Those of 20 s and 30 s are lost.
    runs.wait_for_start();
    let history = job.history();
    assert_eq!((history.runs, history.missed), (2, 2));
    assert_eq!(history.last_duration, Some(35 * SECOND));
    runs.let_end();
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn runs_may_overlap_if_they_are_allowed_to() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    // Each run ends only when two go on at once.
    let both = Arc::new(std::sync::Barrier::new(2));
    let job = scheduler
        .job("pair")
        .overlap(Overlap::Allowed)
        .every(Every::fixed_rate(SECOND), move || {
            both.wait();
        })
        .expect("room");
    clock.advance(SECOND);
    wait_for("the first run", || job.history().running == 1);
    clock.advance(SECOND);
    wait_for("both ended", || job.history().succeeded == 2);
}

#[test]
fn a_panic_is_history_and_not_the_end() {
    let (pool, clock, scheduler) = bench();
    let job = scheduler
        .every(Every::fixed_rate(SECOND), || panic!("a job that panics, {}", "as it should"))
        .expect("room");
    for runs in 1..=2 {
        clock.advance(SECOND);
        wait_for("a run", || job.history().panicked == runs);
    }
    let outcome = RunOutcome::Panicked("a job that panics, as it should".to_owned());
    assert_eq!(job.history().last_outcome, Some(outcome));
    wait_for("the pool counts them too", || pool.stats().panicked == 2);
}

#[test]
fn what_the_pool_rejects_is_told_and_the_next_run_comes() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(0).build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    let (runs, count) = counter();
    let (once, once_count) = counter();
    let periodic = scheduler.every(Every::fixed_rate(10 * SECOND), count).expect("room");
    let single = scheduler.after(15 * SECOND, once_count).expect("room");
    let blocked = Blocked::running(&pool);
    clock.advance(15 * SECOND);
    wait_for("both rejected", || {
        periodic.history().rejected == 1 && single.history().rejected == 1
    });
    let outcome = RunOutcome::Rejected(RejectReason::Full);
    assert_eq!(periodic.history().last_outcome, Some(outcome));
    assert_eq!((periodic.history().runs, periodic.history().cancelled), (0, 0));
    // The single run is tried again, until it succeeds.
    wait_for("lined up again", || single.info().next_in == Some(SECOND));
    blocked.release();
    wait_for("room", || pool.stats().idle == 1);
    clock.advance(SECOND);
    wait_for("the single run", || once.load(Relaxed) == 1);
    wait_for("room", || pool.stats().idle == 1);
    clock.advance(4 * SECOND);
    wait_for("the next run", || runs.load(Relaxed) == 1);
}

#[test]
fn a_pool_that_is_shut_down_ends_single_jobs_and_denies_periodic_ones() {
    let (pool, clock, scheduler) = bench();
    let single = scheduler.after(SECOND, || ()).expect("room");
    let periodic = scheduler.every(Every::fixed_rate(SECOND), || ()).expect("room");
    assert!(pool.shutdown(LONG));
    clock.advance(SECOND);
    wait_for("it is gone", || scheduler.list().len() == 1);
    let outcome = Some(RunOutcome::Rejected(RejectReason::ShutDown));
    assert_eq!(single.history().last_outcome, outcome);
    wait_for("denied", || periodic.history().last_outcome == outcome);
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn a_removed_job_is_dropped_and_its_queued_run_cancelled() {
    let (pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    let (alive, dropped) = mpsc::channel::<()>();
    let job = scheduler
        .job("short-lived")
        .every(Every::fixed_rate(SECOND), move || {
            let _ = &alive;
            count();
        })
        .expect("room");
    let blocked = Blocked::running(&pool);
    clock.advance(SECOND);
    wait_for("it is queued", || pool.stats().queue_len == 1);
    assert!(job.remove());
    assert!(!job.remove());
    assert!(scheduler.find("short-lived").is_none());
    blocked.release();
    assert_eq!(dropped.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!((runs.load(Relaxed), job.history().cancelled), (0, 1));
    assert_eq!(job.history().last_outcome, Some(RunOutcome::Cancelled));
}

#[test]
fn pause_run_now_and_resume() {
    let (_pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    let job = scheduler.every(Every::fixed_rate(10 * SECOND), count).expect("room");
    assert!(job.pause());
    assert_eq!((job.info().paused, job.info().next_in), (true, None));
    clock.advance(25 * SECOND);
    settle(&scheduler);
    assert_eq!(runs.load(Relaxed), 0);
    assert!(job.run_now());
    wait_for("the run asked for", || job.history().succeeded == 1);
    assert!(job.resume());
    assert_eq!((job.info().paused, job.info().next_in), (false, Some(5 * SECOND)));
    clock.advance(5 * SECOND);
    wait_for("the grid goes on", || job.history().succeeded == 2);
    assert_eq!(job.history().missed, 0);
}

#[test]
fn a_dropped_handle_detaches_its_job() {
    let (_pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    drop(scheduler.job("detached").every(Every::fixed_delay(SECOND), count));
    clock.advance(SECOND);
    let found = scheduler.find("detached").expect("it is there");
    wait_for("a run", || found.history().succeeded == 1);
    assert_eq!((found.name(), runs.load(Relaxed)), ("detached", 1));
}

#[test]
fn bounds_names_and_periods_are_checked() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let scheduler = Scheduler::builder(&pool).jobs_max(2).build().expect("a scheduler");
    let hourly = Every::fixed_rate(3600 * SECOND);
    let builder = format!("{:?}", Scheduler::builder(&pool).name("other"));
    assert!(builder.starts_with("SchedulerBuilder { name: \"other\", jobs_max: "), "{builder}");
    assert_eq!(format!("{scheduler:?}"), "Scheduler { jobs: [] }");
    let named = format!("{:?}", scheduler.job("first"));
    assert!(named.starts_with("JobBuilder { name: Some(\"first\"), "), "{named}");
    let first = scheduler.job("first").every(hourly, || ()).expect("room");
    assert_eq!(format!("{first:?}"), "JobHandle { name: \"first\", .. }");
    let error = scheduler.job("first").every(hourly, || ()).expect_err("the name is taken");
    assert_eq!(error, ScheduleError::NameTaken { name: "first".to_owned() });
    assert!(error.to_string().contains("\"first\""), "{error}");
    scheduler.every(hourly, || ()).expect("room");
    let error = scheduler.every(hourly, || ()).expect_err("full");
    assert_eq!(error, ScheduleError::TooManyJobs { jobs_max: 2 });
    assert!(error.to_string().contains("jobs_max"), "{error}");
    assert!(first.remove());
    scheduler.job("first").every(hourly, || ()).expect("room, and the name is free");

    let error = scheduler.every(Every::fixed_delay(Duration::ZERO), || ()).expect_err("zero");
    assert!(error.to_string().starts_with("the period is zero"), "{error}");
    let error =
        scheduler.job("shaky").jitter(3600 * SECOND).every(hourly, || ()).expect_err("jitter");
    assert!(error.to_string().starts_with("the jitter is 3600s"), "{error}");
    let error = Scheduler::builder(&pool).name("a\0b").build().expect_err("NUL");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn jobs_are_listed_in_the_order_they_were_added() {
    let (_pool, _clock, scheduler) = bench();
    scheduler.job("b").after(2 * SECOND, || ()).expect("room");
    scheduler.after(3 * SECOND, || ()).expect("room");
    scheduler.job("a").after(SECOND, || ()).expect("room");
    let names: Vec<_> = scheduler.list().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["b", "job-1", "a"]);
}

#[test]
fn a_job_without_a_name_gets_one_that_is_free() {
    let (_pool, _clock, scheduler) = bench();
    for name in ["job-2", "job-3"] {
        scheduler.job(name).after(SECOND, || ()).expect("room");
    }
    // The third, whose number is 2, and the fourth, whose number is 3.
    assert_eq!(scheduler.after(SECOND, || ()).expect("room").name(), "job-4");
    assert_eq!(scheduler.after(SECOND, || ()).expect("room").name(), "job-5");
}

#[test]
fn shutdown_cancels_what_is_queued_and_waits_for_what_runs() {
    let (pool, clock, scheduler) = bench();
    let (runs, stepped) = Stepped::new();
    let running = scheduler.after(SECOND, stepped).expect("room");
    let queued = scheduler.after(SECOND, || ()).expect("room");
    let later = scheduler.every(Every::fixed_rate(60 * SECOND), || ()).expect("room");
    clock.advance(SECOND);
    runs.wait_for_start();
    wait_for("the second is queued", || pool.stats().queue_len == 1);
    assert!(!scheduler.shutdown(Duration::ZERO), "a run goes on");
    // By now the scheduler's thread has ended, most likely.
    assert!(!scheduler.shutdown(Duration::from_millis(50)), "a run goes on still");
    runs.let_end();
    assert!(scheduler.shutdown(LONG));
    assert_eq!(running.history().last_outcome, Some(RunOutcome::Ok));
    assert_eq!(queued.history().last_outcome, Some(RunOutcome::Cancelled));
    assert_eq!(later.history().last_outcome, None);
    assert!(scheduler.list().is_empty());
    let refused = scheduler.after(SECOND, || ()).expect_err("too late");
    assert_eq!(refused, ScheduleError::ShutDown);
    assert!(!later.run_now() && !later.resume() && !later.pause());
    // The pool is its owner's.
    pool.try_submit(|| ()).expect("it goes on");
}

#[test]
fn a_job_may_shut_its_scheduler_down() {
    let (_pool, clock, scheduler) = bench();
    let (results, inbox) = mpsc::channel();
    let inner = scheduler.clone();
    let job = move || {
        let ended = inner.shutdown(LONG);
        results.send((ended, inner.shutdown(LONG))).expect("a listener");
    };
    scheduler.after(SECOND, job).expect("room");
    clock.advance(SECOND);
    assert_eq!(inbox.recv_timeout(LONG), Ok((true, true)));
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn two_jobs_that_shut_down_do_not_wait_for_each_other() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let scheduler = Scheduler::new(&pool).expect("a scheduler");
    let both = Arc::new(std::sync::Barrier::new(2));
    let (results, inbox) = mpsc::channel();
    for _ in 0..2 {
        let (inner, both, results) = (scheduler.clone(), Arc::clone(&both), results.clone());
        let job = move || {
            both.wait();
            let ended = inner.shutdown(LONG);
            both.wait();
            results.send(ended).expect("a listener");
        };
        scheduler.after(Duration::ZERO, job).expect("room");
    }
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
}

/// A run that waited, in vain, and has ended stands for no other that goes on.
#[test]
fn a_run_that_shuts_down_waits_for_runs_that_do_not() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let scheduler = Scheduler::new(&pool).expect("a scheduler");
    let (runs, stepped) = Stepped::new();
    let other = scheduler.after(Duration::ZERO, stepped).expect("room");
    runs.wait_for_start();
    let (results, inbox) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let (first, second) = (scheduler.clone(), scheduler.clone());
    let results_of_second = results.clone();
    let second = scheduler.after(Duration::ZERO, move || {
        let _ = gate.recv();
        results_of_second.send(second.shutdown(Duration::from_millis(1))).expect("a listener");
    });
    wait_for("both run", || second.as_ref().is_ok_and(|job| job.history().running == 1));
    let first = scheduler.after(Duration::ZERO, move || {
        results.send(first.shutdown(Duration::from_millis(1))).expect("a listener");
    });
    assert_eq!(inbox.recv_timeout(LONG), Ok(false));
    wait_for("it has ended", || first.as_ref().is_ok_and(|job| job.history().succeeded == 1));
    drop(go_on);
    assert_eq!(inbox.recv_timeout(LONG), Ok(false), "the stepped one goes on");
    runs.let_end();
    assert!(scheduler.shutdown(LONG));
    assert_eq!(other.history().succeeded, 1);
}

#[test]
fn a_run_of_one_scheduler_waits_for_the_runs_of_another() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let [mine, other] = [(); 2].map(|()| Scheduler::new(&pool).expect("a scheduler"));
    let (runs, stepped) = Stepped::new();
    other.after(Duration::ZERO, stepped).expect("room");
    runs.wait_for_start();
    let (results, inbox) = mpsc::channel();
    let shutting = other.clone();
    let job = move || {
        for limit in [Duration::from_millis(50), LONG] {
            results.send(shutting.shutdown(limit)).expect("a listener");
        }
    };
    mine.after(Duration::ZERO, job).expect("room");
    assert_eq!(inbox.recv_timeout(LONG), Ok(false), "it goes on");
    runs.let_end();
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert!(mine.shutdown(LONG));
}

#[test]
fn dropping_the_last_handle_drops_the_jobs_and_lets_the_pool_go() {
    let (pool, _clock, scheduler) = bench();
    let (alive, dropped) = mpsc::channel::<()>();
    let job = scheduler
        .every(Every::fixed_rate(SECOND), move || {
            let _ = &alive;
        })
        .expect("room");
    drop(scheduler);
    assert_eq!(dropped.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert!(!job.run_now(), "the handle is all that is left");
    assert!(pool.shutdown(LONG));
}

/// Says that it is dropped, and panics.
struct Grenade(mpsc::Sender<()>);

impl Grenade {
    fn with_pin() -> (Self, mpsc::Receiver<()>) {
        let (dropped_in, dropped) = mpsc::channel();
        (Grenade(dropped_in), dropped)
    }
}

impl Drop for Grenade {
    fn drop(&mut self) {
        let _ = self.0.send(());
        std::panic::panic_any("dropped, as it should be");
    }
}

/// A job that holds it and does nothing.
fn holding(grenade: Grenade) -> impl Fn() + Send + Sync + 'static {
    let grenade = Mutex::new(grenade);
    move || {
        let _held = &grenade;
    }
}

#[test]
fn a_job_whose_drop_panics_does_not_end_the_scheduler() {
    let (_pool, clock, scheduler) = bench();
    let (grenade, dropped) = Grenade::with_pin();
    scheduler.after(SECOND, holding(grenade)).expect("room");
    clock.advance(SECOND);
    settle(&scheduler);
    dropped.recv_timeout(LONG).expect("dropped");
}

#[test]
fn shutdown_drops_all_jobs_though_their_drops_panic() {
    let (_pool, _clock, scheduler) = bench();
    let grenades: Vec<_> = (0..6)
        .map(|number| {
            let (grenade, dropped) = Grenade::with_pin();
            if number % 2 == 0 {
                scheduler.after(SECOND, holding(grenade)).expect("room");
            } else {
                scheduler.every(Every::fixed_rate(SECOND), holding(grenade)).expect("room");
            }
            dropped
        })
        .collect();
    assert!(scheduler.shutdown(LONG));
    assert!(grenades.iter().all(|dropped| dropped.try_recv().is_ok()));
    assert_eq!(scheduler.panics_contained(), 6);
}

#[test]
fn the_last_handle_drops_jobs_whose_drops_panic_even_while_a_panic_unwinds() {
    for unwinding in [false, true] {
        let (_pool, _clock, scheduler) = bench();
        let (grenade, dropped) = Grenade::with_pin();
        let other = counter().1;
        scheduler.after(SECOND, holding(grenade)).expect("room");
        scheduler.after(SECOND, other).expect("room");
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _last = scheduler;
            assert!(!unwinding, "a panic with the last handle on the stack, as it should be");
        }));
        assert_eq!(ended.is_err(), unwinding);
        dropped.recv_timeout(LONG).expect("dropped");
    }
}

#[test]
fn remove_and_refusals_contain_what_a_drop_panics() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let scheduler = Scheduler::builder(&pool).jobs_max(1).build().expect("a scheduler");
    let (hourly, nothing) = (Every::fixed_rate(3600 * SECOND), Duration::ZERO);
    let grenade = || holding(Grenade::with_pin().0);
    let job = scheduler.job("only").every(hourly, grenade()).expect("room");
    let error = scheduler.after(SECOND, grenade()).expect_err("full");
    assert_eq!(error, ScheduleError::TooManyJobs { jobs_max: 1 });
    assert!(scheduler.every(Every::fixed_rate(nothing), grenade()).is_err());
    assert!(scheduler.job("shaky").jitter(3600 * SECOND).every(hourly, grenade()).is_err());
    assert_eq!(scheduler.panics_contained(), 3);
    assert!(job.remove());
    assert_eq!(scheduler.panics_contained(), 4);
    scheduler.shutdown(LONG);
    assert_eq!(scheduler.after(SECOND, grenade()).expect_err("late"), ScheduleError::ShutDown);
    assert_eq!(scheduler.panics_contained(), 5);
}

/// The run is the last to hold what the job holds, and drops it while its own panic unwinds.
#[test]
fn a_run_that_panics_may_hold_what_panics_when_dropped() {
    let (pool, clock, scheduler) = bench();
    let (grenade, dropped) = Grenade::with_pin();
    let (held, (began_in, began)) = (holding(grenade), mpsc::channel());
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let job = move || {
        held();
        began_in.send(()).expect("a listener");
        let _ = gate.lock().expect("no panic in the job").recv();
        let (payload, _) = Grenade::with_pin();
        std::panic::panic_any(payload);
    };
    let job = scheduler.every(Every::fixed_rate(SECOND), job).expect("room");
    clock.advance(SECOND);
    began.recv_timeout(LONG).expect("it runs");
    assert!(job.remove());
    drop(go_on);
    dropped.recv_timeout(LONG).expect("dropped");
    wait_for("the pool counts it", || pool.stats().panicked == 1);
    assert_eq!((job.history().panicked, job.history().running), (1, 0));
    settle(&scheduler);
}

/// Runs code of the test's when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn what_a_job_holds_may_call_the_scheduler_when_it_is_dropped() {
    let (pool, clock, scheduler) = bench();
    let (told, inbox) = mpsc::channel();
    let calling = |name: &'static str| {
        let (scheduler, told) = (scheduler.clone(), told.clone());
        let on_drop = Mutex::new(OnDrop(move || {
            let jobs = scheduler.list().len();
            let added = scheduler.after(SECOND, || ()).is_ok_and(|job| job.run_now());
            told.send((name, jobs, added)).expect("a listener");
        }));
        move || {
            let _held = &on_drop;
        }
    };
    let hourly = Every::fixed_rate(3600 * SECOND);
    let removed = scheduler.job("removed").every(hourly, calling("removed")).expect("room");
    assert!(removed.remove());
    assert_eq!(inbox.recv_timeout(LONG), Ok(("removed", 0, true)));
    wait_for("the added one ran", || scheduler.list().is_empty());
    // Dropped on the scheduler's own thread, for the pool does not take it.
    scheduler.job("rejected").after(SECOND, calling("rejected")).expect("room");
    scheduler.job("kept").every(hourly, calling("shut down")).expect("room");
    assert!(pool.shutdown(LONG));
    clock.advance(SECOND);
    assert_eq!(inbox.recv_timeout(LONG), Ok(("rejected", 1, true)));
    assert!(scheduler.shutdown(LONG));
    assert_eq!(inbox.recv_timeout(LONG), Ok(("shut down", 0, false)));
}

/// Like the test above, with the call that waits for the thread it is on.
#[test]
fn what_is_dropped_on_the_schedulers_thread_may_shut_it_down() {
    let (pool, clock, scheduler) = bench();
    let (told, inbox) = mpsc::channel();
    let inner = scheduler.clone();
    let on_drop = OnDrop(move || told.send(inner.shutdown(LONG)).expect("a listener"));
    scheduler
        .after(SECOND, move || {
            let _held = on_drop;
        })
        .expect("room");
    assert!(pool.shutdown(LONG));
    clock.advance(SECOND);
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn a_thread_that_ends_may_shut_a_scheduler_down() {
    use std::cell::RefCell;

    type Will = OnDrop<Box<dyn FnMut()>>;
    thread_local! {
        static LAST_WILL: RefCell<Option<Will>> = const { RefCell::new(None) };
    }
    let (_pool, _clock, scheduler) = bench();
    let (told, inbox) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let inner = scheduler.clone();
        LAST_WILL.set(Some(OnDrop(Box::new(move || {
            told.send(inner.shutdown(LONG)).expect("a listener");
        }))));
        // The scheduler's own thread-local is made after that one, and destroyed before.
        assert!(scheduler.shutdown(LONG));
    });
    thread.join().expect("no panic");
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
}

/// The system's clock, but it panics while it is told to, and calls a scheduler once if it has one.
#[derive(Clone, Default)]
struct Moody {
    panics: Arc<std::sync::atomic::AtomicBool>,
    calls: Arc<Mutex<Option<Scheduler>>>,
}

impl Clock for Moody {
    fn monotonic(&self) -> std::time::Instant {
        assert!(!self.panics.load(Relaxed), "a clock that panics, as it should");
        SystemClock.monotonic()
    }

    fn wall(&self) -> SystemTime {
        let scheduler = self.calls.lock().expect("no panic under it").take();
        if let Some(scheduler) = scheduler {
            assert!(scheduler.find("nobody").is_none() && scheduler.list().len() < 10);
        }
        SystemClock.wall()
    }
}

#[test]
fn a_clock_that_panics_ends_no_job_and_no_thread() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let clock = Moody::default();
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    let millisecond = Duration::from_millis(1);
    let job = scheduler.every(Every::fixed_rate(millisecond), || ()).expect("room");
    wait_for("runs", || job.history().succeeded >= 2);
    clock.panics.store(true, Relaxed);
    wait_for("a panic", || scheduler.panics_contained() > 0);
    // Meanwhile all of it works, by the time that was read last.
    let (done, inbox) = mpsc::channel();
    scheduler.after(Duration::ZERO, move || done.send(()).expect("a listener")).expect("room");
    inbox.recv_timeout(LONG).expect("what is due at once runs");
    let runs = job.history().runs;
    assert!(job.run_now());
    wait_for("the run that was asked for", || job.history().succeeded > runs);
    assert_eq!(scheduler.list().len(), 1);
    clock.panics.store(false, Relaxed);
    let runs = job.history().runs;
    wait_for("runs again", || job.history().succeeded > runs + 2);
    clock.panics.store(true, Relaxed);
    assert!(scheduler.shutdown(LONG));
    assert_eq!(job.history().running, 0);
}

/// Moves with each reading, and says so.
#[derive(Default)]
struct Restless {
    alarm: Mutex<Option<Alarm>>,
}

impl Clock for Restless {
    fn monotonic(&self) -> std::time::Instant {
        SystemClock.monotonic()
    }

    fn wall(&self) -> SystemTime {
        if let Some(alarm) = &*self.alarm.lock().expect("no panic under it") {
            alarm.ring();
        }
        SystemClock.wall()
    }

    fn watch(&self, alarm: Alarm) {
        *self.alarm.lock().expect("no panic under it") = Some(alarm);
    }
}

#[test]
fn a_clock_that_moves_with_each_reading_holds_nothing_up() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let scheduler = Scheduler::builder(&pool).clock(Restless::default()).build().expect("a thread");
    let job = scheduler.every(Every::fixed_rate(Duration::from_millis(1)), || ()).expect("room");
    wait_for("runs", || job.history().succeeded >= 3);
    settle(&scheduler);
    assert_eq!(scheduler.panics_contained(), 0);
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn a_clock_may_call_its_scheduler() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let clock = Moody::default();
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    for _ in 0..3 {
        *clock.calls.lock().expect("no panic under it") = Some(scheduler.clone());
        settle(&scheduler);
    }
    assert_eq!(scheduler.panics_contained(), 0);
}

/// Run by the test below, as a process of its own.
#[test]
fn child_without_threads() {
    if std::env::var_os("RUST_MIN_STACK").is_none() {
        return;
    }
    let pool = ThreadPool::builder().build().expect("a pool, without threads so far");
    let error = Scheduler::new(&pool).map(drop).expect_err("there is no such stack");
    println!("{:?}: {error}", error.kind());
}

#[test]
fn a_thread_that_cannot_be_started_is_named() {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["--exact", "schedule::child_without_threads", "--test-threads=1", "--nocapture"])
        // The stack of new threads: more than there are addresses.
        .env("RUST_MIN_STACK", (1_u64 << 47).to_string())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("WouldBlock: no thread could be started: "), "{said}");
    assert!(said.contains("os error 11"), "{said}");
}

#[test]
fn the_longest_of_all_times_never_come_and_harm_nothing() {
    let (_pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    let count = Arc::new(count);
    let job = || {
        let count = Arc::clone(&count);
        move || count()
    };
    let never = Duration::MAX;
    scheduler.after(never, job()).expect("room");
    scheduler.every(Every::fixed_rate(never), job()).expect("room");
    scheduler.every(Every::fixed_delay(never), job()).expect("room");
    scheduler.every(Every::fixed_rate(SECOND).first_after(never), job()).expect("room");
    scheduler.every(Every::fixed_rate(never).first_after(SECOND), job()).expect("room");
    scheduler.every(Every::fixed_delay(never).first_after(SECOND), job()).expect("room");
    assert!(scheduler.list().iter().filter(|job| job.next_in.is_none()).count() == 4);
    clock.advance(SECOND);
    settle(&scheduler);
    clock.advance(100 * 365 * 24 * 3600 * SECOND);
    settle(&scheduler);
    assert_eq!(runs.load(Relaxed), 2, "the two that come once");
    // Later than that the clock cannot go, and it stays where it is.
    let before = clock.wall();
    let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clock.advance(never)));
    assert!(moved.is_err());
    assert_eq!(clock.wall(), before);
    clock.advance(SECOND);
    settle(&scheduler);
    assert!(scheduler.shutdown(never));
}

#[cfg(feature = "cron")]
#[test]
fn a_calendar_job_goes_by_the_wall_clock() {
    use threadline_pool::schedule::Cron;

    let (_pool, clock, scheduler) = bench();
    let (runs, count) = counter();
    let cron = Cron::parse("0 12 * * *", "UTC").expect("a cron expression");
    let job = scheduler.job("noon").cron(cron, count).expect("room");
    let hours = |hours: u32| SystemTime::UNIX_EPOCH + hours * 3600 * SECOND;
    assert_eq!(job.info().next_in, Some(12 * 3600 * SECOND));
    clock.set_wall(hours(11));
    settle(&scheduler);
    assert_eq!(runs.load(Relaxed), 0);
    clock.set_wall(hours(13));
    wait_for("the run of noon", || job.history().succeeded == 1);
    // Back again, to just before noon, and over it.
    clock.set_wall(hours(11));
    clock.advance(2 * 3600 * SECOND);
    settle(&scheduler);
    assert_eq!(runs.load(Relaxed), 1, "noon was");
    clock.set_wall(hours(36));
    wait_for("the next noon", || job.history().succeeded == 2);
    assert_eq!(job.history().missed, 0);
}

/// A calendar that ends, or a clock beyond it, ends no other job.
#[cfg(feature = "cron")]
#[test]
fn calendars_end_and_the_scheduler_goes_on() {
    use threadline_pool::schedule::Cron;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    // 29 December 9999, noon.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_084_800);
    let clock = ManualClock::at(end);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    let daily = |expression| Cron::parse(expression, "UTC").expect("a cron expression");
    let (runs, count) = counter();
    let job = scheduler.cron(daily("0 0 * * *"), count).expect("room");
    clock.advance(DAY);
    wait_for("the last midnight", || job.history().succeeded == 1);
    for _ in 0..3 {
        clock.advance(DAY);
        settle(&scheduler);
    }
    assert_eq!(job.info().next_in, None);
    let leap = scheduler.cron(daily("0 * 29 2 *"), || ()).expect("room");
    assert_eq!(leap.info().next_in, None);
    assert!(job.pause() && job.resume() && job.run_now());
    wait_for("the run that was asked for", || job.history().succeeded == 2);
    // The clock was wrong: the calendar has a next again.
    clock.set_wall(SystemTime::UNIX_EPOCH);
    settle(&scheduler);
    assert_eq!(job.info().next_in, Some(DAY));
    clock.advance(DAY);
    wait_for("a midnight", || job.history().succeeded == 3);
    assert_eq!((scheduler.panics_contained(), runs.load(Relaxed)), (0, 3));
    assert!(scheduler.shutdown(LONG));
}
