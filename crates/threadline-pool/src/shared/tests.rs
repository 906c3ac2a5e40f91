//! The protocol by hand: the threads here are only written in the roster, and the test takes their
//! steps for them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::worker::Taken;
use crate::{Policy, RejectReason, ThreadPool};

fn pool_with_idle(count: usize, threads_max: usize) -> (ThreadPool, Vec<Arc<Sleeper>>) {
    let pool = ThreadPool::builder().threads_max(threads_max).build().expect("a pool");
    let sleepers: Vec<_> = (0..count).map(|_| Sleeper::new()).collect();
    sleepers.iter().for_each(|sleeper| pool.shared().lock().roster.enlist(sleeper));
    (pool, sleepers)
}

/// The idle thread `sleeper` is awake and comes for a job.
fn wake_up(shared: &Arc<Shared>, sleeper: &Arc<Sleeper>) -> Option<Taken> {
    assert!(sleeper.take_call(), "it sleeps");
    shared.first_job(sleeper, Arrival::Called)
}

#[test]
fn a_producer_wakes_one_thread_and_each_woken_one_the_next() {
    let (pool, sleepers) = pool_with_idle(3, 3);
    for _ in 0..100 {
        pool.try_submit(|| ()).expect("room");
    }
    assert_eq!(pool.stats().wakes, 1);
    for (sleeper, wakes_after) in sleepers.iter().rev().zip([2, 3, 3]) {
        let job = wake_up(pool.shared(), sleeper);
        assert!(job.is_some());
        assert_eq!(pool.stats().wakes, wakes_after);
    }
    let stats = pool.stats();
    assert_eq!((stats.busy, stats.idle, stats.queue_len, stats.spawned), (3, 0, 97, 0));
}

fn pool_with_a_thread() -> (ThreadPool, mpsc::Sender<usize>, mpsc::Receiver<usize>) {
    let builder = ThreadPool::builder().threads_min(1).threads_max(1).queue_len_max(3);
    let (numbers, inbox) = mpsc::channel();
    (builder.build().expect("a pool"), numbers, inbox)
}

#[test]
fn a_job_that_finds_the_lock_taken_is_posted_and_runs_in_its_turn() {
    let (pool, numbers, inbox) = pool_with_a_thread();
    let submit = |number| {
        let numbers = numbers.clone();
        pool.try_submit(move || numbers.send(number).expect("a listener")).expect("room");
    };
    let taken = pool.shared().lock();
    submit(1);
    submit(2);
    assert_eq!((pool.stats().posted, pool.stats().submitted), (2, 0));
    pool.shared().unlock(taken);
    submit(3);
    assert!([1, 2, 3].into_iter().eq(inbox.iter().take(3)));
    assert_eq!((pool.stats().posted, pool.stats().submitted), (2, 3));
}

#[test]
fn a_job_is_withdrawn_from_the_queue_and_from_the_mail() {
    let (pool, numbers, inbox) = pool_with_a_thread();
    let (open, gate) = mpsc::channel::<()>();
    let (tell, begun) = mpsc::channel();
    let hangs = move || {
        tell.send(()).expect("a listener");
        let _ = gate.recv();
    };
    pool.try_submit(hangs).expect("room");
    begun.recv().expect("it runs");
    let submit = |number| {
        let numbers = numbers.clone();
        pool.try_submit(move || numbers.send(number).expect("a listener")).expect("room")
    };
    // The thread hangs: their places are free at once.
    let [first, second, third] = [1, 2, 3].map(submit);
    pool.try_submit(|| ()).expect_err("three may wait");
    pool.withdraw(second);
    pool.withdraw(second);
    assert_eq!((pool.stats().queue_len, pool.stats().cancelled), (2, 1));
    // The lock is taken: both the job and its withdrawal are posted, and so is that of a job in the queue.
    let taken = pool.shared().lock();
    let posted = submit(4);
    pool.withdraw(posted);
    pool.withdraw(first);
    assert_eq!((pool.stats().queue_len, pool.stats().cancelled), (2, 1));
    pool.shared().unlock(taken);
    assert_eq!((pool.stats().queue_len, pool.stats().cancelled), (1, 3));
    let _ = [5, 6].map(submit);
    pool.try_submit(|| ()).expect_err("three may wait");
    open.send(()).expect("it hangs");
    assert!([3, 5, 6].into_iter().eq(inbox.iter().take(3)));
    pool.withdraw(third);
    assert_eq!(pool.stats().cancelled, 3, "it has run");
}

/// Dropped by whoever let go of the lock, without it.
#[test]
fn what_a_withdrawn_job_holds_may_use_the_pool_when_it_is_dropped() {
    struct Submits(ThreadPool, mpsc::Sender<usize>);
    impl Drop for Submits {
        fn drop(&mut self) {
            let numbers = self.1.clone();
            let job = move || numbers.send(7).expect("a listener");
            self.0.try_submit(job).expect("room");
        }
    }
    let (pool, numbers, inbox) = pool_with_a_thread();
    let holds = Submits(pool.clone(), numbers);
    let taken = pool.shared().lock();
    let ticket = pool.try_submit(move || drop(holds)).expect("room");
    pool.withdraw(ticket);
    pool.shared().unlock(taken);
    assert_eq!(inbox.recv(), Ok(7));
    assert_eq!(pool.stats().cancelled, 1);
}

#[test]
fn what_is_in_the_mail_counts_against_the_bound() {
    let (pool, _numbers, _inbox) = pool_with_a_thread();
    // Three may wait, and one is the thread's.
    let taken = pool.shared().lock();
    (0..4).for_each(|_| _ = pool.try_submit(|| ()).expect("room"));
    let rejected = pool.try_submit(|| ()).expect_err("no room");
    assert_eq!(rejected.reason, RejectReason::Full);
    pool.shared().unlock(taken);
    assert!(pool.shutdown(std::time::Duration::from_secs(20)));
    assert_eq!((pool.stats().completed, pool.stats().rejected), (4, 1));
}

#[test]
fn what_is_posted_is_given_back_by_what_was_last_known_of_the_pool() {
    let (pool, _numbers, _inbox) = pool_with_a_thread();
    let (started, begun) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    pool.try_submit(move || {
        started.send(()).expect("a listener");
        let _ = gate.recv();
    })
    .expect("room");
    begun.recv().expect("it begins");
    (0..3).for_each(|_| _ = pool.try_submit(|| ()).expect("room"));
    let taken = pool.shared().lock();
    let full = pool.try_submit(|| ()).expect_err("three wait already");
    pool.shared().unlock(taken);
    pool.shared().close();
    let taken = pool.shared().lock();
    let closed = pool.try_submit(|| ()).expect_err("no more jobs");
    pool.shared().unlock(taken);
    assert_eq!((full.reason, closed.reason), (RejectReason::Full, RejectReason::ShutDown));
    drop(release);
}

#[test]
fn a_woken_thread_calls_nobody_when_its_job_is_the_last() {
    let (pool, sleepers) = pool_with_idle(2, 2);
    pool.try_submit(|| ()).expect("room");
    assert!(wake_up(pool.shared(), &sleepers[1]).is_some());
    let stats = pool.stats();
    assert_eq!((stats.wakes, stats.busy, stats.idle), (1, 1, 1));
}

#[test]
fn a_producer_wakes_again_once_the_woken_thread_has_its_job() {
    let (pool, sleepers) = pool_with_idle(2, 2);
    pool.try_submit(|| ()).expect("room");
    assert!(wake_up(pool.shared(), &sleepers[1]).is_some());
    pool.try_submit(|| ()).expect("room");
    assert_eq!(pool.stats().wakes, 2);
    assert!(wake_up(pool.shared(), &sleepers[0]).is_some());
}

#[test]
fn a_thread_that_takes_job_after_job_wakes_nobody() {
    let (pool, sleepers) = pool_with_idle(1, 1);
    for _ in 0..10 {
        pool.try_submit(|| ()).expect("room");
    }
    let mut taken = wake_up(pool.shared(), &sleepers[0]).expect("a job");
    for _ in 0..9 {
        taken = pool.shared().next_job(&sleepers[0], taken.run()).expect("another");
    }
    assert_eq!(pool.stats().wakes, 1);
}

#[test]
fn without_any_thread_the_job_comes_back() {
    let pool = ThreadPool::builder().build().expect("a pool");
    pool.shared().out_of_threads.store(true, Relaxed);
    let nothing: fn() = || ();
    for submitted in [pool.try_submit(nothing), pool.submit_essential(nothing)] {
        let rejected = submitted.expect_err("no thread");
        assert_eq!(rejected.reason, RejectReason::NoThread);
    }
    let stats = pool.stats();
    assert_eq!((stats.spawn_failures, stats.rejected), (2, 2));
    assert_eq!((stats.threads, stats.threads_peak, stats.queue_len), (0, 0, 0));
    pool.shared().out_of_threads.store(false, Relaxed);
    pool.try_submit(|| ()).expect("the system recovered");
}

#[test]
fn with_other_threads_alive_the_job_stays_and_the_next_submit_tries_again() {
    let pool = ThreadPool::builder().threads_max(4).build().expect("a pool");
    let (release, gate) = mpsc::channel::<()>();
    let (started, inbox) = mpsc::channel();
    let job = |number: usize, gate: Option<mpsc::Receiver<()>>| {
        let started = started.clone();
        move || {
            let _ = started.send(number);
            gate.map(|gate| gate.recv());
        }
    };
    pool.try_submit(job(0, Some(gate))).expect("room");
    assert_eq!(inbox.recv(), Ok(0));

    pool.shared().out_of_threads.store(true, Relaxed);
    pool.try_submit(job(1, None)).expect("kept for the busy thread");
    let stats = pool.stats();
    assert_eq!((stats.spawn_failures, stats.threads, stats.queue_len), (1, 1, 1));

    // The busy thread is still busy: only a new one can run these.
    pool.shared().out_of_threads.store(false, Relaxed);
    pool.try_submit(job(2, None)).expect("room");
    // In any order: the new thread calls another before it runs its job.
    assert_eq!(inbox.recv().unwrap_or(0) + inbox.recv().unwrap_or(0), 3);
    drop(release);
}

#[test]
fn a_refused_producer_tries_again_to_start_a_thread_too() {
    let pool = ThreadPool::builder().threads_max(4).queue_len_max(0).build().expect("a pool");
    let (release, gate) = mpsc::channel::<()>();
    let (started, inbox) = mpsc::channel();
    let first = started.clone();
    pool.try_submit(move || {
        let _ = first.send(0);
        let _ = gate.recv();
    })
    .expect("room");
    assert_eq!(inbox.recv(), Ok(0));
    pool.shared().out_of_threads.store(true, Relaxed);
    pool.try_submit(move || started.send(1).expect("a listener")).expect("a thread may be had");
    let full = pool.try_submit(|| ()).expect_err("one waits, and no more threads are counted on");
    assert_eq!(full.reason, RejectReason::Full);
    assert_eq!(pool.stats().spawn_failures, 2);
    pool.shared().out_of_threads.store(false, Relaxed);
    pool.try_submit(|| ()).expect_err("still full, but this one got a thread started");
    assert_eq!(inbox.recv(), Ok(1));
    drop(release);
}

#[test]
fn a_woken_thread_that_cannot_start_the_next_runs_its_job_nonetheless() {
    let (pool, sleepers) = pool_with_idle(1, 2);
    pool.try_submit(|| ()).expect("room");
    pool.try_submit(|| ()).expect("room");
    pool.shared().out_of_threads.store(true, Relaxed);
    let taken = wake_up(pool.shared(), &sleepers[0]).expect("a job");
    assert_eq!(pool.stats().spawn_failures, 1);
    assert!(pool.shared().next_job(&sleepers[0], taken.run()).is_some());
}

#[test]
fn one_can_tell_from_outside_whether_a_thread_is_to_be_had() {
    let (pool, sleepers) = pool_with_idle(1, 1);
    pool.try_submit(|| ()).expect("room");
    assert!(!pool.shared().idle_or_growable(), "the one there is was called");
    let taken = wake_up(pool.shared(), &sleepers[0]).expect("a job");
    assert!(!pool.shared().idle_or_growable(), "it is busy");
    drop(taken);
    let growable = ThreadPool::builder().build().expect("a pool");
    assert!(growable.shared().idle_or_growable(), "it has none yet, and may start one");
}

#[test]
fn a_caller_that_runs_its_job_gets_a_thread_started_for_those_that_wait() {
    let builder = ThreadPool::builder().threads_max(4).queue_len_max(0);
    let pool = builder.when_full(Policy::CallerRuns).build().expect("a pool");
    let (release, gate) = mpsc::channel::<()>();
    let (started, inbox) = mpsc::channel();
    let first = started.clone();
    let stuck = move || {
        let _ = first.send(0);
        let _ = gate.recv();
    };
    pool.submit(stuck).expect("room");
    assert_eq!(inbox.recv(), Ok(0));
    pool.shared().out_of_threads.store(true, Relaxed);
    pool.submit(move || started.send(1).expect("a listener")).expect("a thread may be had");
    assert_eq!(pool.stats().queue_len, 1);
    pool.shared().out_of_threads.store(false, Relaxed);
    pool.submit(|| ()).expect("run here");
    assert_eq!(pool.stats().ran_in_caller, 1);
    assert_eq!(inbox.recv(), Ok(1));
    drop(release);
}

#[test]
fn without_any_thread_the_caller_runs_its_job_if_that_is_the_policy() {
    let pool = ThreadPool::builder().when_full(Policy::CallerRuns).build().expect("a pool");
    pool.shared().out_of_threads.store(true, Relaxed);
    let (here, inbox) = mpsc::channel();
    pool.submit(move || here.send(std::thread::current().id()).expect("a listener")).expect("run");
    assert_eq!(inbox.try_recv(), Ok(std::thread::current().id()));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.ran_in_caller), (1, 1, 1));
}

#[test]
fn a_blocking_submitter_does_not_wait_where_there_is_no_thread() {
    let policy = Policy::Block { timeout: std::time::Duration::MAX };
    let pool = ThreadPool::builder().when_full(policy).build().expect("a pool");
    pool.shared().out_of_threads.store(true, Relaxed);
    let rejected = pool.submit(|| ()).expect_err("no thread");
    assert_eq!(rejected.reason, RejectReason::NoThread);
}

#[test]
fn a_job_for_a_spare_thread_never_waits_for_another_job() {
    let (pool, sleepers) = pool_with_idle(2, 3);
    // In a burst: no thread has come for its job when the next one is submitted.
    let taken = (0..9).filter(|_| pool.submit_to_spare(|| ()).is_ok()).count();
    assert_eq!(taken, 3, "two threads are idle, and one may be started");
    pool.try_submit(|| ()).expect("room in the queue");
    let full = pool.submit_to_spare(|| ()).expect_err("no thread").reason;
    assert_eq!((full, pool.stats().rejected), (RejectReason::Full, 0));
    assert!(!pool.has_spare());
    drop(sleepers);
}

#[test]
fn a_job_for_a_spare_thread_is_not_posted() {
    let (pool, _numbers, _inbox) = pool_with_a_thread();
    let taken = pool.shared().lock();
    // The only thread is idle, but who has the lock may be about to call it.
    pool.submit_to_spare(|| ()).expect_err("the lock is taken");
    pool.shared().unlock(taken);
    assert_eq!(pool.stats().posted, 0);
    let until = Instant::now() + Duration::from_secs(20);
    while pool.submit_to_spare(|| ()).is_err() {
        assert!(Instant::now() < until, "the thread has been idle for 20 s");
        std::thread::yield_now();
    }
}
